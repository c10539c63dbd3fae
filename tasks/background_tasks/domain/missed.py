"""What becomes of the fire times of a grid or cron that are over: which one is served, which are left out.

Not here: `interval` tasks, of which one fire time at most is over. Cost does not grow with the number missed: a grid
is counted by arithmetic, a cron up to a cap ("at least so many").
"""

from dataclasses import dataclass
from itertools import islice

from background_tasks.domain.blackouts import STEPS, window_at
from background_tasks.domain.breaker import opens_until
from background_tasks.domain.model import Cron, Every, MissedPolicy, Past, SkipReason, Task
from background_tasks.domain.schedule import after, before, floor_of, latest, spread_offset

MISSED_GRACE_S = 2.0
"""Older than this (and than its jitter) a fire time counts as missed: more than a busy loop or a graceful handover
costs, less than a crash."""
LISTED = 10
"""Skips told one by one; more are only counted."""
CRON_COUNT_CAP = 1000
"""Fire times of a cron that are counted one by one, about 15 ms; beyond it the count is "at least"."""

type Skips = tuple[tuple[float, SkipReason], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Which fire time that is over to serve now, and which not to."""

    fire: float | None
    """None: none of them; wait for the next."""
    backlog: bool = False
    """More of them follow, one by one."""
    skips: Skips = ()
    skipped: int = 0
    at_least: bool = False
    decided: float | None = None
    """The last fire time decided against; it moves the past on."""


def settle(task: Task, past: Past, floor: float, now: float) -> Verdict:
    """Decide about the fire times in (floor, now].

    Once: the latest is served for all. All: one by one, the latest `limit` of them, oldest first. Skip: none, unless
    the latest is not older than grace and jitter: that one is late, not missed. Those inside a blackout, or before an
    open breaker lets a probe through, are never served.
    """
    schedule, missed = task.policy.schedule, task.policy.missed
    cadence = schedule.cadence
    assert isinstance(cadence, Every | Cron)
    offset = spread_offset(schedule, task.uid)
    limit = missed.limit if missed.policy is MissedPolicy.ALL else 1
    until = opens_until(task.policy.breaker, past, now)
    served = _newest(task, offset, floor if until is None else max(floor, before(until)), now, limit)
    if missed.policy is MissedPolicy.SKIP and served and now - served[0] > MISSED_GRACE_S + schedule.jitter:
        served = []
    fire = served[-1] if served else None
    decided = latest(cadence, offset, now if fire is None else before(fire), floor)
    if decided is None:
        return Verdict(fire=fire, backlog=len(served) > 1)
    skips, skipped, at_least = left_out(task, past, floor, decided, now=now)
    return Verdict(fire=fire, backlog=len(served) > 1, skips=skips, skipped=skipped, at_least=at_least, decided=decided)


def _newest(task: Task, offset: float, floor: float, now: float, limit: int) -> list[float]:
    """List the latest `limit` fire times in (floor, now] outside blackouts, newest first."""
    schedule = task.policy.schedule
    cadence = schedule.cadence
    assert isinstance(cadence, Every | Cron)
    found: list[float] = []
    ceiling = now
    for _ in range(STEPS + limit):
        fire = latest(cadence, offset, ceiling, floor)
        if fire is None or len(found) == limit:
            break
        window = window_at(schedule.blackouts, fire) if schedule.blackouts else None
        if window is None:
            found.append(fire)
        ceiling = before(fire if window is None else window[0])
    return found


def left_out(task: Task, past: Past, floor: float, last: float, *, now: float) -> tuple[Skips, int, bool]:
    """Tell the fire times in (floor, last] as skips: the oldest with their reasons, how many, whether at least."""
    cadence = task.policy.schedule.cadence
    assert isinstance(cadence, Every | Cron)
    offset = spread_offset(task.policy.schedule, task.uid)
    oldest: list[float] = []
    fire = after(cadence, offset, floor)
    cap = LISTED if isinstance(cadence, Every) else CRON_COUNT_CAP
    while fire is not None and fire <= last and len(oldest) < cap:
        oldest.append(fire)
        fire = after(cadence, offset, fire)
    more = fire is not None and fire <= last
    skipped = len(oldest)
    if isinstance(cadence, Every) and more:
        assert fire is not None
        skipped += 1 + round((last - fire) // cadence.seconds)
    reasons = tuple((found, _reason(task, past, found, now)) for found in islice(oldest, LISTED))
    return reasons, skipped, more and isinstance(cadence, Cron)


def passed_over(task: Task, past: Past, fire: float, now: float) -> tuple[Skips, int]:
    """Tell the fire times that a blackout, a pause or an open breaker left out on the way to `fire`.

    For whoever starts a run that was planned ahead: at planning time they had not passed yet. `past` is the one
    before this run.
    """
    schedule = task.policy.schedule
    held = schedule.blackouts or past.opened_at is not None or past.held_at is not None
    if not held or not isinstance(schedule.cadence, Every | Cron):
        return (), 0
    floor = floor_of(schedule, task.created_at, past)
    skips, skipped, _ = left_out(task, past, floor, before(fire), now=now)
    return skips, skipped


def _reason(task: Task, past: Past, fire: float, now: float) -> SkipReason:
    """Say why a fire time had no run."""
    if past.held_at is not None and fire >= past.held_at:
        return SkipReason.SUSPENDED if task.switches.pause is None else SkipReason.PAUSED
    until = opens_until(task.policy.breaker, past, now)
    if until is not None and fire < until:
        return SkipReason.BREAKER_OPEN
    blackouts = task.policy.schedule.blackouts
    return SkipReason.BLACKOUT if blackouts and window_at(blackouts, fire) else SkipReason.MISSED
