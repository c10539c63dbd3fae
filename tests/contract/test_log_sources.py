"""Log sources over real files, threads and child processes."""
# ruff: noqa: ASYNC240 - a test's tiny files hold no loop

import asyncio
import contextlib
import os
import stat
import sys
import threading
from collections.abc import AsyncGenerator
from pathlib import Path

import psutil
import pytest
import structlog
import uvloop

from background_tasks.services.journal import Journal
from background_tasks.services.log_sources import FileTail, LogLine, LogSource, ProcessLog, SourceMissing

PATIENCE_S = 10.0


async def some(lines: AsyncGenerator[LogLine], count: int) -> list[LogLine]:
    """Read so many lines."""
    async with asyncio.timeout(PATIENCE_S):
        return [await anext(lines) for _ in range(count)]


async def messages(lines: AsyncGenerator[LogLine], count: int) -> list[str]:
    """Read so many messages."""
    return [line.message for line in await some(lines, count)]


def tail(path: Path, **options: int) -> FileTail:
    """Tail a file, looking often."""
    return FileTail(path, poll_s=0.01, **options)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give a log file with two lines."""
    path = tmp_path / "app.log"
    path.write_text("one\ntwo\n")
    return path


async def test_a_file_is_read_from_its_start_and_followed(log: Path) -> None:
    """Lines that are there, then lines that come; a line counts when its end is written."""
    async with contextlib.aclosing(tail(log).lines(None)) as lines:
        assert await messages(lines, 2) == ["one", "two"]
        with log.open("a") as writer:
            writer.write("thr")
            writer.flush()
            await asyncio.sleep(0)
            writer.write("ee\nfour\n")
        assert await messages(lines, 2) == ["three", "four"]


async def test_every_position_is_a_place_to_go_on_from(log: Path) -> None:
    """Reading after a line gives the next one, also in another process."""
    log.write_text("".join(f"line {n}\n" for n in range(20)))
    async with contextlib.aclosing(tail(log).lines(None)) as lines:
        positions = [line.position for line in await some(lines, 20)]

    for number, position in enumerate(positions[:-1]):
        async with contextlib.aclosing(tail(log).lines(position)) as lines:
            assert await messages(lines, 1) == [f"line {number + 1}"]


async def test_a_rotated_file_is_read_to_its_end_then_the_new_one(log: Path) -> None:
    """Renaming loses no line, whether the reader was there or comes back later."""
    async with contextlib.aclosing(tail(log).lines(None)) as lines:
        position = (await some(lines, 1))[0].position
        log.rename(log.with_name("app.log.1"))
        with log.with_name("app.log.1").open("a") as late:
            late.write("late\n")
        log.write_text("new\n")
        assert await messages(lines, 3) == ["two", "late", "new"]

    async with contextlib.aclosing(tail(log).lines(position)) as lines:
        assert await messages(lines, 3) == ["two", "late", "new"]


async def test_a_file_that_was_emptied_is_read_from_its_start(log: Path) -> None:
    """Copy-and-truncate rotation, seen by a reader that is there and by one that comes back."""
    async with contextlib.aclosing(tail(log).lines(None)) as lines:
        position = (await some(lines, 2))[1].position
        log.write_text("x\n")
        assert await messages(lines, 1) == ["x"]

    async with contextlib.aclosing(tail(log).lines(position)) as lines:
        assert await messages(lines, 1) == ["x"]


@pytest.mark.parametrize("position", ["", "nonsense", "[1]", "[-1, 2, 3]", '{"a": 1}', "[0, 0, 0]"])
async def test_a_position_that_means_nothing_begins_at_the_start(log: Path, position: str) -> None:
    """Rubbish in the store costs repeats, not the feed."""
    async with contextlib.aclosing(tail(log).lines(position)) as lines:
        assert await messages(lines, 1) == ["one"]


async def test_an_endless_line_is_cut_and_the_next_one_is_whole(log: Path) -> None:
    """One head is given, whatever the length, and memory stays bounded."""
    with log.open("ab") as writer:
        writer.write(b"y" * 1_000_000 + b"\nafter\n")
    async with contextlib.aclosing(tail(log, line_bytes=100_000, characters=50).lines(None)) as lines:
        assert await messages(lines, 4) == ["one", "two", f"{'y' * 50} [cut: 100000 characters]", "after"]


@pytest.mark.parametrize("kind", ["absent", "folder"])
async def test_a_file_that_cannot_be_read_is_missing(tmp_path: Path, kind: str) -> None:
    """The error says which file and why."""
    path = tmp_path if kind == "folder" else tmp_path / "no.log"
    with pytest.raises(SourceMissing, match=str(path)):
        await anext(tail(path).lines(None))


async def test_the_process_log_gives_lines_of_any_thread_in_order() -> None:
    """What was kept before the reader came, then what comes."""
    log = ProcessLog(keep=3)
    for number in range(5):
        log(None, "info", {"event": f"early {number}"})
    async with contextlib.aclosing(log.lines(None)) as lines:
        assert await messages(lines, 3) == ["early 2", "early 3", "early 4"]
        thread = threading.Thread(target=log, args=(None, "error", {"event": "from a thread", "slot": 3}))
        thread.start()
        (line,) = await some(lines, 1)
        thread.join()

    assert (line.message, line.level, line.position) == ("from a thread slot=3", 3, "")


async def test_the_process_log_outlives_its_reader() -> None:
    """Logging goes on when nobody reads, also after the reader's loop has ended."""
    log = ProcessLog()
    await asyncio.to_thread(asyncio.run, read_one(log))
    log(None, "info", {"event": "later"})

    async with contextlib.aclosing(log.lines(None)) as lines:
        assert await messages(lines, 1) == ["later"]


async def read_one(log: ProcessLog) -> None:
    """Log and read one line on a loop of its own."""
    log(structlog.get_logger(), "info", {"event": "first"})
    async with contextlib.aclosing(log.lines(None)) as lines:
        await anext(lines)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_no_child_is_left_on_either_loop(loop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flooding journalctl that ignores the request to end is gone, with its group, when the generator is closed."""
    program = tmp_path / "journalctl"
    program.write_text(
        f"#!{sys.executable}\nimport os, pathlib, signal, sys\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        'line = \'{"__CURSOR": "s=1;i=1;b=1;m=1;t=1;x=1", "MESSAGE": "\' + \'x\' * 900 + \'"}\\n\'\n'
        "if '--follow' not in sys.argv: print(line); sys.exit()\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\nos.fork()\n"
        "while True: sys.stdout.write(line * 100)\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    async def story() -> None:
        async with contextlib.aclosing(Journal(stop_grace_s=0.2).lines(None)) as lines:
            assert len(await some(lines, 500)) == 500

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
        runner.run(story())

    group = int((tmp_path / "pid").read_text())
    assert [p for p in psutil.process_iter() if _group(p.pid) == group and is_left(p)] == []


def is_left(process: psutil.Process) -> bool:
    """Say whether it lives, or is a zombie of ours; an orphan's exit code is taken by the machine's first process."""
    return process.status() != psutil.STATUS_ZOMBIE or process.ppid() == os.getpid()


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


@pytest.mark.parametrize(
    "source", [Journal("a"), FileTail(Path("a.log")), ProcessLog()], ids=lambda s: type(s).__name__
)
def test_every_source_has_a_name_of_its_own(source: LogSource) -> None:
    """Lease and position hang on it: it tells kind and place."""
    assert source.name.split(":")[0] in {"journald", "file", "process"}
    assert source.live
    assert Journal(file=Path("a.journal")).live is False
    assert Journal("a").name != Journal("b").name
