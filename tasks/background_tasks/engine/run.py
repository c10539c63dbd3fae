"""One run: what it is given, what it does meanwhile, how it ended.

Not here: starting and ending it (`executor`), deciding that it is due (`dispatch`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from background_tasks.authoring import RunContext, Services, TaskReport, current_run
from background_tasks.domain.model import EMPTY, Fence, Outcome, Past, RunRecord, Task
from background_tasks.domain.plan import FireKind
from background_tasks.engine.records import Armed
from background_tasks.engine.reporting import kept
from background_tasks.errors import NotLeader
from background_tasks.ports import Clock, Observer

type Call = Callable[[RunContext[Any]], Awaitable[object]]


class RunLogger:
    """A logger that names the run it is used in: task, run and fence in every line. All runs share it."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        run = current_run()
        fields = {} if run is None else {"task": run.task.name, "run": run.run_id}
        if run is not None and run.fence is not None:
            fields["fence"] = str(run.fence)
        return getattr(structlog.get_logger("background_tasks").bind(**fields), name)


LOGGER = RunLogger()


async def _nobody_holds(fence: Fence) -> None:
    raise NotLeader(f"nothing can show that the slot of fence {fence} is held")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """What all runs of one worker share."""

    clock: Clock
    observer: Observer
    worker: str
    settings: Mapping[str, str] = EMPTY  # type: ignore[assignment]  # an empty mapping is a mapping of anything
    services: Services | None = None
    verify: Callable[[Fence], Awaitable[None]] = _nobody_holds
    """Returns while the fence may act, raises `NotLeader` otherwise (`Membership.verify`)."""


class Run:
    """One execution for one fire time. Mutable: the executor fills in how it goes."""

    __slots__ = (
        "__weakref__",
        "asyncio_task",
        "attempt",
        "before",
        "call",
        "cancels",
        "cause",
        "cause_message",
        "claim",
        "context",
        "ended_at",
        "fence",
        "fire",
        "group",
        "kind",
        "last",
        "live",
        "message",
        "number",
        "outcome",
        "place",
        "reason",
        "record",
        "redo",
        "report",
        "run_id",
        "seen",
        "slot",
        "started_at",
        "stuck",
        "task",
        "timer",
    )

    def __init__(self, record: Armed, fire: float, kind: FireKind, fence: Fence | None, run_id: str) -> None:
        self.record = record
        self.live = record.lively()
        self.task: Task = record.task
        """As it was at the start; a change meanwhile counts from the next run on."""
        self.slot = record.slot
        self.group: str | None = None
        """The group in which it has a place."""
        self.fire = fire
        self.kind = kind
        self.fence = fence
        self.run_id = run_id
        self.number = 0
        """Of the runs of this process."""
        self.started_at = self.ended_at = 0.0
        self.attempt = 1
        self.last = False
        """No attempt follows this one, whatever the policy says."""
        self.outcome: Outcome | None = None
        """None while it goes on."""
        self.reason = self.message = ""
        self.report: Mapping[str, object] = EMPTY
        self.cause: Outcome | None = None
        """Why it was told to stop; None: nobody told it to."""
        self.cause_message = ""
        self.cancels = 0
        self.redo = False
        """It was cut short for no fault of its own: its fire time is still to be served, unless at most once."""
        self.stuck = False
        """It was told to stop, did not within the grace, and was recorded as ended all the same."""
        self.seen = False
        """Dispatch has looked at it after its start."""
        self.before: Past | None = None
        """What was known before a grid moved on at the start of this run."""
        self.claim: Callable[[Run], Awaitable[bool]] | None = None
        """Writes that the fire time is being served, before anything starts; None when it is written."""
        self.asyncio_task: asyncio.Task[object] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.call: Call
        self.context: RunContext[Any]
        self.place: Workplace

    def prepare(self, place: Workplace, call: Call, params: object) -> None:
        """Make the context that the coroutine sees."""
        self.place = place
        self.call = call
        self.context = RunContext(
            task=self.task,
            run_id=self.run_id,
            params=params,
            scheduled_for=self.fire,
            attempt=1,
            clock=place.clock,
            fence=self.fence,
            settings=place.settings,
            services=place.services,
            logger=LOGGER,
            on_report=self.on_report,
            on_verify=self.on_verify,
        )

    def on_report(self, progress: TaskReport) -> None:
        """Keep what the run tells of itself while it goes on. May be called from any thread. May raise `Unwritable`."""
        self.report = kept(progress.model_dump(exclude_defaults=True), self.task.name)

    async def on_verify(self) -> None:
        """Return while this run may act; raise `NotLeader` otherwise. May be awaited on any loop."""
        if self.cause is not None:
            raise NotLeader(f"run {self.run_id} was told to stop: {self.cause_message or self.cause.value}")
        if self.fence is not None:
            await self.place.verify(self.fence)

    def as_record(self, outcome: Outcome) -> RunRecord:
        """Return the run as history, ledger and telemetry keep it."""
        return RunRecord(
            run_id=self.run_id,
            uid=self.task.uid,
            task=self.task.name,
            scheduled_for=self.fire,
            started_at=self.started_at,
            ended_at=self.ended_at,
            outcome=outcome,
            attempt=self.attempt,
            reason=self.reason,
            message=self.message,
            worker=self.place.worker,
            fence=self.fence,
            report=self.report,
        )
