"""What a task does next: jitter, delays, blackouts, breakers, clocks that step, onStart and continuous."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from background_tasks.domain.model import (
    NO_PAST,
    Blackout,
    Breaker,
    Cadence,
    Continuous,
    Cron,
    Every,
    Interval,
    Missed,
    MissedPolicy,
    OnStart,
    Past,
    Policy,
    Retry,
    Schedule,
    SkipReason,
    Task,
    TaskUid,
)
from background_tasks.domain.plan import FireKind, Plan, Reason, plan, rescheduled

T0 = 1_700_000_000.0
NIGHT = Blackout(starts=Cron(expression="0 22 * * *"), duration=8 * 3600.0)
MIDNIGHT = 1_700_006_400.0


def task(cadence: Cadence, *, missed: Missed | None = None, breaker: Breaker | None = None, **schedule: object) -> Task:
    """Declare a task, made at T0."""
    policy = Policy(
        coroutine="work",
        schedule=Schedule(cadence=cadence, **schedule),  # type: ignore[arg-type]
        missed=missed or Missed(),
        breaker=breaker,
        retry=Retry(initial_backoff=8),
    )
    return Task(uid=TaskUid("uid"), name="default/work", policy=policy, created_at=T0)


def ran(at: float, *, failures: int = 0, opened_at: float | None = None) -> Past:
    """Remember a run that began and ended at an instant."""
    return Past(fired_at=at, started_at=at, ended_at=at, failures=failures, opened_at=opened_at)


def test_the_usual_plan_is_whole() -> None:
    """The next fire time, at that instant, with the past untouched."""
    past = ran(T0)

    assert plan(task(Interval(seconds=60)), past, T0 + 1, 0.5) == Plan(
        fire=T0 + 60, when=T0 + 60, kind=FireKind.SCHEDULED, past=past, because=(Reason.FROM_END,)
    )
    assert plan(task(Interval(seconds=60)), past, T0 + 1, 0.5).past is past


def test_jitter_moves_the_start_and_not_the_fire_time() -> None:
    """Grids keep their points; intervals count from ends as before."""
    for cadence in (Every(seconds=100), Interval(seconds=100)):
        planned = plan(task(cadence, jitter=30), ran(T0), T0 + 1, 0.5)
        assert (planned.fire, planned.when) == (T0 + 100, T0 + 115)


def test_an_overdue_interval_begins_at_once() -> None:
    """The persisted end decides: a day's task survives restarts, and runs when its day has passed."""
    daily = task(Interval(seconds=86_400))

    assert plan(daily, ran(T0), T0 + 3600, 0.0).when == T0 + 86_400
    late = plan(daily, ran(T0), T0 + 90_000, 0.0)
    assert (late.fire, late.kind, late.skipped) == (T0 + 86_400, FireKind.MISSED, 0)


def test_an_overdue_interval_is_left_out_under_skip() -> None:
    """It waits one interval from now; its very first run is never left out."""
    declared = task(Interval(seconds=60), missed=Missed(policy=MissedPolicy.SKIP))

    planned = plan(declared, ran(T0), T0 + 100, 0.0)

    assert (planned.fire, planned.skips) == (T0 + 160, ((T0 + 60, SkipReason.MISSED),))
    assert plan(declared, planned.past, T0 + 130, 0.0).fire == T0 + 160
    assert plan(declared, NO_PAST, T0 + 100, 0.0).fire == T0


def test_an_interval_that_is_held_back_is_not_missed() -> None:
    """Planned anew behind a breaker or inside a blackout it keeps its fire time, even under Skip."""
    skip = Missed(policy=MissedPolicy.SKIP)
    open_breaker = task(Interval(seconds=60), missed=skip, breaker=Breaker(failures=1, cooldown=600))
    blacked_out = task(Interval(seconds=60), missed=skip, blackouts=(NIGHT,))

    behind = plan(open_breaker, ran(T0, failures=1, opened_at=T0), T0 + 300, 0.0)
    inside = plan(blacked_out, ran(MIDNIGHT - 60), MIDNIGHT + 300, 0.0)

    assert (behind.fire, behind.when, behind.skipped) == (T0 + 60, T0 + 600, 0)
    assert (inside.fire, inside.when, inside.skipped) == (MIDNIGHT, MIDNIGHT + 6 * 3600, 0)


