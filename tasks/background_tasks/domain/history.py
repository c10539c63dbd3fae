"""What happened, in plain data: the right to act, what is remembered of a task, one run that ended.

Not here: what is kept where (`sinks`). Instants are wall-clock seconds since the epoch, durations seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from background_tasks.domain.words import EMPTY, Outcome, TaskUid


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """The right to act for a slot, comparable inside one realm only."""

    realm: str
    """Made when the slot table was made; a table made anew starts a new realm."""
    slot: int
    epoch: int
    """Strictly rises with every claim of the slot."""

    def __str__(self) -> str:
        return f"{self.realm}/{self.slot}/{self.epoch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What must be remembered of a task's runs, and outlives its worker. The default is a task that never ran."""

    fired_at: float | None = None
    """The last fire time that was served or decided about (its nominal instant, before jitter)."""
    started_at: float | None = None
    ended_at: float | None = None
    outcome: Outcome | None = None
    success_at: float | None = None
    failures: int = 0
    """Failures in a row."""
    opened_at: float | None = None
    """The breaker is open since then."""
    baseline: float | None = None
    """Fire times before it do not count as missed: set when a suspension ends or a schedule changes."""
    run_now: str | None = None
    """The run-now value that was served last."""
    held_at: float | None = None
    """A suspension or pause was first seen then, and its end has not been seen."""
    owed: float | None = None
    """A suspension ended then, and `onResume: Once` owes a run for that instant."""


NO_PAST = Past()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run that ended, as history, ledger and telemetry keep it."""

    run_id: str
    uid: TaskUid
    task: str
    scheduled_for: float
    started_at: float
    ended_at: float
    outcome: Outcome
    attempt: int = 1
    reason: str = ""
    message: str = ""
    worker: str = ""
    fence: Fence | None = None
    report: Mapping[str, object] = field(default=EMPTY)

    @property
    def lateness(self) -> float:
        """Start minus fire time, in seconds."""
        return self.started_at - self.scheduled_for
