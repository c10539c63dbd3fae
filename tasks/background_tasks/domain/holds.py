"""What a suspension or a pause does to a task: nothing while it lasts, and what `onResume` says when it ends.

Not here: run-now, which works throughout. A suspension (spec) ends when we see it gone; a pause (annotation) at its
own instant, so its end is known even if nobody was looking.
"""

import math
from dataclasses import replace

from background_tasks.domain.missed import Skips, left_out
from background_tasks.domain.model import Cron, Every, Interval, OnResume, Past, Switches, Task
from background_tasks.domain.schedule import before, due_from, floor_of

FOREVER = math.inf


def held_until(switches: Switches, now: float) -> float | None:
    """Return until when scheduled runs are held back, `FOREVER` without an end in sight, None when they are not."""
    if switches.suspend:
        return FOREVER
    pause = switches.pause
    if pause is None:
        return None
    if pause.until is None:
        return FOREVER
    return pause.until if now < pause.until else None


def resume(task: Task, past: Past, now: float) -> tuple[Past, Skips, int]:
    """Return the past after a hold that ended, with the fire times that passed meanwhile.

    The baseline moves to the end of the hold: what passed before it is not missed. With `onResume: Once` one run is
    owed for that instant. A fire time served since then shows that the end was seen in time.
    """
    pause = task.switches.pause
    assert past.held_at is not None
    ended = pause.until if pause is not None and pause.until is not None and pause.until >= past.held_at else now
    if past.fired_at is not None and past.fired_at >= ended:
        return replace(past, held_at=None), (), 0
    skips, skipped = _passed(task, past, ended, now)
    owes = task.policy.missed.on_resume is OnResume.ONCE and isinstance(
        task.policy.schedule.cadence, Interval | Every | Cron
    )
    return replace(rebased(task, past, ended), held_at=None, owed=ended if owes else None), skips, skipped


def rebased(task: Task, past: Past, instant: float) -> Past:
    """Return the past with a baseline at `instant`. An `interval` that is not due before keeps its time."""
    schedule = task.policy.schedule
    if (
        isinstance(schedule.cadence, Interval)
        and due_from(schedule, task.uid, task.created_at, past, instant) >= instant
    ):
        return past
    return replace(past, baseline=instant)


def _passed(task: Task, past: Past, ended: float, now: float) -> tuple[Skips, int]:
    schedule = task.policy.schedule
    if not isinstance(schedule.cadence, Every | Cron):
        return (), 0
    floor = floor_of(schedule, task.created_at, past)
    if floor >= ended:
        return (), 0
    skips, skipped, _ = left_out(task, past, floor, before(ended), now=now)
    return skips, skipped
