"""A worker and its tasks on virtual time: register coroutines, let an hour pass, look at what ran.

Not here: several workers, Kubernetes, Redis. One worker holds every slot; what it remembers of runs outlives it, so an
outage can be told.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType, TracebackType
from typing import Any, Self

from pydantic.alias_generators import to_camel

from background_tasks.api import names
from background_tasks.api.convert import task_of
from background_tasks.api.duration import format_duration
from background_tasks.api.read import read_resource
from background_tasks.api.task import BackgroundTask
from background_tasks.authoring import Declaration, TaskCoroutine
from background_tasks.domain.model import RunRecord, SkipReason, Task, TaskUid
from background_tasks.engine.scheduler import Binding, Scheduler, TaskView
from background_tasks.errors import Refused
from background_tasks.ports import Refusal
from background_tasks.testing.memory import MemoryLedger, MemoryStatusSink
from background_tasks.testing.notes import Notes
from background_tasks.testing.virtual_time import START, VirtualTime
from background_tasks.worker.registry import Registry
from background_tasks.worker.task_modules import declared
from background_tasks.worker.tracebacks import keep_tracebacks_cheap

WORKER = "test"
BEGIN = START + 1.0
"""A second past midnight: a grid such as `every: 10m` then has exactly six fire times in the first hour."""
CADENCES = ("interval", "every", "cron", "continuous", "onStart")
DRAIN_S = 60.0


class TaskWorld:
    """One worker on virtual time, with everything in memory. Use as a context manager, or the fixture `task_world`.

    `services` go to coroutines by the names of their parameters, `flags` are the pool's, `groups` its caps by name.
    All instants that it tells are seconds since its beginning; `time.wall()` is the wall clock.
    """

    def __init__(
        self,
        *,
        services: Mapping[str, object] | None = None,
        flags: Mapping[str, object] | None = None,
        settings: Mapping[str, str] | None = None,
        groups: Mapping[str, int] | None = None,
        wall: float = BEGIN,
        seed: int = 0,
    ) -> None:
        keep_tracebacks_cheap()
        self.time = VirtualTime(wall=wall, seed=seed)
        self.services: dict[str, object] = dict(services or {})
        self.flags: dict[str, object] = dict(flags or {})
        self.notes = Notes()
        self.ledger = MemoryLedger()
        self.sink = MemoryStatusSink()
        self._settings, self._groups = dict(settings or {}), dict(groups or {})
        self._began = wall
        self._tasks: dict[str, Task] = {}
        self._registries: dict[TaskUid, Registry] = {}
        self._scheduler: Scheduler | None = None
        self._life: asyncio.Task[None] | None = None
        self._start_worker()

    # --- what there is to run ------------------------------------------------------------------------------------

    def register(
        self,
        func: TaskCoroutine,
        *,
        name: str | None = None,
        params: Mapping[str, object] | None = None,
        **spec: Any,
    ) -> Task:
        """Declare a task as YAML would: `register(digest, every="10m", missed={"policy": "Skip"}, timeout="5s")`.

        `spec` are the fields of `spec` and of `spec.schedule`; without a cadence the decorator's counts. The name is
        the decorator's unless given. Raises `Refused` for what a resource may not say, or a worker would not run.
        """
        declaration = declared(func, name)
        label = name or declaration.name
        fields = {to_camel(field): value for field, value in spec.items()}
        fields["schedule"] = _schedule(fields, declaration)
        body = {"task": declaration.name, "params": dict(params or {}), **fields}
        task = self._task(label, body)
        registry = Registry([declaration], services=self.services, flags=self.flags)
        binding = registry.bind(task)
        if isinstance(binding, Refusal):
            raise Refused(binding.message)
        self._registries[task.uid] = registry
        self._upsert(label, task)
        return task

    def remove(self, name: str) -> None:
        """Delete a task; a run of it is cancelled."""
        task = self._tasks.pop(name)
        self._do(lambda scheduler: scheduler.remove(task.uid))

    def trigger(self, name: str) -> None:
        """Ask for one extra run now."""
        self._do(lambda scheduler: scheduler.trigger(self._tasks[name].uid))

    def suspend(self, name: str, *, suspend: bool = True) -> None:
        """Set or clear `spec.suspend`."""
        task = self._tasks[name]
        self._upsert(name, replace(task, switches=replace(task.switches, suspend=suspend)))

    def resume(self, name: str) -> None:
        """End a suspension."""
        self.suspend(name, suspend=False)

    # --- time ----------------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return self.time.now

    def advance(self, seconds: float) -> None:
        """Let time pass; all that is due up to and at the last instant happens."""
        self.time.advance(seconds)
        self._look()

    def step_wall(self, seconds: float) -> None:
        """Step the wall clock, as a person does; negative is back."""
        self.time.step_wall(seconds)

    def outage(self, seconds: float) -> None:
        """Have no worker for so long: it drains, time passes, another one starts and reads what ran before."""
        self._stop_worker()
        self.time.advance(seconds)
        self._start_worker()
        for label, task in tuple(self._tasks.items()):
            self._upsert(label, task)

    # --- what happened -------------------------------------------------------------------------------------------

    def runs(self, name: str) -> int:
        """Count the runs that started."""
        return len(self.starts(name))

    def starts(self, name: str) -> tuple[float, ...]:
        """Tell when runs started, by the wall clock, as seconds since the beginning."""
        full = self._tasks[name].name
        return tuple(fire + late - self._began for task, fire, late in self.notes.starts if task == full)

    def history(self, name: str) -> tuple[RunRecord, ...]:
        """List the runs that ended, oldest first."""
        uid = self._tasks[name].uid
        return tuple(run for run in self.notes.ends if run.uid == uid)

    def skips(self, name: str) -> tuple[tuple[float, SkipReason], ...]:
        """List fire times without a run, as seconds since the beginning, and why."""
        full = self._tasks[name].name
        return tuple((fire - self._began, reason) for task, fire, reason in self.notes.skips if task == full)

    def view(self, name: str) -> TaskView:
        """Show a task as the worker sees it now."""
        uid = self._tasks[name].uid
        return next(view for view in self._worker().tasks() if view.task.uid == uid)

    def status(self, name: str) -> Mapping[str, object]:
        """Return the resource's `status` as it was shown last; empty while nothing was shown."""
        return self.sink.statuses.get(self._tasks[name].uid, {})

    def why(self, name: str) -> tuple[str, ...]:
        """Explain in sentences what the task does next."""
        explanation = self._worker().explain(self._tasks[name].uid)
        return () if explanation is None else explanation.sentences

    @property
    def tasks(self) -> Mapping[str, Task]:
        """What was registered, by name."""
        return MappingProxyType(self._tasks)

    # --- within --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop the worker and close the loop."""
        if self._life is not None:
            self._stop_worker()
        self.time.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _bind(self, task: Task) -> Binding | Refusal:
        return self._registries[task.uid].bind(task)

    def _task(self, label: str, spec: Mapping[str, object]) -> Task:
        body = {
            "apiVersion": names.API_VERSION,
            "kind": names.TASK_KIND,
            "metadata": {"name": label.replace("_", "-").lower()},
            "spec": spec,
        }
        found = read_resource(body, lambda _: label)
        if not isinstance(found, BackgroundTask):
            refusals = getattr(found, "refusals", ())
            raise Refused("; ".join(refusal.message for refusal in refusals))
        before = self._tasks.get(label)
        created_at = self.time.wall() if before is None else before.created_at
        return task_of(found, seen_at=created_at, generation=1 if before is None else before.generation + 1)

    def _upsert(self, label: str, task: Task) -> None:
        self._tasks[label] = task
        self._do(lambda scheduler: scheduler.upsert(task))

    def _do(self, act: Callable[[Scheduler], None]) -> None:
        scheduler = self._worker()

        async def on_loop() -> None:
            act(scheduler)

        self.time.run(on_loop())

    def _worker(self) -> Scheduler:
        self._look()
        assert self._scheduler is not None
        return self._scheduler

    def _look(self) -> None:
        """Raise what ended the engine, if something did."""
        if self._life is not None and self._life.done():
            self._life.result()

    def _start_worker(self) -> None:
        async def start() -> None:
            self._scheduler = Scheduler(
                clock=self.time,
                bind=self._bind,
                ledger=self.ledger,
                sink=self.sink,
                observer=self.notes,
                worker=WORKER,
                groups=self._groups,
                settings=self._settings,
                services=self.services,
            )
            self._life = self.time.loop.create_task(self._scheduler.run())
            await asyncio.sleep(0)

        self.time.run(start())

    def _stop_worker(self) -> None:
        scheduler, life = self._worker(), self._life
        self._life = None

        async def stop() -> None:
            await scheduler.drain(DRAIN_S)
            assert life is not None
            await life

        self.time.run(stop())


def _schedule(fields: dict[str, Any], declaration: Declaration) -> Mapping[str, object]:
    """Take the schedule's fields out of the task's; without a cadence, take the decorator's."""
    found: dict[str, Any] = dict(fields.pop("schedule", {}))
    for field in (*CADENCES, "timeZone", "initialDelay", "jitter", "spread", "blackouts"):
        if field in fields:
            found[field] = fields.pop(field)
    if not any(cadence in found for cadence in CADENCES):
        found |= declaration.schedule or {"interval": format_duration(declaration.interval)}
        if declaration.initial_delay and "initialDelay" not in found:
            found["initialDelay"] = format_duration(declaration.initial_delay)
    return found
