"""The closed sets of words: policies that a task may choose, and every way in which a run can end.

Not here: what follows from a word (the decisions of this room).
"""

from collections.abc import Mapping
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
