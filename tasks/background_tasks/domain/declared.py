"""What a task declares, in plain data: when it is due, how it runs, what people switch.

Not here: how a resource spells it (`api`). Instants are wall-clock seconds since the epoch, durations seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from background_tasks.domain.words import (
    EMPTY,
    Guarantee,
    Isolation,
    MissedPolicy,
    OnResume,
    Overlap,
    RunPolicy,
    Spread,
    TaskUid,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Next fire time = end of the previous run + `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Every:
    """A fixed grid of `seconds`, anchored at the epoch."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """Five-field cron expression in an IANA zone. A skipped local time fires once at the change, a doubled one once."""

    expression: str
    zone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuous:
    """A long-lived coroutine, started again `restart_delay` after it ended."""

    restart_delay: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OnStart:
    """Once when the pool comes up, not again within `cooldown`; with EveryWorker once per worker."""

    cooldown: float


type Cadence = Interval | Every | Cron | Continuous | OnStart


@dataclass(frozen=True, slots=True, kw_only=True)
class Blackout:
    """A time in which nothing is due: from each fire time of `starts`, for `duration` seconds."""

    starts: Cron
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a task is due."""

    cadence: Cadence
    initial_delay: float = 0.0
    jitter: float = 0.0
    """Up to this many seconds are added to each fire time, drawn anew per run."""
    spread: Spread = Spread.NONE
    blackouts: tuple[Blackout, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """What to do with fire times that nobody served."""

    policy: MissedPolicy = MissedPolicy.ONCE
    limit: int = 10
    on_resume: OnResume = OnResume.SKIP


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Attempts within one run, and the backoff (full jitter) between them."""

    attempts: int = 1
    initial_backoff: float = 1.0
    factor: float = 2.0
    max_backoff: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Opens after `failures` in a row; lets one probe through after `cooldown` seconds."""

    failures: int
    cooldown: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A pause by annotation."""

    until: float | None
    """None: for ever."""
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What many tasks have in common. Equal policies are one object: 100,000 tasks share a few."""

    coroutine: str
    schedule: Schedule
    run_policy: RunPolicy = RunPolicy.SINGLETON
    missed: Missed = Missed()
    overlap: Overlap = Overlap.SKIP
    timeout: float | None = None
    retry: Retry = Retry()
    breaker: Breaker | None = None
    guarantee: Guarantee = Guarantee.AT_LEAST_ONCE
    group: str | None = None
    requires: frozenset[str] = frozenset()
    max_lateness: float | None = None
    isolation: Isolation = Isolation.LOOP
    history_limit: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """What people flip on a running task."""

    suspend: bool = False
    pause: Pause | None = None
    run_now: str | None = None
    """Value of the run-now annotation; a new value asks for one extra run."""


NO_SWITCHES = Switches()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One declared task."""

    uid: TaskUid
    name: str
    """`namespace/name` of the resource."""
    policy: Policy
    params: Mapping[str, object] = EMPTY
    switches: Switches = NO_SWITCHES
    generation: int = 1
    created_at: float = 0.0