def test_outside_a_blackout_nothing_is_held_back() -> None:
    """A run that is due now begins now, and blackouts are not among its reasons."""
    planned = plan(task(Interval(seconds=60), blackouts=(NIGHT,)), ran(MIDNIGHT - 20_000), MIDNIGHT - 19_939, 0.0)

    assert (planned.when, planned.because) == (MIDNIGHT - 19_940, (Reason.FROM_END,))


BLACKED_OUT = {
    "an interval waits until the blackout ends": (Interval(seconds=3600), MIDNIGHT - 7200 - 1800),
    "so does a continuous task": (Continuous(restart_delay=3600), MIDNIGHT - 7200 - 1800),
    "a run that is overdue waits, too": (Every(seconds=86_400 / 2), MIDNIGHT - 7200 - 43_200),
}


@pytest.mark.parametrize(("cadence", "last"), BLACKED_OUT.values(), ids=BLACKED_OUT.keys())
def test_no_run_begins_inside_a_blackout(cadence: Cadence, last: float) -> None:
    """At 23:00, in a blackout from 22:00 to 06:00."""
    planned = plan(task(cadence, blackouts=(NIGHT,)), ran(last), MIDNIGHT - 3600, 0.0)

    assert planned.when == MIDNIGHT + 6 * 3600
    assert planned.because[-1] is Reason.BLACKOUT


def test_blackouts_that_leave_no_time_end_in_never() -> None:
    """The answer is that there is none, not a search without end."""
    always = Blackout(starts=Cron(expression="* * * * *"), duration=60)

    for cadence in (Interval(seconds=60), Every(seconds=60), Cron(expression="* * * * *")):
        planned = plan(task(cadence, blackouts=(always,)), ran(T0), T0 + 100, 0.0)
        assert (planned.fire, planned.when) == (None, None)


OPEN = {
    "an interval waits for the cooldown": (Interval(seconds=10), T0 + 300, T0 + 10),
    "a grid takes its first point after it": (Every(seconds=70), T0 + 330, T0 + 330),
    "a point at its very end counts": (Every(seconds=100), T0 + 300, T0 + 300),
    "a cron does": (Cron(expression="*/2 * * * *"), T0 + 400, T0 + 400),
    "a long interval is not hurried": (Interval(seconds=900), T0 + 900, T0 + 900),
}


@pytest.mark.parametrize(("cadence", "when", "fire"), OPEN.values(), ids=OPEN.keys())
def test_an_open_breaker_waits_and_then_probes(cadence: Cadence, when: float, fire: float) -> None:
    """One run is let through, marked as the probe."""
    declared = task(cadence, breaker=Breaker(failures=3, cooldown=300))

    planned = plan(declared, ran(T0, failures=3, opened_at=T0), T0 + 1, 0.0)

    assert (planned.fire, planned.when, planned.kind) == (fire, when, FireKind.PROBE)


def test_a_breaker_that_was_taken_away_holds_nothing_back() -> None:
    """The spec decides; what is remembered of an earlier one does not."""
    planned = plan(task(Interval(seconds=10)), ran(T0, failures=3, opened_at=T0), T0 + 1, 0.0)

    assert (planned.when, planned.kind) == (T0 + 10, FireKind.SCHEDULED)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([Every(seconds=60), Every(seconds=5400), Cron(expression="*/7 * * * *", zone="Europe/Berlin")]),
    st.floats(0, 10_799),
)
def test_a_clock_that_steps_back_serves_nothing_twice(cadence: Cadence, back: float) -> None:
    """Below three hours the next fire time lies after the last one served."""
    past = ran(T0)

    planned = plan(task(cadence), past, T0 - back, 0.0)

    assert planned.past is past
    assert planned.fire is not None
    assert planned.fire > T0


