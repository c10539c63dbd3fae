"""What people and machines do wrong, met by real processes: one clear sentence, neighbours go on, nothing doubles."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from redis import Redis

if TYPE_CHECKING:
    from tests.process.conftest import Up

pytestmark = pytest.mark.process
type WaitFor = Callable[..., Any]

OWN_TASKS = """
import asyncio, os, time
from pathlib import Path
from pydantic import Field, field_validator
from background_tasks import RunContext, TaskParams, background_task

TRACE = Path(os.environ["OWN_TRACE"])

class Strict(TaskParams):
    count: int = Field(ge=1)

@background_task(interval=60, params=Strict)
async def own_strict(params: Strict): ...

class Faulty(TaskParams):
    share: int

    @field_validator("share")
    def _halves(cls, share):
        return 1 // share

@background_task(interval=60, params=Faulty)
async def own_faulty(params: Faulty): ...

@background_task(interval=60)
async def own_good(ctx: RunContext):
    with TRACE.open("a") as trace:
        trace.write(f"{ctx.task.name} {os.getpid()} {ctx.scheduled_for!r}\\n")

@background_task(interval=60)
async def own_block():
    time.sleep(1)

@background_task(interval=60)
async def own_block_beyond_the_lease():
    for _ in range(45):
        time.sleep(0.1)

@background_task(interval=60)
async def own_deaf():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

class Own(BaseException): ...

@background_task(interval=60)
async def own_base():
    raise Own("the very base")

@background_task(interval=60)
async def own_exit():
    raise SystemExit(3)

@background_task(interval=60)
async def own_interrupt():
    raise KeyboardInterrupt

@background_task(interval=60)
async def own_cancel():
    raise asyncio.CancelledError
"""
HEAD = "apiVersion: background-tasks.dev/v1alpha1\nkind: BackgroundTask\nmetadata: {name: %s}\nspec:\n  task: %s\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcde", "bcdef", strict=True)
)
BAD_FILES: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "two-schedules": ("  schedule: {every: 1s, interval: 1s}\n", ("spec.schedule", "every", "interval", "one")),
    "no-zone": ("  schedule: {cron: '0 3 * * *', timeZone: Europe/Berlyn}\n", ("Europe/Berlyn", "Europe/Berlin")),
    "never-fires": ("  schedule: {cron: '0 0 30 2 *'}\n", ("0 0 30 2 *", "never")),
    "interval-zero": ("  schedule: {interval: 0s}\n", ("spec.schedule.interval", "0s", "write 1ms or more")),
    "interval-negative": ("  schedule: {interval: -5s}\n", ("spec.schedule.interval", "-5s", "is negative")),
    "interval-vast": ("  schedule: {interval: 1e12d}\n", ("spec.schedule.interval", "1e12d")),
    "interval-long": ("  schedule: {interval: 999999999999d}\n", ("spec.schedule.interval", "ten years")),
    "near-miss": ("  schedule: {every: 1s}\n  tiemout: 5s\n", ("tiemout", "did you mean", "timeout")),
    "aliases": (BOMB, ("aliases",)),
    "vast": (b"#" * (2 * 1024 * 1024), ("2097152 bytes", "split it")),
    "binary": (bytes(range(256)) * 8, ("not UTF-8",)),
    "zeros": (b"\x00" * 4096, ("cannot stand in a text file",)),
}


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a user's own module on the path, a trace that its tasks write, and a place where workers' logs are seen."""
    for name in ("own", "logs"):
        (tmp_path / name).mkdir()
    (tmp_path / "own" / "own_tasks.py").write_text(OWN_TASKS)
    (tmp_path / "own" / "own_broken.py").write_text("import nothing_of_this_name\n")
    (tmp_path / "own" / "own_exits.py").write_text("raise SystemExit('not today')\n")
    (tmp_path / "own" / "own_sync.py").write_text(
        "from background_tasks import background_task\n@background_task(interval=60)\ndef own_not_async(): ...\n"
    )
    (tmp_path / "own" / "own_plain.py").write_text("def plain(): ...\n")
    (tmp_path / "trace").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "own"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "logs"))
    monkeypatch.setenv("OWN_TRACE", str(tmp_path / "trace"))
    return tmp_path


