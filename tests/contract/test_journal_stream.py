"""The live log over a real Redis: real journal files through journalctl, and a fake journalctl that misbehaves."""

import asyncio
import json
import os
import runpy
import shutil
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis.asyncio import Redis

from background_tasks.authoring import RunContext, TaskReport, enter_run
from background_tasks.catalogue.journal_stream import Params, journal_stream_task
from background_tasks.domain.model import OnStart, Policy, Schedule, Task, TaskUid
from background_tasks.errors import InvalidParams, Unavailable
from background_tasks.knowledge.context import MachineClock
from background_tasks.knowledge.journal_feed import JournalFeed, Verdict
from background_tasks.knowledge.keys import Keys
from background_tasks.services.log_sources import ProcessLog, this_machine

pytestmark = pytest.mark.contract
JOURNAL = Path(__file__).parents[1] / "fixtures" / "journal" / "stargazer.journal"
SECRETS: tuple[tuple[str, str], ...] = runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "secrets.py"))[
    "SECRETS"
]
PATIENCE_S = 20.0
UNIT = f"journald:{this_machine()}:stargazer"
needs_journalctl = pytest.mark.skipif(
    shutil.which("journalctl") is None, reason="journalctl is not installed: real journal files cannot be read here"
)

FAKE = """#!{python}
import json, os, pathlib, signal, sys, time
here = pathlib.Path(__file__).parent
def line(n):
    cursor = f"s=0;i={{n:x}};b=0;m=0;t=0;x=0"
    return json.dumps({{"__CURSOR": cursor, "MESSAGE": f"line {{n}} " + "x" * 80, "PRIORITY": "7" if n % 2 else "6"}})
if "--follow" not in sys.argv:
    print(line(0)); sys.exit()
with (here / "pids").open("a") as pids: pids.write(f"{{os.getpid()}}\\n")
after = [int(a.split("i=")[1].split(";")[0], 16) for a in sys.argv if a.startswith("--after-cursor=")]
n = after[0] + 1 if after else 1
{body}
"""
CRASHES = """
life = len((here / "pids").read_text().split())
last = 70 * life if life <= 5 else 500
print("\\n".join(line(i) for i in range(n, last + 1)), flush=True)
if life <= 5: sys.stdout.write(line(last + 1)[:40]); sys.stdout.flush(); os._exit(1)
time.sleep(600)
"""
FLOODS = """
while True: print("\\n".join(line(i) for i in range(n, n + 5000))); n += 5000
"""
STUBBORN = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(line(n), flush=True)
if os.fork() == 0: signal.pause()
time.sleep(600)
"""
THOUSAND = """
while not (here / "go").exists(): time.sleep(0.01)
print("\\n".join(line(i) for i in range(1, 1001)), flush=True)
time.sleep(600)
"""
SILENT = "time.sleep(600)"


class Offered:
    """Services of a pool that keeps its workers' own logs."""

    def __init__(self, process_log: ProcessLog) -> None:
        self._process_log = process_log

    def get(self, name: str) -> object | None:
        """Return the process's log."""
        return self._process_log if name == "process_log" else None


