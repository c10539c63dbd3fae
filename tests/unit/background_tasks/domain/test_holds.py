"""Suspension, pause, resuming and run-now: what people flip on a running task."""

from dataclasses import replace

import pytest

from background_tasks.domain.model import (
    NO_PAST,
    NO_SWITCHES,
    Cadence,
    Continuous,
    Cron,
    Every,
    Interval,
    Missed,
    OnResume,
    OnStart,
    Outcome,
    Past,
    Pause,
    Policy,
    Schedule,
    SkipReason,
    Switches,
    Task,
    TaskUid,
)
from background_tasks.domain.outcome import after_run
from background_tasks.domain.plan import FireKind, Plan, Reason, plan

T0 = 1_700_000_040.0
"""A full minute."""
SUSPENDED = Switches(suspend=True)


def task(cadence: Cadence, switches: Switches = NO_SWITCHES, on_resume: OnResume = OnResume.SKIP) -> Task:
    """Declare a task."""
    policy = Policy(coroutine="work", schedule=Schedule(cadence=cadence), missed=Missed(on_resume=on_resume))
    return Task(uid=TaskUid("uid"), name="default/work", policy=policy, switches=switches, created_at=T0 - 3600)


def ran(at: float) -> Past:
    """Remember a run that began and ended at an instant."""
    return Past(fired_at=at, started_at=at, ended_at=at)


def serve(declared: Task, planned: Plan, *, run_now: str | None = None) -> Past:
    """Run what was planned, at its instant."""
    assert planned.fire is not None
    assert planned.when is not None
    when = planned.when
    return after_run(
        declared,
        planned.past,
        fire=planned.fire,
        started_at=when,
        ended_at=when,
        outcome=Outcome.SUCCEEDED,
        run_now=run_now,
    )


cadences = pytest.mark.parametrize(
    "cadence",
    [Interval(seconds=60), Every(seconds=60), Cron(expression="* * * * *"), Continuous(restart_delay=60)],
    ids=["interval", "every", "cron", "continuous"],
)


@cadences
def test_a_suspended_task_does_nothing_and_remembers_since_when(cadence: Cadence) -> None:
    """The instant is kept, so that its end is noticed by whoever comes next."""
    planned = plan(task(cadence, SUSPENDED), ran(T0), T0 + 30, 0.0)

    assert (planned.fire, planned.when, planned.because) == (None, None, (Reason.SUSPENDED,))
    assert planned.past == replace(ran(T0), held_at=T0 + 30)
    again = plan(task(cadence, SUSPENDED), planned.past, T0 + 40, 0.0)
    assert again.past is planned.past


RESUMED = {
    "a grid waits for its next point": (Every(seconds=60), OnResume.SKIP, T0 + 660),
    "so does a cron": (Cron(expression="* * * * *"), OnResume.SKIP, T0 + 660),
    "an interval that was due meanwhile waits for one interval": (Interval(seconds=60), OnResume.SKIP, T0 + 690),
    "an interval that was not due keeps its time": (Interval(seconds=900), OnResume.SKIP, T0 + 900),
    "an interval that is due at that instant runs": (Interval(seconds=630), OnResume.SKIP, T0 + 630),
    "Once runs a grid at once": (Every(seconds=60), OnResume.ONCE, T0 + 630),
    "Once runs an interval at once": (Interval(seconds=900), OnResume.ONCE, T0 + 630),
    "a continuous task is started": (Continuous(restart_delay=60), OnResume.SKIP, T0 + 630),
}


@pytest.mark.parametrize(("cadence", "on_resume", "fire"), RESUMED.values(), ids=RESUMED.keys())
def test_resuming_resets_the_baseline(cadence: Cadence, on_resume: OnResume, fire: float) -> None:
    """Ten minutes of fire times passed; `onResume` alone says whether there is a run for them."""
    held = replace(ran(T0), held_at=T0 + 30)

    planned = plan(task(cadence, on_resume=on_resume), held, T0 + 630, 0.0)

    assert planned.fire == fire
    assert planned.past.held_at is None


def test_what_passed_while_suspended_is_told_once() -> None:
    """Ten fire times, with the suspension as their reason."""
    held = replace(ran(T0), held_at=T0 + 30)

    planned = plan(task(Every(seconds=60)), held, T0 + 630, 0.0)

    assert planned.skipped == 10
    assert planned.skips == tuple((T0 + 60 * index, SkipReason.SUSPENDED) for index in range(1, 11))
    assert plan(task(Every(seconds=60)), planned.past, T0 + 640, 0.0).skipped == 0


def test_the_ends_of_a_suspension_belong_to_it_and_to_what_follows() -> None:
    """A fire time at its very beginning is left out; one at its very end is served, and told by nobody."""
    held = replace(ran(T0), held_at=T0 + 60)

    planned = plan(task(Every(seconds=60)), held, T0 + 180, 0.0)

    assert (planned.fire, planned.skipped) == (T0 + 180, 2)
    assert planned.skips == ((T0 + 60, SkipReason.SUSPENDED), (T0 + 120, SkipReason.SUSPENDED))


def test_a_pause_that_was_over_before_does_not_end_a_suspension() -> None:
    """Its annotation may stay: the suspension that came after it ends when it is gone."""
    declared = task(Every(seconds=60), Switches(pause=Pause(until=T0 + 10)))

    assert plan(declared, replace(ran(T0), held_at=T0 + 30), T0 + 630, 0.0).fire == T0 + 660