def test_a_clock_that_steps_back_for_good_starts_the_schedule_anew() -> None:
    """From three hours on, what was served in the wrong future does not count."""
    now = T0 - 10_800

    planned = plan(task(Every(seconds=60)), ran(T0), now, 0.0)

    assert planned.fire == now // 60 * 60 + 60
    assert planned.because == (Reason.GRID, Reason.CLOCK_BACK)
    assert plan(task(Every(seconds=60)), planned.past, now, 0.0).fire == planned.fire


def test_a_clock_that_jumps_ahead_is_an_absence() -> None:
    """The fire times jumped over follow the policy for missed ones."""
    planned = plan(task(Every(seconds=60)), ran(T0 - 20), T0 - 20 + 3600, 0.0)

    assert (planned.fire, planned.skipped) == (T0 - 20 + 3600, 59)


def test_a_continuous_task_starts_again_after_its_delay() -> None:
    """At first from creation on; a failure adds backoff, holding for five minutes takes it away."""
    declared = task(Continuous(restart_delay=1), initial_delay=5)
    short = Past(fired_at=T0, started_at=T0, ended_at=T0 + 10, failures=2)
    long = Past(fired_at=T0, started_at=T0, ended_at=T0 + 300, failures=1)

    assert plan(declared, NO_PAST, T0, 0.5).when == T0 + 5
    assert plan(declared, short, T0 + 10, 0.5).when == T0 + 10 + 0.5 * 16
    assert plan(declared, long, T0 + 300, 0.5).when == T0 + 301
    assert plan(declared, short, T0 + 10, 0.5).kind is FireKind.START


def test_a_continuous_task_that_nobody_ran_for_days_is_not_late_by_days() -> None:
    """It begins anew now."""
    planned = plan(task(Continuous(restart_delay=1)), ran(T0), T0 + 86_400, 0.0)

    assert (planned.fire, planned.when) == (T0 + 86_400, T0 + 86_400)


def test_an_on_start_task_runs_once_for_each_time_its_pool_comes_up() -> None:
    """Not again after its run, and not again within its cooldown."""
    declared, up = task(OnStart(cooldown=600), initial_delay=3), T0 + 100

    first = plan(declared, NO_PAST, up + 1, 0.0, up_since=up)
    assert (first.fire, first.when, first.kind) == (up + 3, up + 3, FireKind.START)
    after = ran(up + 3)
    assert plan(declared, after, up + 5000, 0.0, up_since=up).fire is None

    soon = plan(declared, after, up + 300, 0.0, up_since=up + 300)
    assert (soon.fire, soon.skips) == (None, ((up + 300, SkipReason.COOLDOWN),))
    assert plan(declared, soon.past, up + 5000, 0.0, up_since=up + 300).skipped == 0

    assert plan(declared, after, up + 603, 0.0, up_since=up + 603).fire == up + 606


def test_workers_that_come_up_together_are_one_start() -> None:
    """A task that moves between them is not run again, whose instant however was the earlier."""
    declared, up = task(OnStart(cooldown=0)), T0 + 100

    assert plan(declared, ran(up), up + 5, 0.0, up_since=up + 0.8).fire is None
    assert plan(declared, ran(up), up + 60, 0.0, up_since=up + 60).fire == up + 60


def test_without_a_start_known_an_on_start_task_rests_for_its_cooldown() -> None:
    """A plan right after its run asks for no other, even with no cooldown at all."""
    declared = task(OnStart(cooldown=0))

    assert plan(declared, ran(T0), T0 + 0.01, 0.0).fire is None
    assert plan(declared, ran(T0), T0 + 60, 0.0).fire == T0 + 60


def test_a_changed_schedule_owes_nothing_for_the_time_before() -> None:
    """Fire times of the new schedule before the change are not missed; an interval still counts from its end."""
    old, new = task(Cron(expression="0 13 * * *")), task(Every(seconds=60))
    past = ran(T0)

    moved = rescheduled(old, new, past, T0 + 900)

    assert plan(new, moved, T0 + 900, 0.0).skipped == 0
    assert plan(new, moved, T0 + 900, 0.0).fire == (T0 + 900) // 60 * 60 + 60
    assert rescheduled(old, old, past, T0 + 900) is past
    assert rescheduled(task(Interval(seconds=5)), task(Interval(seconds=9)), past, T0 + 900) is past
