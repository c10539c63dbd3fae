"""What a task, a run and a past are, in plain data; every way in which a run can end has its name here.

Not here: how a resource spells them (`api`), or what to do about them (the other files of this room).
All instants are wall-clock seconds since the epoch, all durations seconds, unless a name says otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NewType

TaskUid = NewType("TaskUid", str)
"""Identity of one declared task: the resource's UID, or a UUIDv5 of (pool, namespace, name) for a file."""
MemberId = NewType("MemberId", str)
"""Identity of one worker process in the slot protocol; never used twice."""

EMPTY: Mapping[str, object] = MappingProxyType({})
"""The one empty mapping that every task without params shares."""


class RunPolicy(StrEnum):
    """On how many workers of its pool a task runs."""

    SINGLETON = "Singleton"  # on exactly one worker of the pool
    EVERY_WORKER = "EveryWorker"  # on each worker


class Spread(StrEnum):
    """Whether a stable offset, made from the UID, moves the fire times of a task."""

    NONE = "None"
    HASH = "Hash"


class MissedPolicy(StrEnum):
    """What to do with fire times that nobody served."""

    ONCE = "Once"  # one catch-up run for all of them
    SKIP = "Skip"  # none: wait for the next fire time
    ALL = "All"  # one run for each, up to the limit, oldest first


class OnResume(StrEnum):
    """What a task does when its suspension or pause ends."""

    SKIP = "Skip"  # wait for the next fire time
    ONCE = "Once"  # one run at once


class Overlap(StrEnum):
    """What to do when a task is due while its last run is still going."""

    SKIP = "Skip"  # leave this fire time out
    QUEUE = "Queue"  # run it afterwards; one waits at the most
    REPLACE = "Replace"  # cancel the running one, then start
    ALLOW = "Allow"  # run beside it


class Guarantee(StrEnum):
    """What a crash may do to a fire time."""

    AT_LEAST_ONCE = "AtLeastOnce"  # it may be run again
    AT_MOST_ONCE = "AtMostOnce"  # it may be lost: the claim is written before the start


class Isolation(StrEnum):
    """Where the coroutine runs."""

    LOOP = "Loop"  # on the worker's own loop
    THREAD = "Thread"  # on a loop of its own in a thread: may block
    PROCESS = "Process"  # in a child process: may block, leak or hold the interpreter lock


class Outcome(StrEnum):
    """How a run ended; closed."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"  # the last attempt raised
    TIMED_OUT = "TimedOut"  # the last attempt passed spec.timeout
    CANCELLED = "Cancelled"  # drained, replaced or removed while it ran
    SKIPPED = "Skipped"  # never started, or deferred by the task itself; the reason says why
    LOST = "Lost"  # the worker died under it
    SUPERSEDED = "Superseded"  # the fence was lost: somebody else may act


class SkipReason(StrEnum):
    """Why a fire time had no run."""

    OVERLAP = "Overlap"
    MISSED = "Missed"  # nobody served it and the policy leaves it out
    BLACKOUT = "Blackout"
    SUSPENDED = "Suspended"
    PAUSED = "Paused"
    BREAKER_OPEN = "BreakerOpen"
    COOLDOWN = "Cooldown"  # an onStart task ran too recently
    DEFERRED = "Deferred"  # the task itself put it off (budget, quota)
    DRAINING = "Draining"


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
