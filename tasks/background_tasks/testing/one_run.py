"""One run of a task, as a worker would carry it out: bound by the names of its parameters, timed out, judged.

Not here: schedules, and what follows from an outcome (`world`).
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel

from background_tasks.authoring import Declaration, RunContext, TaskCoroutine, TaskReport
from background_tasks.domain.model import EMPTY, Fence, Outcome, RunRecord, Task, TaskUid
from background_tasks.domain.plan import FireKind
from background_tasks.engine.clock import SystemClock
from background_tasks.engine.executor import Executor
from background_tasks.engine.records import NO_SLOT, Armed
from background_tasks.engine.run import Run, Workplace
from background_tasks.engine.scheduler import Binding
from background_tasks.errors import NotLeader, Refused
from background_tasks.ports import Clock, Refusal
from background_tasks.testing.notes import Notes
from background_tasks.testing.virtual_time import clock_of
from background_tasks.worker.declared import policy_of
from background_tasks.worker.registry import Registry
from background_tasks.worker.task_modules import declared
from background_tasks.worker.tracebacks import keep_tracebacks_cheap

WORKER = "test"


class LoopClock:
    """A clock (`ports.Clock`) that reads `at` now and goes on with the running loop. Draws are the same every time."""

    def __init__(self, at: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._wall_at_zero = at - self._loop.time()
        self._random = random.Random(0)

    def wall(self) -> float:
        """Seconds since the epoch."""
        return self._wall_at_zero + self._loop.time()

    def monotonic(self) -> float:
        """The loop's time."""
        return self._loop.time()

    def boottime(self) -> float:
        """The loop's time."""
        return self._loop.time()

    def draw(self) -> float:
        """The next of a fixed sequence."""
        return self._random.random()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run ended."""

    outcome: Outcome
    value: object
    """What the coroutine returned; None when it did not."""
    report: TaskReport | None
    """`value`, where it is a report."""
    error: BaseException | None
    """What the last attempt raised."""
    reason: str
    message: str
    attempt: int
    """The last one."""
    progress: tuple[TaskReport, ...]
    """What the run told by `ctx.report`."""
    record: RunRecord
    """As ledger and history would keep it."""

    def or_raise(self) -> Self:
        """Return this result of a run that succeeded; raise what a run that did not succeed raised."""
        if self.error is not None:
            raise self.error
        if self.outcome is not Outcome.SUCCEEDED:
            raise AssertionError(f"the run ended as {self.outcome}: {self.reason} {self.message}".rstrip())
        return self


@dataclass(slots=True)
class _Watched:
    """What the coroutine returned, raised and told."""

    value: object = None
    error: BaseException | None = None
    progress: list[TaskReport] = field(default_factory=list)


async def run_task(
    func: TaskCoroutine,
    *,
    params: Mapping[str, object] | BaseModel | None = None,
    services: Mapping[str, object] | None = None,
    flags: Mapping[str, object] = EMPTY,
    settings: Mapping[str, str] | None = None,
    at: float | datetime | None = None,
    fence: Fence | None = None,
    leading: bool = True,
    attempt: int = 1,
    clock: Clock | None = None,
    **policy: Any,
) -> RunResult:
    """Run a coroutine once on the running loop and tell how it ended; what it raises is in the result.

    `services` are handed over by the names of parameters. `at` (wall seconds, or a datetime with its zone) is the fire
    time and what the run's clock reads at its start; without it the clock is that of the loop: virtual under
    `virtual_time.run`, else the machine's. `leading=False` has `ctx.verify_leadership()` raise `NotLeader`. `policy`
    are fields of `domain.model.Policy`, such as `timeout` and `retry`. Raises `Refused` when a worker would not run it:
    params that do not fit, a service that is not there, a parameter that nobody could fill.
    """
    keep_tracebacks_cheap()
    wall = at.timestamp() if isinstance(at, datetime) else at
    clock = clock or _clock(wall)
    offered = {**(services or {}), "config": (services or {}).get("config", flags)}
    declaration = declared(func)
    task = _task(declaration, params, policy, clock.wall())
    binding = _bound(declaration, task, params, offered, flags)
    watched = _Watched()
    run = Run(Armed(task, binding, NO_SLOT), clock.wall() if wall is None else wall, FireKind.SCHEDULED, fence, "run-1")
    place = Workplace(
        clock=clock,
        observer=Notes(),
        worker=WORKER,
        settings=settings or {},
        services=offered,
        verify=_leads if leading else _leads_not,
    )
    run.prepare(place, _watching(binding, watched), binding.params)
    run.attempt = run.context.attempt = attempt
    run.context.on_report = watched.progress.append
    await _carry_out(run, clock)
    return _result(run, watched)


def _clock(at: float | None) -> Clock:
    if at is not None:
        return LoopClock(at)
    return clock_of(asyncio.get_running_loop()) or SystemClock()


def _task(declaration: Declaration, params: object, policy: Mapping[str, Any], now: float) -> Task:
    name = f"{WORKER}/{declaration.name}"
    given = params.model_dump() if isinstance(params, BaseModel) else params or {}
    assert isinstance(given, Mapping)
    return Task(
        uid=TaskUid(name),
        name=name,
        policy=replace(policy_of(declaration), **policy),
        params=given,
        created_at=now,
    )


def _bound(
    declaration: Declaration, task: Task, params: object, services: Mapping[str, object], flags: Mapping[str, object]
) -> Binding:
    binding = Registry([declaration], services=services, flags=flags).bind(task)
    if isinstance(binding, Refusal):
        raise Refused(binding.message)
    return replace(binding, params=params) if isinstance(params, BaseModel) else binding


def _watching(binding: Binding, watched: _Watched) -> Any:
    async def call(context: RunContext[Any]) -> object:
        watched.value = watched.error = None
        try:
            watched.value = await binding.call(context)
        except BaseException as error:
            watched.error = error
            raise
        return watched.value

    return call


async def _carry_out(run: Run, clock: Clock) -> None:
    ended = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        executor = Executor(
            group, clock=clock, observer=Notes(), on_end=lambda _: ended.set(), on_stuck=lambda _: ended.set()
        )
        executor.start(run)
        try:
            await ended.wait()
        finally:
            executor.close()


def _result(run: Run, watched: _Watched) -> RunResult:
    outcome = run.outcome or run.cause
    assert outcome is not None
    record = run.as_record(outcome)
    return RunResult(
        outcome=outcome,
        value=watched.value,
        report=watched.value if isinstance(watched.value, TaskReport) else None,
        error=watched.error,
        reason=run.reason,
        message=run.message,
        attempt=run.attempt,
        progress=tuple(watched.progress),
        record=record,
    )


async def _leads(_: Fence) -> None:
    """The test says that the slot is held."""


async def _leads_not(fence: Fence) -> None:
    raise NotLeader(f"the slot of fence {fence} is not held any more")
