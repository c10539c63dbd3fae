"""What a plan is, in plain data: the next step of a task, and the closed codes of what went into it.

Not here: how it is decided (`plan`), or how people are told (`explain`).
"""

from dataclasses import dataclass
from enum import StrEnum

from background_tasks.domain.missed import Skips
from background_tasks.domain.model import Past


class FireKind(StrEnum):
    """Why there is a run."""

    SCHEDULED = "Scheduled"
    MISSED = "Missed"  # its fire time passed unserved; the policy runs it all the same
    RUN_NOW = "RunNow"  # somebody asked; the schedule is not moved
    PROBE = "Probe"  # the breaker lets this one through and decides by it
    START = "Start"  # an onStart or continuous task begins


class Reason(StrEnum):
    """What went into a plan; `explain` has the sentences."""

    FIRST_RUN = "FirstRun"
    FROM_END = "FromEnd"
    GRID = "Grid"
    CRON = "Cron"
    RESTART = "Restart"
    BACKOFF = "Backoff"
    POOL_UP = "PoolUp"
    COOLDOWN = "Cooldown"
    LATE = "Late"
    CATCH_UP = "CatchUp"
    BACKLOG = "Backlog"
    LEFT_OUT = "LeftOut"
    JITTER = "Jitter"
    BLACKOUT = "Blackout"
    SUSPENDED = "Suspended"
    PAUSED = "Paused"
    RESUMED = "Resumed"
    RUN_NOW = "RunNow"
    BREAKER_OPEN = "BreakerOpen"
    CLOCK_BACK = "ClockBack"
    NEVER = "Never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The next step of a task."""

    fire: float | None
    """The fire time to serve next, nominal (`scheduled_for`). None: nothing to do until the task changes."""
    when: float | None
    """The wall instant to start it; not after now: at once."""
    kind: FireKind
    past: Past
    """The past after the skips; the same object when nothing was decided."""
    because: tuple[Reason, ...]
    skips: Skips = ()
    """Decided against, oldest first, ten at the most."""
    skipped: int = 0
    """How many in total (of a cron, after a very long absence: at least so many)."""
