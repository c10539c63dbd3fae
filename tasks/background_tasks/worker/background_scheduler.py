"""The scheduler of a program that has one: register coroutines, start, stop. No pool, no leases, nothing persisted.

Not here: which tasks a program wants (`build_scheduler`, or the program). It is the engine with every slot its own.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from background_tasks.authoring import RunContext, Services, TaskCoroutine, TaskParams, is_coroutine_function
from background_tasks.domain.model import (
    Fence,
    Interval,
    Past,
    Policy,
    RunRecord,
    Schedule,
    Task,
    TaskUid,
)
from background_tasks.engine.clock import SystemClock
from background_tasks.engine.scheduler import Binding, Scheduler
from background_tasks.errors import Refused
from background_tasks.knowledge.context import run_context
from background_tasks.ports import Clock, Refusal
from background_tasks.telemetry.observers import LogObserver
from background_tasks.worker.arguments import Call
from background_tasks.worker.tracebacks import keep_tracebacks_cheap

WORKER = "background-scheduler"
"""Name of the one worker that such a program is."""

_log = logging.getLogger("background_tasks")


class AlreadyRegistered(Refused, ValueError):
    """The name belongs to another coroutine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """One task of a `BackgroundScheduler`, as it was registered."""

    name: str
    func: TaskCoroutine
    interval: float
    """Seconds from the end of a run to the next start."""
    initial_delay: float = 0.0
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    shown: Registered
    policy: Policy
    binding: Binding


class BackgroundScheduler:
    """Runs coroutines again and again on the running loop.

    The interval counts from the end of a run. A run that fails is logged and its task goes on. Starting a stopped
    scheduler again begins anew: first runs come after their initial delay. Use all of it on one loop.
    """

    def __init__(self, *, clock: Clock | None = None, services: Services | None = None) -> None:
        """`services` is what runs find as `ctx.services`; `clock` stands in for the machine's in tests."""
        self.not_registered: Mapping[str, str] = MappingProxyType({})
        """What `build_scheduler` left out, and why: `{"kg_decay": "needs kg_manager"}`."""
        self._clock = clock or SystemClock()
        self._services = services
        self._jobs: dict[str, _Job] = {}
        self._engine: Scheduler | None = None
        self._running: asyncio.Task[None] | None = None

    @property
    def tasks(self) -> Mapping[str, Registered]:
        """What is registered, by name; cannot be changed through it."""
        return MappingProxyType({name: job.shown for name, job in self._jobs.items()})

    def register(
        self,
        name: str,
        func: TaskCoroutine,
        interval: float,
        initial_delay: float = 0.0,
        args: Iterable[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> None:
        """Have `func(*args, **kwargs)` run every `interval` seconds, counted from the end of a run.

        The same name with the same function replaces what was registered; with another one it raises
        `AlreadyRegistered` (a `ValueError`). Raises `Refused` for what is not async or not a positive interval.
        May be called while the scheduler runs.
        """
        given, named = tuple(args), dict(kwargs or {})
        _check(name, func, interval, initial_delay)

        async def call(_: RunContext[Any]) -> object:
            return await func(*given, **named)

        shown = Registered(
            name=name, func=func, interval=interval, initial_delay=initial_delay, args=given, kwargs=named
        )
        schedule = Schedule(cadence=Interval(seconds=interval), initial_delay=initial_delay)
        self.add(shown, Policy(coroutine=name, schedule=schedule), call)

    def add(self, shown: Registered, policy: Policy, call: Call, params: object = None) -> None:
        """Register with a whole policy, as `build_scheduler` does for decorated coroutines."""
        before = self._jobs.get(shown.name)
        if before is not None and before.shown.func is not shown.func:
            raise AlreadyRegistered(
                f"task {shown.name!r}: the name belongs to {_qualified(before.shown.func)}; "
                f"give {_qualified(shown.func)} another name"
            )
        self._jobs[shown.name] = job = _Job(shown=shown, policy=policy, binding=Binding(call=call, params=params))
        if self._engine is not None:
            self._engine.upsert(self._task(job))

    async def start(self) -> None:
        """Begin, and return at once. Does nothing when it runs already."""
        if self._running is not None and not self._running.done():
            return
        keep_tracebacks_cheap()
        self._engine = Scheduler(
            clock=self._clock,
            bind=self._bind,
            ledger=_NoLedger(),
            sink=_NoSink(),
            observer=LogObserver(self._clock),
            worker=WORKER,
            settings=run_context(TaskParams).settings,  # the environment, as a task in a plain script has it
            services=self._services,
        )
        for job in self._jobs.values():
            self._engine.upsert(self._task(job))
        # The one asyncio task without a group: who calls start() and stop() is its group. It owns all others.
        self._running = asyncio.get_running_loop().create_task(self._engine.run(), name=WORKER)
        self._running.add_done_callback(_tell_failure)

    async def stop(self) -> None:
        """Cancel what runs, wait until it has stopped, and forget when tasks ran. It can be started again."""
        engine, running = self._engine, self._running
        self._engine = self._running = None
        if engine is not None and running is not None:
            await engine.drain(0)
            await running

    def _task(self, job: _Job) -> Task:
        name = job.shown.name
        return Task(uid=TaskUid(name), name=name, policy=job.policy, created_at=self._clock.wall())

    def _bind(self, task: Task) -> Binding | Refusal:
        return self._jobs[task.policy.coroutine].binding


def _check(name: str, func: object, interval: float, initial_delay: float) -> None:
    if not isinstance(name, str) or not name:
        raise Refused(f"task {name!r}: a name is a text that is not empty")
    if not is_coroutine_function(func):
        raise Refused(f"task {name!r}: {func!r} is not a coroutine function; declare it with `async def`")
    if not 0 < interval < float("inf"):
        raise Refused(f"task {name!r}: interval is {interval!r}; give a positive number of seconds")
    if not 0 <= initial_delay < float("inf"):
        raise Refused(f"task {name!r}: initial_delay is {initial_delay!r}; give 0 or more seconds")


def _qualified(func: TaskCoroutine) -> str:
    return f"{getattr(func, '__module__', '?')}.{getattr(func, '__qualname__', repr(func))}"


def _tell_failure(running: asyncio.Task[None]) -> None:
    error = None if running.cancelled() else running.exception()
    if error is not None:
        _log.error("the scheduler has failed, nothing runs any more", exc_info=error)


class _NoLedger:
    """Remembers nothing: a program that keeps its own state starts its tasks anew."""

    async def load(self, uids: Iterable[TaskUid]) -> Mapping[TaskUid, Past]:
        return {}

    async def claim(self, task: Task, scheduled_for: float, fence: Fence | None) -> bool:
        return True

    async def record(self, task: Task, past: Past | None, run: RunRecord | None, *, fence: Fence | None = None) -> None:
        return None

    async def forget(self, uid: TaskUid) -> None:
        return None


class _NoSink:
    """Shows nothing."""

    async def publish(self, uid: TaskUid, status: Mapping[str, object]) -> None:
        return None

    async def withdraw(self, uid: TaskUid) -> None:
        return None