class World:
    """One Redis, one prefix, a folder for a fake journalctl; counts what is in the buffer."""

    def __init__(self, redis: Redis, prefix: str, folder: Path) -> None:
        self.redis: Any = redis  # the client's answers have no types of their own
        self.prefix, self.folder = prefix, folder
        self.reports: list[TaskReport] = []
        self.settings: dict[str, str] = {}
        self.services: Offered | None = None

    async def stream(self, **params: object) -> TaskReport:
        """Run the task once."""
        enter_run(
            RunContext(
                task=Task(
                    uid=TaskUid("u"),
                    name="t/journal",
                    policy=Policy(coroutine="journal_stream", schedule=Schedule(cadence=OnStart(cooldown=0))),
                ),
                run_id="r1",
                params=Params.model_validate({"save_seconds": 0.05, **params}),
                scheduled_for=0.0,
                attempt=1,
                clock=MachineClock(),
                settings={"SG_KEY_PREFIX": self.prefix, **self.settings},
                services=self.services,
                on_report=self.reports.append,
            )
        )
        return await journal_stream_task(self.redis)

    def fake_journalctl(self, body: str) -> None:
        """Put a journalctl of our own on the PATH."""
        program = self.folder / "journalctl"
        program.write_text(FAKE.format(python=sys.executable, body=body))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    async def lines(self) -> list[str]:
        """Return the messages in the buffer."""
        entries = await self.redis.xrange(f"{self.prefix}journal:buf")
        return [json.loads(fields["line"])["message"] for _, fields in entries]

    async def numbers(self) -> list[int]:
        """Return the numbers of the fake's lines in the buffer."""
        return [int(message.split()[1]) for message in await self.lines()]

    async def position(self, source: str) -> str | None:
        """Return the saved position of a source."""
        field = json.dumps(["journal", source], separators=(",", ":"))
        found: str | None = await self.redis.hget(f"{self.prefix}cur:journal_stream", field)
        return found

    async def is_claimed(self) -> bool:
        """Say whether somebody streams the unit."""
        return bool(await self.redis.exists(f"{self.prefix}lease:journal:{UNIT}"))

    def children(self) -> list[psutil.Process]:
        """Return the processes that the fake was and made, living or zombies of ours."""
        groups = {int(pid) for pid in (self.folder / "pids").read_text().split()}
        found = [p for p in psutil.process_iter() if _group(p.pid) in groups]
        return [p for p in found if p.status() != psutil.STATUS_ZOMBIE or p.ppid() == os.getpid()]

    async def until(self, what: str, true: Callable[[], Awaitable[bool]]) -> None:
        """Wait for a condition."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not await true():  # noqa: ASYNC110 - other processes are waited for
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pytest.fail(f"not within {PATIENCE_S:g} s: {what}; {len(await self.lines())} lines")


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


@pytest.fixture
def world(redis: Redis, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Give a world with an empty prefix; its folder comes first on the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return World(redis, f"{prefix}:", tmp_path)


async def cancelled(task: "asyncio.Task[TaskReport]") -> None:
    """Cancel a run and wait for its end; it ends within 5 s."""
    task.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await task


def journal_entries() -> list[dict[str, object]]:
    """Read the fixture's entries of the unit, in order."""
    arguments = ["journalctl", f"--file={JOURNAL}", "--unit=stargazer", "--all", "--output=json"]
    return [json.loads(line) for line in subprocess.check_output(arguments).splitlines()]


def text_of(message: object) -> str:
    """Read a MESSAGE as the journal means it."""
    return bytes(message).decode(errors="backslashreplace") if isinstance(message, list) else str(message or "")


@needs_journalctl
async def test_a_real_journal_is_replayed_line_for_line(world: World) -> None:
    """Every entry of the unit arrives once, in order, and the position is the last one's cursor."""
    entries = journal_entries()
    expected = [text_of(entry["MESSAGE"]).replace("hunter2-FAKE", "[redacted]") for entry in entries]

    async with asyncio.TaskGroup() as group:
        run = group.create_task(world.stream(file=str(JOURNAL)))

        async def all_there() -> bool:
            return await world.position(f"journal-file:{JOURNAL}:stargazer") == entries[-1]["__CURSOR"]

        await world.until("the whole file is in the buffer", all_there)
        await cancelled(run)

    assert len(expected) > 90
    assert await world.lines() == expected


@needs_journalctl
async def test_each_cursor_is_a_place_to_go_on_from(world: World) -> None:
    """A run that begins at any saved cursor gives exactly the entries after it."""
    entries = journal_entries()
    name = f"journal-file:{JOURNAL}:stargazer"
    field = json.dumps(["journal", name], separators=(",", ":"))
    await world.redis.hset(f"{world.prefix}cur:journal_stream", field, str(entries[40]["__CURSOR"]))

    async with asyncio.TaskGroup() as group:
        run = group.create_task(world.stream(file=str(JOURNAL), save_lines=7))

        async def all_there() -> bool:
            return await world.position(name) == entries[-1]["__CURSOR"]

        await world.until("the rest of the file is in the buffer", all_there)
        await cancelled(run)

    assert len(await world.lines()) == len(entries) - 41


