"""When each kind of schedule begins its next run, for a task that nobody holds back.

Not here: suspension, pause and run-now (`plan`). No run begins inside a blackout, none before an open breaker lets a
probe through. The usual ways build no string, no date and no list.
"""

from dataclasses import replace

from background_tasks.domain.blackouts import open_at
from background_tasks.domain.breaker import opens_until
from background_tasks.domain.missed import MISSED_GRACE_S, settle
from background_tasks.domain.model import (
    Continuous,
    Cron,
    Every,
    MissedPolicy,
    OnStart,
    Overlap,
    Past,
    SkipReason,
    Task,
)
from background_tasks.domain.plan_model import FireKind, Plan, Reason
from background_tasks.domain.retrying import restart_delay
from background_tasks.domain.schedule import after, before, due_from, floor_of, next_open, spread_offset

CLOCK_BACK_S = 10800.0
"""A served fire time this far ahead means that the clock was set back for good (cron's convention: three hours)."""
SAME_START_S = 10.0
"""Workers that come up together may each have an instant of their own for it: so far apart it is one start."""

_GRID = (Reason.GRID,)
_CRON = (Reason.CRON,)
_FROM_END = (Reason.FROM_END,)
_FIRST_RUN = (Reason.FIRST_RUN,)


def never(past: Past, *because: Reason) -> Plan:
    """Plan nothing until the task changes."""
    return Plan(fire=None, when=None, kind=FireKind.SCHEDULED, past=past, because=because)


def begin(
    task: Task, past: Past, fire: float, now: float, draw: float, *, kind: FireKind, because: tuple[Reason, ...]
) -> Plan:
    """Plan a run for `fire`: jitter is added, an open breaker and blackouts are waited for."""
    policy = task.policy
    schedule = policy.schedule
    when = fire
    if schedule.jitter:
        when = fire + schedule.jitter * draw
        because = (*because, Reason.JITTER)
    if past.opened_at is not None and (until := opens_until(policy.breaker, past, now)) is not None:
        kind, when, because = FireKind.PROBE, max(when, until), (*because, Reason.BREAKER_OPEN)
    if schedule.blackouts:
        begins = max(when, now)
        opens = open_at(schedule.blackouts, begins)
        if opens is None:
            return never(past, *because, Reason.BLACKOUT, Reason.NEVER)
        if opens > begins:
            when, because = opens, (*because, Reason.BLACKOUT)
    return Plan(fire=fire, when=when, kind=kind, past=past, because=because)


def by_interval(task: Task, past: Past, now: float, draw: float) -> Plan:
    """Plan from the end of the last run; an overdue run begins at once, unless the policy leaves it out."""
    schedule, missed = task.policy.schedule, task.policy.missed
    fire = due_from(schedule, task.uid, task.created_at, past, now)
    ran = past.ended_at is not None or past.fired_at is not None
    because = _FROM_END if ran else _FIRST_RUN
    grace = MISSED_GRACE_S + schedule.jitter
    if now - fire <= grace or now - _let_through(task, past, fire, now) <= grace:
        return begin(task, past, fire, now, draw, kind=FireKind.SCHEDULED, because=because)
    if missed.policy is MissedPolicy.SKIP and ran:
        past = replace(past, baseline=now)
        later = due_from(schedule, task.uid, task.created_at, past, now)
        following = begin(task, past, later, now, draw, kind=FireKind.SCHEDULED, because=(*because, Reason.LEFT_OUT))
        return replace(following, skips=((fire, SkipReason.MISSED),), skipped=1)
    return begin(task, past, fire, now, draw, kind=FireKind.MISSED, because=(*because, Reason.CATCH_UP))


def _let_through(task: Task, past: Past, fire: float, now: float) -> float:
    """Return when breaker and blackouts let a fire time begin: before that it waits, and is not missed."""
    until = opens_until(task.policy.breaker, past, now)
    opens = open_at(task.policy.schedule.blackouts, fire if until is None else max(fire, until))
    return now if opens is None else opens


def by_calendar(task: Task, past: Past, now: float, draw: float) -> Plan:
    """Plan on a grid or by cron: the next fire time, or one that is over, as the policy for missed ones says."""
    schedule = task.policy.schedule
    cadence = schedule.cadence
    assert isinstance(cadence, Every | Cron)
    because: tuple[Reason, ...] = _CRON if isinstance(cadence, Cron) else _GRID
    if _lies_ahead(past.fired_at, now) or _lies_ahead(past.baseline, now):
        past, because = replace(past, fired_at=now, baseline=None, owed=None), (*because, Reason.CLOCK_BACK)
    offset = spread_offset(schedule, task.uid)
    floor = floor_of(schedule, task.created_at, past)
    fire = after(cadence, offset, floor)
    if fire is None:
        return never(past, *because, Reason.NEVER)
    if fire <= now:
        return _overdue(task, past, now, draw, floor, because=because)
    if not schedule.blackouts and past.opened_at is None:
        return begin(task, past, fire, now, draw, kind=FireKind.SCHEDULED, because=because)
    return _open(task, past, now, draw, floor, because=because)