def test_what_a_pause_will_leave_out_is_not_told_yet() -> None:
    """Looking ahead decides nothing: an onStart task within its cooldown is left out when the pause has ended."""
    declared = task(OnStart(cooldown=6000), Switches(pause=Pause(until=T0 + 630)))

    planned = plan(declared, ran(T0), T0 + 30, 0.0, up_since=T0 + 20)

    assert (planned.fire, planned.skips, planned.past) == (None, (), replace(ran(T0), held_at=T0 + 30))


@pytest.mark.parametrize("cadence", [Every(seconds=60), Interval(seconds=60)], ids=["every", "interval"])
def test_the_run_that_resuming_owes_is_had_once(cadence: Cadence) -> None:
    """It outlives another plan before its start, and leaves nothing behind."""
    declared = task(cadence, on_resume=OnResume.ONCE)
    planned = plan(declared, replace(ran(T0), held_at=T0 + 30), T0 + 630, 0.0)

    again = plan(declared, planned.past, T0 + 631, 0.0)
    following = plan(declared, serve(declared, again), T0 + 632, 0.0)

    assert (again.fire, again.because) == (T0 + 630, (Reason.RESUMED,))
    assert following.past.owed is None
    assert following.fire is not None
    assert following.fire > T0 + 632


PAUSED = {
    "a grid": (Every(seconds=60), OnResume.SKIP, T0 + 660),
    "a grid with Once": (Every(seconds=60), OnResume.ONCE, T0 + 630),
    "an interval": (Interval(seconds=60), OnResume.SKIP, T0 + 690),
    "a long interval": (Interval(seconds=900), OnResume.SKIP, T0 + 900),
    "a continuous task": (Continuous(restart_delay=1), OnResume.SKIP, T0 + 630),
}


@pytest.mark.parametrize(("cadence", "on_resume", "fire"), PAUSED.values(), ids=PAUSED.keys())
def test_a_pause_with_an_end_is_planned_across(cadence: Cadence, on_resume: OnResume, fire: float) -> None:
    """Nobody needs to look when it ends; served as planned, nothing is told as missed and nothing runs twice."""
    declared = task(cadence, Switches(pause=Pause(until=T0 + 630, by="ann")), on_resume)

    planned = plan(declared, ran(T0), T0 + 30, 0.0)
    after = plan(declared, serve(declared, planned), fire + 1, 0.0)

    assert (planned.fire, planned.when, planned.because[0]) == (fire, fire, Reason.PAUSED)
    assert planned.past.held_at == T0 + 30
    assert (after.past.held_at, after.skipped) == (None, 0)
    assert after.fire is not None
    assert after.fire > fire


def test_the_end_of_a_pause_is_known_to_those_who_were_not_there() -> None:
    """A worker that comes up after the pause counts from its end, not from now."""
    declared = task(Every(seconds=60), Switches(pause=Pause(until=T0 + 90)))

    planned = plan(declared, replace(ran(T0), held_at=T0 + 30), T0 + 190, 0.0)

    assert planned.fire == T0 + 180
    assert planned.skips == ((T0 + 60, SkipReason.PAUSED), (T0 + 120, SkipReason.MISSED))


def test_a_pause_without_an_end_lasts() -> None:
    """Like a suspension, with its own reason."""
    planned = plan(task(Every(seconds=60), Switches(pause=Pause(until=None))), ran(T0), T0 + 30, 0.0)

    assert (planned.fire, planned.because) == (None, (Reason.PAUSED,))


@cadences
@pytest.mark.parametrize(
    "held", [Switches(), SUSPENDED, Switches(pause=Pause(until=None))], ids=["free", "suspended", "paused"]
)
def test_run_now_runs_once_and_always(cadence: Cadence, held: Switches) -> None:
    """A new value asks for one run at once, also while suspended or paused; the same value asks for nothing more."""
    declared = task(cadence, replace(held, run_now="2"))
    past = replace(ran(T0), run_now="1")

    planned = plan(declared, past, T0 + 30, 0.0)
    after = serve(declared, planned, run_now="2")

    assert (planned.fire, planned.when, planned.kind) == (T0 + 30, T0 + 30, FireKind.RUN_NOW)
    assert plan(declared, after, T0 + 31, 0.0).kind is not FireKind.RUN_NOW


@pytest.mark.parametrize(
    "cadence",
    [Interval(seconds=60), Every(seconds=60), Cron(expression="* * * * *"), OnStart(cooldown=60)],
    ids=["interval", "every", "cron", "onStart"],
)
def test_run_now_does_not_move_the_schedule(cadence: Cadence) -> None:
    """The next fire time is what it was without the extra run."""
    declared, asked = task(cadence), task(cadence, Switches(run_now="x"))

    after = serve(asked, plan(asked, ran(T0), T0 + 30, 0.0), run_now="x")

    without = plan(declared, ran(T0), T0 + 31, 0.0, up_since=T0)
    assert plan(asked, after, T0 + 31, 0.0, up_since=T0).fire == without.fire


def test_a_task_that_was_made_suspended_begins_when_it_is_released() -> None:
    """It never had its first run: that is due, not missed."""
    declared = task(Interval(seconds=86_400))

    planned = plan(declared, replace(NO_PAST, held_at=T0), T0 + 600, 0.0)

    assert planned.fire == T0 + 600