async def test_five_crashes_of_journalctl_lose_nothing(world: World) -> None:
    """A child that dies in the middle of a line is started after the last whole one: none lost, none twice."""
    world.fake_journalctl(CRASHES)

    async with asyncio.TaskGroup() as group:
        run = group.create_task(world.stream(restart_seconds=0.01, report_seconds=0.05))

        async def all_there() -> bool:
            return len(await world.lines()) >= 500

        await world.until("500 lines are there", all_there)
        await world.until("restarts are reported", lambda: reported(world, "restarts", 5))
        await cancelled(run)

    assert await world.numbers() == list(range(1, 501))


async def reported(world: World, name: str, least: int) -> bool:
    """Say whether the reports so far sum up to so many."""
    return bool(sum(report.extra[name] for report in world.reports) >= least)


async def test_a_streamer_that_is_killed_is_followed_without_a_gap(world: World) -> None:
    """The next run goes on from the saved position; at most one batch comes twice."""
    world.fake_journalctl(CRASHES)
    for least in (100, 300, 500):
        async with asyncio.TaskGroup() as group:
            run = group.create_task(world.stream(restart_seconds=0.01, save_lines=20))

            async def enough(least: int = least) -> bool:
                return len(await world.lines()) >= least

            await world.until(f"{least} lines are there", enough)
            await cancelled(run)

    numbers = await world.numbers()
    assert set(numbers) == set(range(1, 501))
    assert len(numbers) - 500 <= 100


async def test_a_flood_is_bounded_in_memory(world: World) -> None:
    """A source that writes without pause costs less than 64 MiB, and what had to go is told to the viewers."""
    world.fake_journalctl(FLOODS)
    before = psutil.Process().memory_info().rss
    peak = before

    async with asyncio.TaskGroup() as group:
        run = group.create_task(world.stream(report_seconds=0.2, queue_lines=10_000))

        async def enough() -> bool:
            nonlocal peak
            peak = max(peak, psutil.Process().memory_info().rss)
            return await reported(world, "read", 150_000)

        await world.until("the lease is held", world.is_claimed)
        await world.redis.execute_command("CLIENT", "PAUSE", 2_000, "WRITE")
        await world.until("150,000 lines were read", enough)
        await world.until("a loss is reported", lambda: reported(world, "dropped", 1))
        await cancelled(run)

    rate = max(report.extra["read"] / (report.duration_ms or 1) * 1000 for report in world.reports)
    sys.stdout.write(f"\nflood: {(peak - before) / 2**20:.1f} MiB more, up to {rate:,.0f} lines/s read\n")
    assert peak - before < 64 * 2**20


async def test_debug_lines_are_dropped_first_and_viewers_are_told(world: World) -> None:
    """While the store is silent the queue keeps what matters more; afterwards `dropped n` stands in the feed."""
    world.fake_journalctl(THOUSAND)

    async with asyncio.TaskGroup() as group:
        run = group.create_task(world.stream(queue_lines=500, report_seconds=0.1))
        await world.until("the lease is held", world.is_claimed)
        await world.redis.execute_command("CLIENT", "PAUSE", 1_000, "WRITE")
        (world.folder / "go").touch()
        await world.until("a loss is reported", lambda: reported(world, "dropped", 400))
        await world.until("the queue is written", lambda: reported(world, "written", 500))
        await cancelled(run)

    lines = await world.lines()
    dropped = [line for line in lines if line.startswith("dropped ")]
    numbers = [int(line.split()[1]) for line in lines if line.startswith("line ")]
    assert dropped
    assert [n for n in range(2, 1001, 2) if n not in numbers] == []
    assert sum(int(line.split()[1]) for line in dropped) + len(numbers) == 1000


async def test_no_child_and_no_lease_outlive_a_cancelled_run(world: World) -> None:
    """A journalctl that ignores the request to end, and its own child, are killed; all within 5 s."""
    world.fake_journalctl(STUBBORN)

    async with asyncio.TaskGroup() as group:
        run = group.create_task(world.stream(stop_grace_seconds=0.5))

        async def first() -> bool:
            return len(await world.lines()) == 1 and len(world.children()) == 2

        await world.until("the child and its child live", first)
        await cancelled(run)

    assert world.children() == []
    assert await world.redis.keys(f"{world.prefix}lease:*") == []


