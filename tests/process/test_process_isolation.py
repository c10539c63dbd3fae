"""Process isolation: a run in a child of its own that answers, is stopped, killed and reaped; none is left."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvloop

from background_tasks.domain.model import Interval, Isolation, Outcome, Policy, RunRecord, Schedule, Task, TaskUid
from background_tasks.engine.binding import Binding
from background_tasks.engine.clock import SystemClock
from background_tasks.engine.scheduler import Scheduler
from background_tasks.testing.memory import MemoryLedger, MemoryStatusSink
from background_tasks.testing.notes import Notes

pytestmark = pytest.mark.process

MODULE = '''
import asyncio, os, signal, subprocess, sys, time
from datetime import timedelta
from pathlib import Path
from background_tasks.authoring import TaskParams, TaskReport, background_task, current_run

class Params(TaskParams):
    """What it may be told."""
    keep: timedelta = timedelta(days=1)
    where: str = ""

@background_task(interval=60, params=Params)
async def works(ctx, params):
    """Report what it was given."""
    await ctx.verify_leadership()
    ctx.report(TaskReport(items_in=1))
    assert current_run() is ctx and ctx.params is params
    return TaskReport(created=int(params.keep.total_seconds()), extra={"pid": os.getpid(), "run": ctx.run_id})

async def fails():
    """Raise."""
    raise ValueError("broken")

async def babbles():
    """Return what JSON cannot hold."""
    return {(1, 2): 3}

async def exits():
    """Leave without a word."""
    os._exit(7)

async def sleeps(params):
    """Sleep for ever, and say when it is told to stop."""
    Path(params["where"]).write_text("started")
    try:
        await asyncio.sleep(1000)
    finally:
        Path(params["where"]).write_text("cleaned up")

async def deaf(params):
    """Hold the interpreter, ignore SIGTERM, and have a child of its own."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    own = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    Path(params["where"]).write_text(str(own.pid))
    while True:
        time.sleep(1000)

async def needs(redis):
    """Ask for what a child cannot have."""
'''


async def parent_only(ctx: Any) -> None:
    """Never called: the child imports its own."""


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run_in_child(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., RunRecord]:
    """Give a way to run a function of MODULE once, in a child, on either loop; no child is left afterwards."""
    (tmp_path / "isolated_module.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    async def story(
        function: str, params: object = None, *, until: Callable[[], bool] | None = None, **policy: Any
    ) -> RunRecord:
        notes = Notes()
        binding = Binding(call=parent_only, entry=f"isolated_module:{function}", params=params)
        clock = SystemClock()
        scheduler = Scheduler(
            clock=clock,
            bind=lambda task: binding,
            ledger=MemoryLedger(),
            sink=MemoryStatusSink(),
            observer=notes,
            worker="w1",
        )
        declared = Policy(
            coroutine=function,
            schedule=Schedule(cadence=Interval(seconds=1000)),
            isolation=Isolation.PROCESS,
            **policy,
        )
        before = psutil.Process().children(recursive=True)  # such as the session's own Redis
        async with asyncio.TaskGroup() as group:
            group.create_task(scheduler.run())
            scheduler.upsert(Task(uid=TaskUid("it"), name="a/it", policy=declared, created_at=clock.wall()))
            await _wait(until or (lambda: bool(notes.ends)))
            await scheduler.drain(0)
        assert psutil.Process().children(recursive=True) == before
        return notes.ends[0]

    def run(function: str, params: object = None, **options: Any) -> RunRecord:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(story(function, params, **options))

    return run


async def _wait(claim: Callable[[], bool]) -> None:
    for _ in range(2000):
        if claim():
            return
        await asyncio.sleep(0.01)
    pytest.fail("not within twenty seconds")


def test_a_child_is_given_its_run_and_its_report_comes_back(run_in_child: Any) -> None:
    """Params are validated by the coroutine's own model there; verification is answered by the worker."""
    run = run_in_child("works", {"keep": "PT2H"})
    assert (run.outcome, run.report["created"], run.report["extra"]["run"]) == (Outcome.SUCCEEDED, 7200, "w1-1")
    assert not psutil.pid_exists(run.report["extra"]["pid"])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("fails", "ValueError: broken"),
        ("babbles", "a/it reported what JSON cannot hold: TypeError"),
        ("exits", "the child process ended without a result: exit code 7"),
        ("absent", "has no attribute 'absent'"),
        ("needs", "isolation Process offers ctx and params, and isolated_module:needs also asks for redis"),
    ],
)
def test_whatever_ends_a_child_fails_its_run_alone(run_in_child: Any, function: str, message: str) -> None:
    """Errors, exits and what cannot be called are told in one sentence."""
    run = run_in_child(function)
    assert run.outcome is Outcome.FAILED
    assert message in run.message


def test_a_child_past_its_timeout_may_clean_up(run_in_child: Any, tmp_path: Path) -> None:
    """It is terminated first: its coroutine is cancelled there."""
    where = tmp_path / "state"
    run = run_in_child("sleeps", {"where": str(where)}, timeout=2.0)
    assert (run.outcome, where.read_text()) == (Outcome.TIMED_OUT, "cleaned up")


def test_a_deaf_child_is_killed_with_all_it_started(run_in_child: Any, tmp_path: Path) -> None:
    """What ignores SIGTERM gets SIGKILL, its children as well, and is reaped."""
    where = tmp_path / "state"
    run = run_in_child("deaf", {"where": str(where)}, timeout=2.0)
    assert run.outcome is Outcome.TIMED_OUT
    asyncio.run(_wait(lambda: not psutil.pid_exists(int(where.read_text()))))


def test_a_drain_ends_a_child(run_in_child: Any, tmp_path: Path) -> None:
    """The end of the worker leaves no child behind."""
    where = tmp_path / "state"
    run = run_in_child("sleeps", {"where": str(where)}, until=lambda: where.exists() and bool(where.read_text()))
    assert (run.outcome, where.read_text()) == (Outcome.CANCELLED, "cleaned up")


WORKER = """
import asyncio, sys
from background_tasks.domain.model import Interval, Isolation, Policy, Schedule, Task, TaskUid
from background_tasks.engine.binding import Binding
from background_tasks.engine.clock import SystemClock
from background_tasks.engine.scheduler import Scheduler
from background_tasks.testing.memory import MemoryLedger, MemoryStatusSink
from background_tasks.testing.notes import Notes

async def unused(ctx):
    pass

async def main():
    binding = Binding(call=unused, entry="isolated_module:sleeps", params={"where": sys.argv[1]})
    scheduler = Scheduler(
        clock=SystemClock(), bind=lambda task: binding, ledger=MemoryLedger(), sink=MemoryStatusSink(),
        observer=Notes(), worker="w1",
    )
    policy = Policy(
        coroutine="sleeps", schedule=Schedule(cadence=Interval(seconds=1000)), isolation=Isolation.PROCESS
    )
    scheduler.upsert(Task(uid=TaskUid("it"), name="a/it", policy=policy))
    await scheduler.run()

asyncio.run(main())
"""


def test_a_child_does_not_outlive_a_worker_that_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL leaves the worker no time to end its children: the kernel does."""
    (tmp_path / "isolated_module.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    where = tmp_path / "state"
    with subprocess.Popen([sys.executable, "-c", WORKER, str(where)]) as worker:
        asyncio.run(_wait(lambda: where.exists() and where.read_text() == "started"))
        children = psutil.Process(worker.pid).children()
        worker.kill()
    assert len(children) == 1
    asyncio.run(_wait(lambda: not any(child.is_running() for child in children)))
