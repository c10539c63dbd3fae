"""What a task does next: THE decision, asked after every run, on arming, on winning a slot, on a step of the clock.

Not here: words for people (`explain`), overlap with a run that goes on (`overlap`), retries within a run (`retrying`).
Keep `Plan.past`: what was decided here (skips, holds, baselines) is remembered nowhere else.
"""

from dataclasses import replace
from typing import assert_never

from background_tasks.domain.due import begin, by_calendar, by_interval, by_restart, by_start, never
from background_tasks.domain.holds import FOREVER, held_until, rebased, resume
from background_tasks.domain.missed import LISTED, Skips
from background_tasks.domain.model import NO_SWITCHES, Continuous, Cron, Every, Interval, OnStart, Past, Task
from background_tasks.domain.plan_model import FireKind, Plan, Reason

__all__ = ["FireKind", "Plan", "Reason", "plan", "rescheduled"]

_RUN_NOW = (Reason.RUN_NOW,)
_RESUMED = (Reason.RESUMED,)


def plan(task: Task, past: Past, now: float, draw: float, *, up_since: float | None = None) -> Plan:
    """Decide what a task does next. `now` and `up_since` are wall seconds, `draw` a random number in [0, 1).

    `up_since` is the instant at which the pool (with EveryWorker: this worker) came up; only `onStart` asks for it.
    Without it an `onStart` task runs whenever it is planned and its last run lies more than its cooldown back.
    """
    if task.switches is NO_SWITCHES and past.held_at is None and past.owed is None:
        return _scheduled(task, past, now, draw, up_since)
    return _switched(task, past, now, draw, up_since)


def rescheduled(old: Task, new: Task, past: Past, now: float) -> Past:
    """Return the past for a task whose declaration changed: fire times of a new schedule before now are not missed.

    An interval that becomes another interval still counts from the end of the last run.
    """
    before, after = old.policy.schedule, new.policy.schedule
    if before == after or (isinstance(before.cadence, Interval) and isinstance(after.cadence, Interval)):
        return past
    return rebased(new, past, now)


def _scheduled(task: Task, past: Past, now: float, draw: float, up_since: float | None) -> Plan:
    cadence = task.policy.schedule.cadence
    match cadence:
        case Interval():
            return by_interval(task, past, now, draw)
        case Every() | Cron():
            return by_calendar(task, past, now, draw)
        case Continuous():
            return by_restart(task, past, now, draw)
        case OnStart():
            return by_start(task, past, now, draw, up_since)
        case _:
            assert_never(cadence)


def _switched(task: Task, past: Past, now: float, draw: float, up_since: float | None) -> Plan:
    """Plan a task whose switches say something, or whose past remembers that they did."""
    until = held_until(task.switches, now)
    skips: Skips = ()
    skipped = 0
    if until is not None and past.held_at is None:
        past = replace(past, held_at=now)
    elif until is None and past.held_at is not None:
        past, skips, skipped = resume(task, past, now)
    planned = _unheld(task, past, now, draw, up_since) if until is None else _held(task, past, draw, until, up_since)
    if task.switches.run_now is not None and task.switches.run_now != past.run_now:
        planned = Plan(fire=now, when=now, kind=FireKind.RUN_NOW, past=past, because=_RUN_NOW)
    if not skipped:
        return planned
    return replace(planned, skips=(*skips, *planned.skips)[:LISTED], skipped=skipped + planned.skipped)


def _unheld(task: Task, past: Past, now: float, draw: float, up_since: float | None) -> Plan:
    """Plan a run that the end of a suspension owes, or the next of the schedule."""
    if past.owed is not None:
        if past.fired_at is None or past.fired_at < past.owed:
            return begin(task, past, past.owed, now, draw, kind=FireKind.SCHEDULED, because=_RESUMED)
        past = replace(past, owed=None)
    return _scheduled(task, past, now, draw, up_since)


def _held(task: Task, past: Past, draw: float, until: float, up_since: float | None) -> Plan:
    """Plan nothing, or for a pause with an end what will be planned then."""
    if until == FOREVER:
        return never(past, Reason.SUSPENDED if task.switches.suspend else Reason.PAUSED)
    resumed, _, _ = resume(task, past, until)
    planned = _unheld(task, resumed, until, draw, up_since)
    return replace(planned, past=past, skips=(), skipped=0, because=(Reason.PAUSED, *planned.because))