async def test_of_two_streamers_one_streams(world: World) -> None:
    """The second one says that the source is taken, and takes it over when the first has ended."""
    world.fake_journalctl(SILENT)

    async with asyncio.TaskGroup() as group:
        first = group.create_task(world.stream())
        await world.until("the first holds the lease", world.is_claimed)
        second = await world.stream()
        assert (second.outcome, second.reason) == ("noop", "leased_elsewhere")
        await cancelled(first)
        assert not await world.is_claimed()


async def test_a_streamer_without_its_lease_stops_by_itself(world: World) -> None:
    """Whoever finds another's name in the lease writes nothing more and leaves the lease alone."""
    world.fake_journalctl(FLOODS)
    lease = f"{world.prefix}lease:journal:{UNIT}"

    async with asyncio.TaskGroup() as group:
        run = group.create_task(world.stream())

        async def streaming() -> bool:
            return len(await world.lines()) > 100

        await world.until("lines come", streaming)
        await world.redis.set(lease, "another")
        report = await asyncio.wait_for(run, PATIENCE_S)

    assert (report.outcome, report.reason) == ("superseded", "lease_lost")
    assert await world.redis.get(lease) == "another"
    assert world.children() == []


async def test_lines_are_published_only_to_viewers(world: World) -> None:
    """Without a subscriber a line goes to the buffer alone; with one it is published as well."""
    world.fake_journalctl("for i in range(n, n + 3): print(line(i), flush=True)\ntime.sleep(600)")
    channel = f"{world.prefix}view"
    for viewers, published in ((False, 0), (True, 3)):
        async with world.redis.pubsub() as viewer, asyncio.TaskGroup() as group:
            if viewers:
                await viewer.subscribe(channel)
                await viewer.get_message(timeout=5)
            world.reports.clear()
            run = group.create_task(world.stream(channel=channel, report_seconds=0.1))
            await world.until("3 lines are written", lambda: reported(world, "written", 3))
            assert sum(report.extra["published"] for report in world.reports) == published
            if viewers:
                message = await viewer.get_message(timeout=5)
                assert json.loads(message["data"])["message"].startswith("line 4 ")
            await cancelled(run)


