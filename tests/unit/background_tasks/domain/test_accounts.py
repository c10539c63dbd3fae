"""The books balance: through absences, suspensions, failures and blackouts each fire time is served or told, once."""

from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from background_tasks.domain.missed import passed_over
from background_tasks.domain.model import (
    Blackout,
    Breaker,
    Cron,
    Every,
    Missed,
    MissedPolicy,
    Outcome,
    Past,
    Policy,
    Schedule,
    Spread,
    Switches,
    Task,
    TaskUid,
)
from background_tasks.domain.outcome import after_run
from background_tasks.domain.plan import plan
from background_tasks.domain.schedule import after, spread_offset

START = 1_700_006_400.0
PERIOD = 600.0
ODD_HOURS = Blackout(starts=Cron(expression="40 */2 * * *"), duration=2400.0)

tasks = st.builds(
    lambda cadence, jitter, spread, blackouts, missed, breaker: Task(
        uid=TaskUid("uid"),
        name="default/work",
        policy=Policy(
            coroutine="work",
            schedule=Schedule(cadence=cadence, jitter=jitter, spread=spread, blackouts=blackouts),
            missed=missed,
            breaker=breaker,
        ),
    ),
    st.sampled_from([Every(seconds=PERIOD), Cron(expression="*/10 * * * *", zone="Europe/Berlin")]),
    st.sampled_from([0.0, 300.0]),
    st.sampled_from(Spread),
    st.sampled_from([(), (ODD_HOURS,)]),
    st.builds(Missed, policy=st.sampled_from(MissedPolicy), limit=st.integers(1, 4)),
    st.sampled_from([None, Breaker(failures=2, cooldown=1500.0)]),
)
events = st.lists(
    st.one_of(
        st.builds(lambda periods: ("away", periods * PERIOD), st.floats(0, 4)),
        st.builds(lambda periods: ("suspended", periods * PERIOD), st.floats(0, 4)),
        st.just(("works", 1.0)),
        st.just(("fails", 1.0)),
    ),
    max_size=12,
)


def live(task: Task, story: list[tuple[str, float]]) -> list[float]:
    """Go through a task's life as a worker does; return every fire time that was served or told, in order."""
    past, now, told = Past(fired_at=START), START, list[float]()
    for event, seconds in story:
        switches = Switches(suspend=event == "suspended")
        planned = plan(replace(task, switches=switches), past, now, 0.5)
        assume(planned.skipped == len(planned.skips))  # of more than ten only the first are listed
        told += [fire for fire, _ in planned.skips]
        past = planned.past
        if event not in ("works", "fails"):
            now += seconds
            continue
        assert planned.fire is not None
        assert planned.when is not None
        now = max(now, planned.when)
        skips, skipped = passed_over(task, past, planned.fire, now)
        assume(skipped == len(skips))
        told += [fire for fire, _ in skips]
        told.append(planned.fire)
        outcome = Outcome.SUCCEEDED if event == "works" else Outcome.FAILED
        past = after_run(task, past, fire=planned.fire, started_at=now, ended_at=now + seconds, outcome=outcome)
        now += seconds
    return told


@settings(max_examples=200, deadline=None)
@given(tasks, events)
def test_each_fire_time_is_served_or_told_once(task: Task, story: list[tuple[str, float]]) -> None:
    """None is lost, none is told twice, all come in their order."""
    told = live(task, story)

    schedule = task.policy.schedule
    assert isinstance(schedule.cadence, Every | Cron)
    offset, every, fire = spread_offset(schedule, task.uid), list[float](), START
    while told and fire < told[-1]:
        following = after(schedule.cadence, offset, fire)
        assert following is not None
        every.append(fire := following)
    assert told == every
