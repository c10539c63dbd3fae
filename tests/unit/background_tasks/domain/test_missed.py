"""Fire times that nobody served, against a brute-force oracle, and ten years of them in no time."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from background_tasks.domain import missed
from background_tasks.domain.missed import CRON_COUNT_CAP, LISTED, MISSED_GRACE_S, passed_over
from background_tasks.domain.model import (
    Blackout,
    Breaker,
    Cron,
    Every,
    Missed,
    MissedPolicy,
    Past,
    Policy,
    Schedule,
    SkipReason,
    Spread,
    Task,
    TaskUid,
)
from background_tasks.domain.plan import FireKind, Plan, plan
from background_tasks.domain.schedule import after, spread_offset

DAY = 86_400.0
START = 1_700_006_400.0
"""A midnight in UTC."""
NOON = Blackout(starts=Cron(expression="0 12 * * *"), duration=3600.0)


def task(
    schedule: Schedule, policy: MissedPolicy = MissedPolicy.ONCE, *, limit: int = 10, breaker: Breaker | None = None
) -> Task:
    """Declare a task that was made long ago."""
    kept = Policy(coroutine="work", schedule=schedule, missed=Missed(policy=policy, limit=limit), breaker=breaker)
    return Task(uid=TaskUid("uid"), name="default/work", policy=kept)


def oracle(task: Task, fired_at: float, now: float) -> tuple[float | None, list[tuple[float, SkipReason]], float]:
    """Walk over all fire times one by one: the one to serve, the skips until it, and the next one ahead."""
    schedule, policy = task.policy.schedule, task.policy.missed
    assert isinstance(schedule.cadence, Every)
    period, offset = schedule.cadence.seconds, spread_offset(schedule, task.uid)
    grid = [index * period + offset for index in range(int(fired_at // period) - 1, int(now // period) + 10_000)]

    def closed(fire: float) -> bool:
        return bool(schedule.blackouts) and 43_200 <= fire % DAY < 46_800

    over = [fire for fire in grid if fired_at < fire <= now]
    ahead = next(fire for fire in grid if fire > now and not closed(fire))
    served = [fire for fire in over if not closed(fire)][-(policy.limit if policy.policy is MissedPolicy.ALL else 1) :]
    if policy.policy is MissedPolicy.SKIP and served and now - served[0] > MISSED_GRACE_S + schedule.jitter:
        served = []
    skips = [
        (fire, SkipReason.BLACKOUT if closed(fire) else SkipReason.MISSED)
        for fire in over
        if not served or fire < served[0]
    ]
    return (served[0] if served else None), skips, ahead


@settings(max_examples=300, deadline=None)
@given(
    st.builds(
        task,
        st.builds(
            Schedule,
            cadence=st.builds(Every, seconds=st.sampled_from([1.0, 60.0, 90.0, 1800.0, 7000.0])),
            spread=st.sampled_from(Spread),
            blackouts=st.sampled_from([(), (NOON,)]),
        ),
        st.sampled_from(MissedPolicy),
        limit=st.integers(1, 12),
    ),
    st.floats(0, 40),
    st.floats(0, DAY),
)
def test_every_policy_agrees_with_a_walk_over_all_fire_times(declared: Task, periods_off: float, shift: float) -> None:
    """Which one is served, which are left out and why, what comes next: grids with spread and blackouts."""
    cadence, fired_at = declared.policy.schedule.cadence, START + shift
    assert isinstance(cadence, Every)
    now = fired_at + periods_off * cadence.seconds

    planned = plan(declared, Past(fired_at=fired_at), now, 0.0)

    fire, skips, ahead = oracle(declared, fired_at, now)
    assert planned.fire == (ahead if fire is None else fire)
    assert (planned.skips, planned.skipped) == (tuple(skips[:LISTED]), len(skips))
    assert planned.past == Past(fired_at=skips[-1][0] if skips else fired_at)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(MissedPolicy), st.integers(1, 5), st.floats(0, 30))
def test_a_cron_and_its_grid_agree(policy: MissedPolicy, limit: int, periods_off: float) -> None:
    """`*/5` in UTC is `every: 5m`, whatever was missed."""
    now = START + periods_off * 300

    plans = [
        plan(task(Schedule(cadence=cadence), policy, limit=limit), Past(fired_at=START), now, 0.0)
        for cadence in (Every(seconds=300), Cron(expression="*/5 * * * *"))
    ]

    told = [(each.fire, each.when, each.kind, each.skips, each.skipped, each.past) for each in plans]
    assert told[0] == told[1]


def served_one_by_one(declared: Task, past: Past, now: float) -> Iterator[Plan]:
    """Serve what is due now until nothing is."""
    while True:
        planned = plan(declared, past, now, 0.0)
        if planned.when is None or planned.when > now:
            return
        yield planned
        past = Past(fired_at=planned.fire)


def test_all_serves_the_latest_up_to_the_limit_oldest_first() -> None:
    """Seven were missed and three are wanted: the latest three run in their order, then the schedule goes on."""
    declared = task(Schedule(cadence=Every(seconds=60)), MissedPolicy.ALL, limit=3)

    plans = list(served_one_by_one(declared, Past(fired_at=START), START + 430))

    assert [planned.fire for planned in plans] == [START + 300, START + 360, START + 420]
    assert [planned.skipped for planned in plans] == [4, 0, 0]
    assert {planned.kind for planned in plans} == {FireKind.MISSED}


LATE = {
    "one that is a little late": (MissedPolicy.SKIP, 1.5, START + 60, FireKind.SCHEDULED),
    "one that is missed": (MissedPolicy.SKIP, 2.5, START + 120, FireKind.SCHEDULED),
    "a catch-up": (MissedPolicy.ONCE, 2.5, START + 60, FireKind.MISSED),
    "late under Once": (MissedPolicy.ONCE, 1.5, START + 60, FireKind.SCHEDULED),
}


@pytest.mark.parametrize(("policy", "late", "fire", "kind"), LATE.values(), ids=LATE.keys())
def test_a_busy_loop_is_no_reason_to_leave_a_run_out(
    policy: MissedPolicy, late: float, fire: float, kind: FireKind
) -> None:
    """A single overdue fire time is served late within the grace; beyond it the policy decides."""
    planned = plan(task(Schedule(cadence=Every(seconds=60)), policy), Past(fired_at=START), START + 60 + late, 0.0)

    assert (planned.fire, planned.kind) == (fire, kind)


def test_a_run_that_waits_for_its_jitter_is_not_missed() -> None:
    """Planned anew while it waits, it keeps its fire time even under Skip."""
    declared = task(Schedule(cadence=Every(seconds=60), jitter=20), MissedPolicy.SKIP)

    planned = plan(declared, Past(fired_at=START), START + 75, 0.9)

    assert (planned.fire, planned.when, planned.skipped) == (START + 60, START + 78, 0)


def test_jitter_is_no_lateness() -> None:
    """A start that its jitter puts off is a scheduled run, not a catch-up."""
    planned = plan(task(Schedule(cadence=Every(seconds=60), jitter=20)), Past(fired_at=START), START + 75, 0.9)

    assert planned.kind is FireKind.SCHEDULED


def test_a_dense_grid_is_looked_through_behind_a_blackout() -> None:
    """Half an hour into it the last fire time before is still found, and waits for its end."""
    noon = START + 43_200
    planned = plan(
        task(Schedule(cadence=Every(seconds=1), blackouts=(NOON,))), Past(fired_at=noon - 60), noon + 1800, 0
    )

    assert (planned.fire, planned.when, planned.skipped) == (noon - 1, noon + 3600, 58)


TEN_YEARS_OFF = {
    "a grid": (Every(seconds=1), (), 315_360_000 - 1),
    "a grid with nightly blackouts": (Every(seconds=1), (NOON,), 315_360_000 - 1),
    "a cron": (Cron(expression="* * * * *"), (), CRON_COUNT_CAP),
    "a cron in a zone": (Cron(expression="* * * * *", zone="Europe/Berlin"), (), CRON_COUNT_CAP),
}


@pytest.mark.parametrize("policy", MissedPolicy)
@pytest.mark.parametrize(("cadence", "blackouts", "skipped"), TEN_YEARS_OFF.values(), ids=TEN_YEARS_OFF.keys())
def test_ten_years_off_cost_no_more_than_a_day(
    cadence: Every | Cron,
    blackouts: tuple[Blackout, ...],
    skipped: int,
    policy: MissedPolicy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fire times are counted by arithmetic or up to a cap, never walked; the latest is still the one served."""
    steps: list[float] = []

    def walk(cadence: Every | Cron, offset: float, instant: float) -> float | None:
        steps.append(instant)
        return after(cadence, offset, instant)

    monkeypatch.setattr(missed, "after", walk)

    now = START + 3650 * DAY
    planned = plan(task(Schedule(cadence=cadence, blackouts=blackouts), policy), Past(fired_at=START), now, 0.0)

    assert len(steps) <= (CRON_COUNT_CAP if isinstance(cadence, Cron) else LISTED) + 1
    assert planned.fire is not None
    assert now - planned.fire <= 600
    assert skipped - 10 <= planned.skipped <= skipped