@pytest.mark.parametrize("journalctl", ["absent", "empty", "dies"])
async def test_a_missing_source_is_a_noop(world: World, journalctl: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No journalctl, no journal, or one that only dies: told once, not a crash loop, and no lease stays."""
    if journalctl == "absent":
        monkeypatch.setenv("PATH", str(world.folder))
    elif journalctl == "dies":
        world.fake_journalctl("os._exit(3)")
    else:
        world.fake_journalctl("")
        (world.folder / "journalctl").write_text("#!/bin/sh\nexit 0\n")

    report = await world.stream(restart_seconds=0.001)

    assert (report.outcome, report.reason) == ("noop", "source_unavailable")
    assert "journalctl" in report.errors[0]
    assert await world.redis.keys(f"{world.prefix}*") == []


async def test_progress_is_told_as_differences(world: World) -> None:
    """The reports of a run, also of one that is cancelled, sum up to what it did, each with rate and position."""
    world.fake_journalctl(CRASHES)

    async with asyncio.TaskGroup() as group:
        run = group.create_task(world.stream(restart_seconds=0.01, report_seconds=0.1))

        async def all_there() -> bool:
            return len(await world.lines()) == 500

        await world.until("500 lines are there", all_there)
        await cancelled(run)

    told = [report for report in world.reports if report.created]
    assert sum(report.created for report in told) == 500
    assert all(report.extra["lines_per_s"] > 0 for report in told)
    assert [report.cursor_before for report in told[1:]] == [report.cursor_after for report in told[:-1]]


async def test_no_secret_reaches_the_store_or_a_viewer(world: World) -> None:
    """200 lines with a secret each, also keys that come line by line: none is left in Redis or in what is published."""
    log = world.folder / "app.log"
    log.write_text("".join(f"{line}\n" for line, _ in SECRETS))
    count = len(log.read_text().splitlines())
    async with world.redis.pubsub() as viewer, asyncio.TaskGroup() as group:
        await viewer.subscribe("stargazer:journal")
        await viewer.get_message(timeout=5)
        run = group.create_task(world.stream(file=str(log), report_seconds=0.1))
        await world.until("all lines are written", lambda: reported(world, "written", count))
        await cancelled(run)
        seen = [message["data"] for _ in range(count) if (message := await viewer.get_message(timeout=5))]

    texts = [*seen, *(json.dumps(entry[1]) for entry in await world.redis.xrange(f"{world.prefix}journal:buf"))]
    secrets = [part for _, secret in SECRETS for part in secret.split("\n")]
    assert len(texts) == 2 * count
    assert [secret for secret in secrets if any(secret in text for text in texts)] == []


async def test_without_journald_the_process_log_is_streamed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` takes what there is; such lines have no position, so none is saved."""
    monkeypatch.setenv("PATH", str(world.folder))
    log = ProcessLog()
    world.services = Offered(log)
    async with asyncio.TaskGroup() as group:
        run = group.create_task(world.stream(report_seconds=0.05))
        for number in range(10):
            log(None, "info", {"event": f"line {number}"})
        await world.until("all lines are written", lambda: reported(world, "written", 10))
        await cancelled(run)

    assert await world.numbers() == list(range(10))
    assert await world.redis.exists(f"{world.prefix}cur:journal_stream") == 0


async def test_a_file_outside_the_allowed_folders_is_refused(world: World, tmp_path: Path) -> None:
    """Where folders are named, a task cannot read others, also not by a detour."""
    world.settings = {"BGTASKS_LOG_ROOTS": f"/var/log{os.pathsep}{tmp_path}/logs"}
    for file in ("/etc/passwd", f"{tmp_path}/logs/../secret.log"):
        with pytest.raises(InvalidParams, match="must lie below"):
            await world.stream(file=file)


async def test_a_batch_that_is_sent_again_is_not_written_twice(world: World) -> None:
    """An answer that was lost costs nothing; a position that somebody else moved stops the streamer."""
    keys = Keys(world.prefix)
    feed = JournalFeed(world.redis, keys, "s", channel="c", buffer_lines=10, lease_s=5)
    assert await feed.claim()
    assert await feed.position() is None
    first = await feed.write(['{"message": "a"}'], "p1")
    feed._position = ""  # the answer was lost: the streamer believes that nothing was written
    again = await feed.write(['{"message": "a"}'], "p1")
    await world.redis.hset(keys.cursors("journal_stream"), '["journal","s"]', "elsewhere")
    moved = await feed.write(['{"message": "b"}'], "p2")

    assert (first, again, moved) == ((Verdict.WRITTEN, 0), (Verdict.REPEATED, 0), (Verdict.MOVED, 0))
    assert await world.lines() == ["a"]


async def test_the_buffer_keeps_about_as_many_lines_as_it_was_told(world: World) -> None:
    """A flood leaves the last lines only; Redis trims whole nodes of 100."""
    world.fake_journalctl(FLOODS)
    async with asyncio.TaskGroup() as group:
        run = group.create_task(world.stream(buffer_lines=500, report_seconds=0.1))
        await world.until("5,000 lines are written", lambda: reported(world, "written", 5_000))
        await cancelled(run)

    assert 500 <= len(await world.lines()) <= 700


async def test_an_outage_of_the_store_is_an_error_after_the_lease_has_ended(world: World) -> None:
    """A silent store is waited for as long as the lease lasts; then the run fails and no child is left."""
    world.fake_journalctl(FLOODS)
    await world.redis.set(f"{world.prefix}journal:buf", "not a stream")
    with pytest.raises(Unavailable, match="write log lines"):
        await asyncio.wait_for(world.stream(lease_seconds=0.5), PATIENCE_S)

    assert world.children() == []
    assert await world.redis.keys(f"{world.prefix}*") == [f"{world.prefix}journal:buf"]
