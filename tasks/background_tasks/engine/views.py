"""What people see of the engine's tasks: one row for lists, one status object, one explanation.

Not here: where it is shown. Nothing here changes anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from background_tasks.domain.explain import Explanation, explain
from background_tasks.domain.model import NO_PAST, OnStart, Policy, RunRecord, Schedule, Task
from background_tasks.domain.status import Observed, status
from background_tasks.engine.dispatch import Dispatcher
from background_tasks.engine.records import NO_SLOT, Armed, Live
from background_tasks.engine.slots import Slots
from background_tasks.ports import Clock, Refusal


class State(StrEnum):
    """What a task does here right now."""

    REFUSED = "Refused"  # it cannot run as it is declared
    ELSEWHERE = "Elsewhere"  # another worker holds its slot
    LOADING = "Loading"  # its past is being read
    RUNNING = "Running"
    STUCK = "Stuck"  # a run of it ignores its cancellation
    WAITING = "Waiting"  # due; its group has no place
    ARMED = "Armed"
    IDLE = "Idle"  # nothing to do until it changes (suspended, paused, never due)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """One row."""

    task: Task
    state: State
    slot: int | None
    next_start: float | None
    """Wall seconds."""
    running: tuple[str, ...]
    """Run ids."""
    last: RunRecord | None
    succeeded: int
    failed: int
    skipped: int
    failures: int
    """In a row."""
    refusal: Refusal | None
    blocks: int
    """So many times it was seen to hold the loop."""
    note: str
    """A standing remark: why it was moved off the loop, or is held back."""


class Views:
    """Reads the records of one worker."""

    def __init__(self, clock: Clock, slots: Slots, dispatcher: Dispatcher, worker: str) -> None:
        self._clock = clock
        self._slots = slots
        self._dispatcher = dispatcher
        self._worker = worker

    def row(self, record: Armed) -> TaskView:
        """Show a task in one row."""
        live = record.live or _NOTHING_YET
        return TaskView(
            task=record.task,
            state=self._state(record, live),
            slot=None if record.slot == NO_SLOT else record.slot,
            next_start=self.next_start(record),
            running=tuple(run.run_id for run in live.runs),
            last=self._last(record.task, live),
            succeeded=live.succeeded,
            failed=live.failed,
            skipped=live.skipped,
            failures=(record.past or NO_PAST).failures,
            refusal=record.binding if isinstance(record.binding, Refusal) else None,
            blocks=live.blocks,
            note=live.noted,
        )

    def status(self, record: Armed) -> Mapping[str, object]:
        """Build the status object of the resource."""
        live, task = record.live or _NOTHING_YET, record.task
        refusal = record.binding if isinstance(record.binding, Refusal) else None
        built = status(
            task,
            record.past or NO_PAST,
            observed=Observed(
                now=self._clock.wall(),
                worker=self._worker,
                slot=None if record.slot == NO_SLOT else record.slot,
                fence=self._slots.fence(record.slot),
                next_start=self.next_start(record),
                running=len(live.runs),
                refusal=None if refusal is None else (refusal.reason, refusal.message),
                quarantine=live.noted,
                history=live.history.recall(task, self._worker),
                succeeded=live.succeeded,
                failed=live.failed,
                skipped=live.skipped,
                last_skip=live.last_skip,
            ),
            previous={"conditions": [dict(zip(_KEPT, kept, strict=True)) for kept in live.conditions]},
        )
        conditions = built["conditions"]
        if record.live is not None and isinstance(conditions, list):
            record.live.conditions = tuple(tuple(item[key] for key in _KEPT) for item in conditions)
        return built

    def explain(self, record: Armed, up_since: float) -> Explanation:
        """Say why the task runs when it does, or does not run."""
        refusal = record.binding.message if isinstance(record.binding, Refusal) else ""
        if not refusal and not self._slots.is_open(record.slot):
            refusal = f"slot {record.slot} is held by another worker"
        return explain(
            record.task,
            record.past or NO_PAST,
            self._clock.wall(),
            up_since=up_since,
            refusal=refusal or (record.live.noted if record.live is not None else ""),
            running=len(record.live.runs) if record.live is not None else 0,
        )

    def next_start(self, record: Armed) -> float | None:
        """Return the wall instant for which the task is filed, or None."""
        when = self._dispatcher.timetable.when(record)
        return None if when is None else when + self._dispatcher.offset

    def _last(self, task: Task, live: Live) -> RunRecord | None:
        last = live.history.recall(task, self._worker, last=1)
        return replace(last[0], report=live.history.report) if last else None

    def _state(self, record: Armed, live: Live) -> State:
        if isinstance(record.binding, Refusal):
            return State.REFUSED
        if live.runs:
            return State.STUCK if any(run.stuck for run in live.runs) else State.RUNNING
        if live.waiting is not None:
            return State.WAITING
        if not self._slots.is_open(record.slot):
            return State.ELSEWHERE
        if record.past is None:
            return State.LOADING
        return State.ARMED if self._dispatcher.timetable.is_filed(record) else State.IDLE


_KEPT = ("type", "status", "lastTransitionTime")
_NOTHING_YET = Live(Policy(coroutine="", schedule=Schedule(cadence=OnStart(cooldown=0.0))))
"""Of a task to which nothing happened."""
