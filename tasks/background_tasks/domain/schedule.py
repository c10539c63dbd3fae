"""When a schedule is due: its fire times, and the first of them that nobody served or decided about.

Not here: what to do about missed ones (`missed`), switches, breakers and jitter (`plan`). All instants are wall
seconds. A fire time is nominal: jitter moves the start of a run, never its fire time, so grids do not drift.
"""

import math
from collections.abc import Iterator

import xxhash

from background_tasks.domain.blackouts import STEPS, window_at
from background_tasks.domain.cron import check_cron, check_zone, cron_after, cron_latest, never_fires, smallest_gap
from background_tasks.domain.model import Continuous, Cron, Every, Interval, Past, Schedule, Spread

__all__ = [
    "after",
    "before",
    "check_cron",
    "check_zone",
    "due_from",
    "floor_of",
    "latest",
    "never_fires",
    "next_fire",
    "next_open",
    "spread_offset",
    "upcoming",
]

CRON_SPREAD_S = 3600.0
"""A cron moves by less than half of its smallest gap, and by less than this: a daily 09:00 stays a morning task."""
SPREAD_SEED = 1
"""Another seed than the slots' own, so that the tasks of one slot do not gather in one part of the period."""


def spread_offset(schedule: Schedule, uid: str) -> float:
    """Return the stable offset of a task in seconds, in [0, period); 0 without spread or without a period.

    For `every` it moves the grid, for `interval` the first run, for `cron` each fire time (by less than half of the
    smallest gap between two, and by less than an hour).
    """
    if schedule.spread is Spread.NONE:
        return 0.0
    cadence = schedule.cadence
    if isinstance(cadence, Every | Interval):
        period = cadence.seconds
    elif isinstance(cadence, Cron):
        period = min(smallest_gap(cadence) / 2, CRON_SPREAD_S)
    else:
        return 0.0
    share = (
        xxhash.xxh3_64_intdigest(uid.encode(errors="surrogatepass"), SPREAD_SEED) >> 11
    ) * 2.0**-53  # 53 bits fill a float and stay below 1
    return share * period


def before(instant: float) -> float:
    """Return the last float before an instant, for "from then on" where a function asks for "after"."""
    return math.nextafter(instant, -math.inf)


def after(cadence: Every | Cron, offset: float, instant: float) -> float | None:
    """Return the first fire time after an instant: O(1) for a grid, one step of cronsim for a cron."""
    if isinstance(cadence, Cron):
        found = cron_after(cadence, instant - offset)
        return None if found is None else found + offset
    period = cadence.seconds
    index = math.floor((instant - offset) / period) + 1
    while index * period + offset <= instant:  # at most once or twice: the division was rounded
        index += 1
    while (index - 1) * period + offset > instant:
        index -= 1
    return index * period + offset


def latest(cadence: Every | Cron, offset: float, instant: float, floor: float) -> float | None:
    """Return the last fire time in (floor, instant], or None."""
    if isinstance(cadence, Cron):
        found = cron_latest(cadence, instant - offset, floor - offset)
        return None if found is None else found + offset
    period = cadence.seconds
    index = math.floor((instant - offset) / period)
    while (index + 1) * period + offset <= instant:
        index += 1
    while index * period + offset > instant:
        index -= 1
    found = index * period + offset
    return found if found > floor else None


def floor_of(schedule: Schedule, created_at: float, past: Past) -> float:
    """Return the instant after which fire times count: the last decided one, creation with its delay, or a baseline.

    Creation and baseline include their own instant, a fire time that was decided about does not.
    """
    fired = past.fired_at
    floor = before(created_at + schedule.initial_delay) if fired is None else fired
    if past.baseline is not None and past.baseline > floor:
        return before(past.baseline)
    return floor


def due_from(schedule: Schedule, uid: str, created_at: float, past: Past, now: float) -> float:
    """Return when an `interval` is due: from the end of the last run, or its first time.

    A fire time that was decided against counts as an end. An end that lies ahead (the clock stepped back) counts as
    now: the wait is never longer than the interval.
    """
    cadence = schedule.cadence
    assert isinstance(cadence, Interval)
    ended, fired, baseline = past.ended_at, past.fired_at, past.baseline
    if ended is None and fired is None:
        first = created_at + schedule.initial_delay + spread_offset(schedule, uid)
        return first if baseline is None else max(first, baseline)
    base = max(ended if ended is not None else -math.inf, fired if fired is not None else -math.inf)
    if baseline is not None and baseline > base:
        base = baseline
    return min(base, now) + cadence.seconds


def next_open(schedule: Schedule, offset: float, floor: float) -> float | None:
    """Return the first fire time after `floor` that no blackout covers, for `every` and `cron`."""
    cadence = schedule.cadence
    assert isinstance(cadence, Every | Cron)
    found = after(cadence, offset, floor)
    if not schedule.blackouts:
        return found
    for _ in range(STEPS):
        if found is None or (window := window_at(schedule.blackouts, found)) is None:
            return found
        found = after(cadence, offset, before(window[1]))
    return None


def next_fire(schedule: Schedule, *, uid: str, created_at: float, past: Past, now: float) -> float | None:
    """Return the first fire time that nobody served, which may be over; None when there will never be one.

    Fire times of `every` and `cron` inside a blackout are passed over. A `continuous` task is due after its restart
    delay (backoff needs a draw and is added by `plan`); an `onStart` task once, until its pool comes up anew.
    """
    cadence = schedule.cadence
    if isinstance(cadence, Interval):
        return due_from(schedule, uid, created_at, past, now)
    if isinstance(cadence, Every | Cron):
        return next_open(schedule, spread_offset(schedule, uid), floor_of(schedule, created_at, past))
    if isinstance(cadence, Continuous) and past.ended_at is not None:
        return min(past.ended_at, now) + cadence.restart_delay
    return created_at + schedule.initial_delay if past.fired_at is None else None


def upcoming(schedule: Schedule, *, uid: str, start: float) -> Iterator[float]:
    """Yield the fire times from `start` on, for `every` and `cron`; nothing for others: they depend on their runs."""
    if not isinstance(schedule.cadence, Every | Cron):
        return
    offset = spread_offset(schedule, uid)
    found = next_open(schedule, offset, before(start))
    while found is not None:
        yield found
        found = next_open(schedule, offset, found)