def logs(own: Path) -> list[dict[str, Any]]:
    """Return all lines that the workers of a running session wrote."""
    texts = [path.read_text(errors="replace") for path in sorted((own / "logs").glob("bgtasks-logs-*/*.log"))]
    lines = [line for text in texts for line in text.splitlines() if line.endswith("}")]
    return [json.loads(line) for line in lines]


def said(own: Path, *words: str) -> bool:
    """Say whether one line of some worker's log has all the words."""
    return any(all(word in json.dumps(line) for word in words) for line in logs(own))


def trace(own: Path, name: str) -> list[str]:
    """Return what a task of ours wrote to its own file, whatever any store says."""
    return [line for line in (own / "trace").read_text().splitlines() if line.startswith(f"default/{name} ")]


def bad_files(folder: Path) -> None:
    """Write every file of the table, and the same name in two files."""
    for name, (content, _) in BAD_FILES.items():
        path = folder / f"{name}.yaml"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text((HEAD % (name, "own_good") if content.startswith("  ") else "") + content)
    for file in ("twin-a", "twin-b"):
        (folder / f"{file}.yaml").write_text(HEAD % ("twin", "own_good") + "  schedule: {every: 300ms}\n")


def test_every_bad_file_is_one_sentence_and_its_neighbours_run(up: "Up", own: Path, wait_for: WaitFor) -> None:
    """A folder full of mistakes: each file is named once with what is wrong; the good task runs as if alone."""
    bad_files(up.folder)
    up.write("good", task="own_good")
    up.start("--module", "own_tasks")
    wait_for(lambda: len(up.runs("good")) > 5 and up.runs("twin"), "the neighbours run")
    told = up.finish()

    for name, (_, words) in BAD_FILES.items():
        (sentence,) = [line for line in told["refused"] if f"/{name}.yaml" in line.split(": ")[0]]
        assert [word for word in words if word not in sentence] == [], sentence
        assert "\n" not in sentence
    (twin,) = [line for line in told["refused"] if "/twin-" in line.split(": ")[0]]
    assert "twin-a.yaml:3" in twin
    assert "twin-b.yaml:3" in twin
    assert len(told["refused"]) == len(BAD_FILES) + 1
    assert (told["tasks"], told["doubled"], told["runs"]["failed"], told["worker_restarts"]) == (2, 0, 0, 0)