def test_what_a_blackout_left_out_is_told_when_the_next_run_begins() -> None:
    """Planned ahead, nothing has passed yet; on the way to the run it has."""
    declared = task(Schedule(cadence=Every(seconds=1200), blackouts=(NOON,)))
    past, now = Past(fired_at=START + 43_200 - 1200), START + 43_200 - 1100

    planned = plan(declared, past, now, 0.0)

    assert (planned.fire, planned.skipped) == (START + 46_800, 0)
    told = tuple((START + 43_200 + index * 1200, SkipReason.BLACKOUT) for index in range(3))
    assert passed_over(declared, past, START + 46_800, START + 46_800) == (told, 3)


def test_what_an_open_breaker_left_out_is_told_as_such() -> None:
    """Fire times before the probe have their own reason; so have those after its cooldown that nobody served."""
    declared = task(Schedule(cadence=Every(seconds=60)), breaker=Breaker(failures=3, cooldown=150))
    past = Past(fired_at=START, failures=3, opened_at=START + 10)

    planned = plan(declared, past, START + 300, 0.0)

    assert (planned.fire, planned.kind) == (START + 300, FireKind.PROBE)
    assert planned.skips == (
        (START + 60, SkipReason.BREAKER_OPEN),
        (START + 120, SkipReason.BREAKER_OPEN),
        (START + 180, SkipReason.MISSED),
        (START + 240, SkipReason.MISSED),
    )


def test_a_fire_time_at_the_very_end_of_the_cooldown_may_probe() -> None:
    """It is served; left out for a later one it counts as missed, not as held back by the breaker."""
    declared = task(Schedule(cadence=Every(seconds=60)), breaker=Breaker(failures=3, cooldown=110))
    past = Past(fired_at=START, failures=3, opened_at=START + 10)

    assert plan(declared, past, START + 130, 0.0).fire == START + 120
    assert plan(declared, past, START + 180, 0.0).skips == (
        (START + 60, SkipReason.BREAKER_OPEN),
        (START + 120, SkipReason.MISSED),
    )


def test_without_anything_that_holds_back_nothing_is_passed_over() -> None:
    """The usual start of a run asks nothing of the calendar."""
    declared = task(Schedule(cadence=Every(seconds=60)))

    assert passed_over(declared, Past(fired_at=START), START + 600, START + 600) == ((), 0)