def _lies_ahead(instant: float | None, now: float) -> bool:
    return instant is not None and instant - now >= CLOCK_BACK_S


def _overdue(task: Task, past: Past, now: float, draw: float, floor: float, *, because: tuple[Reason, ...]) -> Plan:
    """Plan where at least one fire time is over."""
    verdict = settle(task, past, floor, now)
    if verdict.decided is not None:
        past = replace(past, fired_at=verdict.decided)
    fire = verdict.fire
    if fire is None:
        planned = _open(task, past, now, draw, floor, because=(*because, Reason.LEFT_OUT))
    else:
        missed = now - fire > MISSED_GRACE_S + task.policy.schedule.jitter
        cause = Reason.BACKLOG if verdict.backlog else Reason.CATCH_UP if missed or verdict.skipped else Reason.LATE
        kind = FireKind.MISSED if missed or _in_turn(task, fire, now, backlog=verdict.backlog) else FireKind.SCHEDULED
        because = because if cause is Reason.LATE and fire == now else (*because, cause)
        planned = begin(task, past, fire, now, draw, kind=kind, because=because)
    return replace(planned, skips=verdict.skips, skipped=verdict.skipped)


def _in_turn(task: Task, fire: float, now: float, *, backlog: bool) -> bool:
    """Say whether a late fire time has one run at its turn: under All `overlap` leaves out none that is owed."""
    policy = task.policy
    if policy.missed.policy is not MissedPolicy.ALL or policy.overlap is Overlap.ALLOW:
        return False
    return backlog or now - fire > policy.schedule.jitter


def _open(task: Task, past: Past, now: float, draw: float, floor: float, *, because: tuple[Reason, ...]) -> Plan:
    """Plan the next fire time that neither a blackout nor an open breaker leaves out."""
    schedule = task.policy.schedule
    floor = max(floor, past.fired_at) if past.fired_at is not None else floor
    until = opens_until(task.policy.breaker, past, now)
    if until is not None:
        floor = max(floor, before(until))
    fire = next_open(schedule, spread_offset(schedule, task.uid), floor)
    if fire is None:
        return never(past, *because, Reason.BLACKOUT if schedule.blackouts else Reason.NEVER)
    return begin(task, past, fire, now, draw, kind=FireKind.SCHEDULED, because=because)


def by_restart(task: Task, past: Past, now: float, draw: float) -> Plan:
    """Plan the next life of a continuous task: after its restart delay, or the backoff where that is longer."""
    schedule = task.policy.schedule
    cadence = schedule.cadence
    assert isinstance(cadence, Continuous)
    ended, because = past.ended_at, (Reason.RESTART,)
    if ended is None:
        fire, because = task.created_at + schedule.initial_delay, _FIRST_RUN
    else:
        held_for = 0.0 if past.started_at is None else ended - past.started_at
        delay = restart_delay(cadence, task.policy.retry, failures=past.failures, held_for=held_for, draw=draw)
        fire = min(ended, now) + delay
        because = (Reason.BACKOFF,) if delay > cadence.restart_delay else because
    if now - fire > MISSED_GRACE_S:  # nobody was there to start it: it begins anew, it is not late by days
        fire = now
    return begin(task, past, fire, now, draw, kind=FireKind.START, because=because)


def by_start(task: Task, past: Past, now: float, draw: float, up_since: float | None) -> Plan:
    """Plan the run of an `onStart` task: one for each time that its pool comes up, none within the cooldown."""
    schedule = task.policy.schedule
    cadence = schedule.cadence
    assert isinstance(cadence, OnStart)
    up = now if up_since is None else up_since
    last = past.fired_at
    since = None if up_since is None else up_since - SAME_START_S
    if last is not None and since is not None and last >= since and last - now < CLOCK_BACK_S:
        return never(past, Reason.POOL_UP)
    if last is not None and up_since is None:
        rested = now - max(last, past.ended_at or last) > max(cadence.cooldown, MISSED_GRACE_S)
        if not rested:
            return never(past, Reason.COOLDOWN)
    elif past.started_at is not None and 0 <= up - past.started_at < cadence.cooldown:
        skips = ((up, SkipReason.COOLDOWN),)
        return replace(never(replace(past, fired_at=up), Reason.COOLDOWN), skips=skips, skipped=1)
    return begin(task, past, up + schedule.initial_delay, now, draw, kind=FireKind.START, because=(Reason.POOL_UP,))