def test_lint_says_the_same_before_anything_runs(own: Path) -> None:
    """`bgtasks lint` finds each of the mistakes in the files, with its line, and exits 1 without a traceback."""
    folder = own / "tasks"
    folder.mkdir(exist_ok=True)
    bad_files(folder)
    command = [sys.executable, "-m", "background_tasks.cli", "lint", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for name, (_, words) in BAD_FILES.items():
        (line,) = [row for row in done.stdout.splitlines() if f"/{name}.yaml:" in row]
        assert [word for word in words if word not in line] == [], line


def test_what_no_module_can_run_says_why_and_the_others_run(up: "Up", own: Path, wait_for: WaitFor) -> None:
    """Modules that do not import and coroutines that fit no task are sentences in the summary; neighbours go on."""
    up.write("strict", task="own_strict", more="  params: {count: 0}\n")
    up.write("faulty", task="own_faulty", more="  params: {share: 0}\n")
    up.write("nameless", task="own_god")
    up.write("sync", task="own_not_async")
    up.write("plain", task="own_plain:plain")
    up.write("good", task="own_good")
    modules = ("own_tasks", "own_broken", "own_exits", "own_sync", "own_plain", "own_absent")
    up.start(*[word for module in modules for word in ("--module", module)])
    wait_for(lambda: len(up.runs("good")) > 5, "the neighbour runs")
    for words in (
        ("own_broken", "nothing_of_this_name", "own_broken.py:1"),
        ("own_exits", "not today"),
        ("own_absent", "there is no module"),
        ("own_sync", "async def"),
    ):
        wait_for(lambda words=words: said(own, *words), f"a worker's log says {words}")
    told = up.finish()

    refused = {line.partition(":")[0].removeprefix("default/"): line for line in told["refused"]}
    assert set(refused) == {"strict", "faulty", "nameless", "sync", "plain"}
    assert sorted(name.removeprefix("default/") for name in told["never_ran"]) == sorted(refused)
    assert "ZeroDivisionError" in refused["faulty"]
    assert "spec.params.count" in refused["strict"]
    assert "own_good" in refused["nameless"]
    assert "async def" in refused["sync"]
    assert "async def" in refused["plain"]
    assert (told["doubled"], told["worker_restarts"]) == (0, 0)


def test_a_run_that_raises_what_no_run_should_only_fails(up: "Up", own: Path, wait_for: WaitFor) -> None:
    """BaseException, SystemExit, KeyboardInterrupt, CancelledError: each is that run's failure; the worker lives on."""
    told_by = {"base": "the very base", "exit": "SystemExit: 3", "interrupt": "KeyboardInterrupt", "cancel": "nobody"}
    for kind in told_by:
        up.write(kind, task=f"own_{kind}")
    up.write("good", task="own_good")
    up.start("--module", "own_tasks")
    wait_for(lambda: all(len(up.runs(kind)) > 2 for kind in told_by), "each has failed again and again")
    before = len(up.runs("good"))
    wait_for(lambda: len(up.runs("good")) > before + 3, "the neighbour runs on")

    for kind, words in told_by.items():
        assert {(run["outcome"], words in run["message"]) for run in up.runs(kind)} == {("Failed", True)}
    told = up.finish()
    assert (told["worker_restarts"], told["doubled"]) == (0, 0)
    assert told["runs"]["succeeded"] == told["by_task"]["default/good"]["succeeded"]


def test_a_task_that_blocks_the_loop_is_named_and_keeps_its_lease(up: "Up", own: Path, wait_for: WaitFor) -> None:
    """A block of 1 s and one beyond the lease: named with their stack; nobody takes a slot, neighbours are late."""
    up.write("block", task="own_block", schedule="interval: 1s")
    up.write("blocked-long", task="own_block_beyond_the_lease", schedule="interval: 1s")
    up.write("good", task="own_good")
    up.start("--module", "own_tasks")
    wait_for(lambda: shares(up) == [4, 4], "each worker holds its fair share: nothing moves any more")
    table = slots(up)
    for name, line in (("block", "time.sleep(1)"), ("blocked-long", "time.sleep(0.1)")):
        wait_for(lambda n=name, t=line: said(own, "loop_blocked", f'"task": "default/{n}"', t), f"{name} is named", 60)
    wait_for(lambda: len(up.runs("blocked-long")) > 1, "it has blocked twice, 4.5 s each: the lease is 3 s")
    before = len(up.runs("good"))
    wait_for(lambda: len(up.runs("good")) > before + 2, "the neighbour runs on")

    assert slots(up) == table
    assert not said(own, "slot lost")
    assert {run["outcome"] for run in up.runs()} == {"Succeeded"}
    told = up.finish()
    assert (told["doubled"], told["worker_restarts"]) == (0, 0)


def shares(up: "Up") -> list[int]:
    """Count the slots of each holder."""
    holders = [row.partition(":")[2] for name, row in slots(up).items() if name.isdecimal()]
    return sorted(Counter(filter(None, holders)).values())


def slots(up: "Up") -> dict[str, str]:
    """Read the slot table."""
    with Redis.from_url(up.server.url, decode_responses=True) as redis:
        return dict(redis.hgetall("bgt:default:slots"))


def test_a_task_deaf_to_its_cancellation_is_shown_and_cannot_hold_a_stop(
    up: "Up", own: Path, wait_for: WaitFor
) -> None:
    """It is recorded as timed out and said to go on, once; its worker ends all the same when it is told to."""
    pool = up.folder / "pool.yaml"
    pool.write_text(pool.read_text().replace("drainTimeout: 10s", "drainTimeout: 1s"))
    up.write("deaf", task="own_deaf", schedule="every: 500ms", more="  timeout: 200ms\n")
    up.write("good", task="own_good")
    up.start("--module", "own_tasks")
    wait_for(lambda: up.runs("deaf"), "its timeout and the grace have passed")
    before = len(up.runs("good"))
    wait_for(lambda: len(up.runs("good")) > before + 5, "the neighbour runs on")
    (ended,) = [run for run in up.runs("deaf") if run["outcome"] != "Skipped"]
    workers = up.workers()
    told = up.finish()

    assert ended["outcome"] == "TimedOut"
    assert "it ignored its cancellation for 10 s and goes on" in ended["message"]
    assert not any(worker.is_running() for worker in workers)
    (sentence,) = told["refused"]
    assert "runs ignore their cancellation" in sentence
    assert (told["doubled"], told["worker_restarts"]) == (0, 0)


def test_a_frozen_redis_stops_singletons_until_it_answers(up: "Up", own: Path, wait_for: WaitFor) -> None:
    """SIGSTOP beyond the renew deadline: singletons fail closed, others run; SIGCONT: they come back by themselves."""
    names = [f"task-{n}" for n in range(4)]
    for name in names:
        up.write(name, task="own_good")
    up.write("everywhere", task="own_good", more="  runPolicy: EveryWorker\n")
    up.start("--module", "own_tasks")
    wait_for(
        lambda: shares(up) == [4, 4] and all(trace(own, name) for name in names), "all run, nothing moves any more"
    )
    workers = up.workers()

    os.kill(up.server.pid, signal.SIGSTOP)
    held = range(8)
    wait_for(lambda: all(said(own, "slot lost", f'"slot": {slot},') for slot in held), "all slots are lost")
    stopped = {name: len(trace(own, name)) for name in names}
    others = len(trace(own, "everywhere"))
    wait_for(lambda: len(trace(own, "everywhere")) > others + 10, "what needs no lease runs on")
    assert {name: len(trace(own, name)) for name in names} == stopped

    os.kill(up.server.pid, signal.SIGCONT)
    wait_for(lambda: all(len(trace(own, name)) > stopped[name] + 2 for name in names), "they run again")
    assert up.workers() == workers
    told = up.finish()
    assert (told["doubled"], told["worker_restarts"]) == (0, 0)
    assert_served_once(own, names)


def assert_served_once(own: Path, names: list[str]) -> None:
    """By their own trace, no fire time of these tasks was served twice."""
    lines = [tuple(line.split()) for name in names for line in trace(own, name)]
    served = [(name, fire) for name, _, fire in lines]
    assert len(served) == len(set(served))


GARBAGE = {
    "members": ("hset", "hash"),
    "slots": ("set", "string"),
    "past": ("set", "string"),
    "marks": ("set", "string"),
    "fences": ("set", "string"),
    "runs": ("set", "string"),
    "status": ("set", "string"),
}


def test_keys_of_another_type_are_named_and_harm_nothing_else(up: "Up", own: Path, wait_for: WaitFor) -> None:
    """Garbage before the start: workers live and name key and remedy; as soon as a key is deleted its part works."""
    up.write("good", task="own_good")
    with Redis.from_url(up.server.url, decode_responses=True) as redis:
        for name, (command, _) in GARBAGE.items():
            redis.execute_command(command, f"bgt:default:{name}", *(["a"] if command == "hset" else []), "garbage")
        up.start("--module", "own_tasks")
        for name in GARBAGE:
            wait_for(lambda n=name: said(own, f"bgt:default:{n}", "DEL it"), f"{name} is named")
            redis.delete(f"bgt:default:{name}")
    wait_for(lambda: len(up.runs("good")) > 3, "the task runs")

    told = up.finish()
    assert (told["doubled"], told["worker_restarts"], told["runs"]["failed"]) == (0, 0, 0)


def test_entries_that_cannot_be_read_are_left_out(up: "Up", own: Path, wait_for: WaitFor) -> None:
    """Garbage inside our keys, before the start and in the middle: named in the log; tasks run on, nothing doubles."""
    names = [f"task-{n}" for n in range(4)]
    for name in names:
        up.write(name, task="own_good")
    spoil(up, "default/task-0")
    up.start("--module", "own_tasks")
    wait_for(lambda: all(up_runs(own, name) > 3 for name in names), "all run")
    with Redis.from_url(up.server.url, decode_responses=True) as redis:
        uids = redis.hkeys("bgt:default:past")
    for uid in uids:
        spoil(up, uid)
    before = {name: up_runs(own, name) for name in names}
    wait_for(lambda: all(up_runs(own, name) > before[name] + 5 for name in names), "all run on")
    assert said(own, "is not <epoch>:<holder>") or said(own, "field 3 is not")

    told = up.finish()
    assert (told["doubled"], told["worker_restarts"], told["runs"]["failed"]) == (0, 0, 0)
    assert_served_once(own, names)


def test_a_slot_whose_fence_the_ledger_refuses_is_claimed_anew(up: "Up", own: Path, wait_for: WaitFor) -> None:
    """An entry among the fences that reads well and is wrong: its holder claims beyond it, and the task runs on."""
    up.write("good", task="own_good")
    up.start("--module", "own_tasks")
    wait_for(lambda: len(up.holders()) == 2 and up_runs(own, "good") > 3, "it runs, and the slots are shared")
    with Redis.from_url(up.server.url, decode_responses=True) as redis:
        ((slot, newest),) = [row for row in redis.hgetall("bgt:default:fences").items() if row[0].startswith("slot:")]
        order, _, epoch = newest.partition(":")
        redis.hset("bgt:default:fences", slot, f"{order}:{int(epoch) + 2}")
    wait_for(lambda: said(own, "slot lost", "the ledger has seen a newer fence"), "the refusal is named")
    before = up_runs(own, "good")
    wait_for(lambda: up_runs(own, "good") > before + 5, "it runs on")

    told = up.finish()
    assert (told["doubled"], told["worker_restarts"], told["runs"]["failed"]) == (0, 0, 0)
    assert_served_once(own, ["good"])


def up_runs(own: Path, name: str) -> int:
    """Count the runs of a task by its own trace."""
    return len(trace(own, name))


def spoil(up: "Up", uid: str) -> None:
    """Write what nobody can read wherever the pool keeps something."""
    with Redis.from_url(up.server.url) as redis:
        redis.hset("bgt:default:past", uid, b"\xff{not json")
        redis.hset("bgt:default:marks", uid, "[[[[")
        redis.hset("bgt:default:claims", uid, b"\xfe x nan")
        redis.hset("bgt:default:status", uid, "[1, 2")
        redis.hset("bgt:default:fences", mapping={"slot:1": "x", "realms": "many"})
        redis.hset("bgt:default:slots", mapping={"3": b"\xff garbage", "9999": "x"})
        redis.sadd("bgt:default:members", b"\xff\xfe", "ghost")
        redis.set("bgt:default:member:ghost", "[" * 5000)
        redis.xadd("bgt:default:runs", {"kind": "end", "data": "{"})
        redis.xadd("bgt:default:runs", {"nothing": b"\xff"})
        redis.publish("bgt:default:changed", b"\xff")


def test_an_empty_redis_in_the_middle_begins_a_new_realm(up: "Up", own: Path, wait_for: WaitFor) -> None:
    """Redis killed and started without its data: slots are claimed anew, tasks run again, nothing doubles."""
    names = [f"task-{n}" for n in range(4)]
    for name in names:
        up.write(name, task="own_good")
    up.start("--module", "own_tasks")
    wait_for(lambda: len(up.holders()) == 2 and all(up_runs(own, name) for name in names), "all run")
    realm, workers = slots(up)["realm"], up.workers()

    up.server.kill()
    shutil.rmtree(up.server.folder)
    up.server.folder.mkdir()
    up.server.start()
    before = {name: up_runs(own, name) for name in names}
    wait_for(lambda: all(up_runs(own, name) > before[name] + 3 for name in names), "all run again")

    assert slots(up)["realm"] != realm
    assert up.workers() == workers
    told = up.finish()
    assert (told["doubled"], told["worker_restarts"]) == (0, 0)
    assert_served_once(own, names)


def test_a_taken_port_is_one_sentence(up: "Up", own: Path) -> None:
    """The port of `up` itself is taken: exit 1, the port is named, no worker is left, no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up.write("good", task="own_good")
        running = up.start("--module", "own_tasks", "--port", str(port)).running
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 1
    assert errors.count("\n") == 1
    assert str(port) in errors
    assert "in use" in errors


def test_a_worker_that_cannot_start_says_why_and_the_others_run(up: "Up", own: Path, wait_for: WaitFor) -> None:
    """The port of one worker is taken: its last words are in the summary, the other worker runs the tasks."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up.write("good", task="own_good")
        up.start("--module", "own_tasks", "--port", str(port - 1))
        wait_for(lambda: len(up.runs("good")) > 3, "the other worker runs the task")
        wait_for(lambda: len(list(own.glob("logs/*/worker-1.log"))) == 1 and died_once(own), "the first has ended")
        told = up.finish()
    (sentence,) = told["refused"]
    assert sentence.startswith("worker-1 ended with exit code 1: bgtasks: probes cannot listen on")
    assert str(port) in sentence
    assert told["doubled"] == 0
    assert told["worker_restarts"] >= 1


def died_once(own: Path) -> bool:
    """Say whether a worker wrote more than one life into its log."""
    (log,) = own.glob("logs/*/worker-1.log")
    return log.read_text().count("bgtasks: ") > 1


def test_a_worker_told_twice_to_stop_cancels_what_still_runs(up: "Up", own: Path, wait_for: WaitFor) -> None:
    """A worker of its own: the first SIGTERM drains, the second one cancels; the run is recorded, the exit is clean."""
    up.write(
        "long",
        task="example_work",
        schedule="interval: 1s",
        more="  guarantee: AtMostOnce\n  params: {seconds: 3600}\n",
    )
    command = [sys.executable, "-m", "background_tasks.cli", "worker", "-f", str(up.folder)]
    up.process = subprocess.Popen(
        [*command, "--redis-url", up.server.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with Redis.from_url(up.server.url, decode_responses=True) as redis:
        wait_for(lambda: any(e[1]["kind"] == "claim" for e in redis.xrange("bgt:default:runs")), "it runs")
    up.process.send_signal(signal.SIGTERM)
    wait_for(lambda: not any(row.partition(":")[2] for row in free_rows(up)), "all but the run's slot is given back")
    assert psutil.pid_exists(up.process.pid)
    up.process.send_signal(signal.SIGTERM)
    _, errors = up.process.communicate(timeout=60)

    assert up.process.returncode == 0
    assert "told to stop twice" in errors
    assert [run["outcome"] for run in up.runs("long")] == ["Cancelled"]


def free_rows(up: "Up") -> list[str]:
    """Return the rows of the slots in which nothing runs."""
    rows = [row for slot, row in slots(up).items() if slot.isdecimal()]
    return sorted(rows, key=lambda row: bool(row.partition(":")[2]))[:-1]
