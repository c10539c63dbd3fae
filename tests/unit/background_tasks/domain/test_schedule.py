"""Fire times of grids, intervals and spread tasks, against brute force."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from background_tasks.domain.model import (
    NO_PAST,
    Blackout,
    Cadence,
    Continuous,
    Cron,
    Every,
    Interval,
    OnStart,
    Past,
    Schedule,
    Spread,
)
from background_tasks.domain.schedule import after, before, latest, next_fire, spread_offset, upcoming

periods = st.one_of(st.sampled_from([0.001, 0.1, 1.0, 1.5, 7.3, 60.0, 86_400.0]), st.floats(0.01, 1e6))
instants = st.one_of(st.floats(1.6e9, 2e9), st.integers(1_600_000_000, 2_000_000_000).map(float))


def due(schedule: Schedule, past: Past = NO_PAST, *, created_at: float = 0.0, now: float = 1e9) -> float | None:
    """Ask for the next fire time of the task `uid`."""
    return next_fire(schedule, uid="uid", created_at=created_at, past=past, now=now)


@settings(max_examples=200, deadline=None)
@given(periods, st.floats(0, 0.999), instants)
def test_the_next_grid_point_is_the_smallest_one_after(period: float, share: float, instant: float) -> None:
    """Neither a point is left out nor one given twice, however floats round."""
    every, offset = Every(seconds=period), share * period

    found = after(every, offset, instant)

    assert found is not None
    index = round((found - offset) / period)
    assert found == index * period + offset > instant >= (index - 1) * period + offset
    assert latest(every, offset, found, -math.inf) == found
    assert latest(every, offset, before(found), -math.inf) == (index - 1) * period + offset


@settings(max_examples=50, deadline=None)
@given(st.sampled_from([0.1, 0.3, 1.0, 7.3]), st.integers(1_600_000_000, 2_000_000_000))
def test_a_grid_never_drifts(period: float, start: int) -> None:
    """A thousand steps later the fire time is what arithmetic says."""
    schedule, fire = Schedule(cadence=Every(seconds=period)), float(start)
    first = due(schedule, Past(fired_at=fire))
    assert first is not None

    for _ in range(1000):
        fire = due(schedule, Past(fired_at=fire)) or 0.0

    assert fire == (round(first / period) + 999) * period


def test_an_interval_counts_from_the_end_of_the_last_run() -> None:
    """Long runs push the next one away; a fire time that was decided against counts like an end."""
    schedule = Schedule(cadence=Interval(seconds=300))

    assert due(schedule, Past(fired_at=1000, started_at=1001, ended_at=1500), now=1500) == 1800
    assert due(schedule, Past(fired_at=1800, started_at=1001, ended_at=1500), now=1900) == 2100


def test_an_end_that_lies_ahead_counts_as_now() -> None:
    """After the clock stepped back the wait is one interval, not one interval and the step."""
    schedule = Schedule(cadence=Interval(seconds=300))

    assert due(schedule, Past(fired_at=9000, ended_at=9000), now=2000) == 2300


FIRST = {
    "an interval": (Schedule(cadence=Interval(seconds=60), initial_delay=10), 1010),
    "a grid": (Schedule(cadence=Every(seconds=60), initial_delay=10), 1020),
    "a grid point at creation itself": (Schedule(cadence=Every(seconds=100)), 1000),
    "a cron": (Schedule(cadence=Cron(expression="* * * * *"), initial_delay=30), 1080),
    "a cron at the end of the delay": (Schedule(cadence=Cron(expression="* * * * *"), initial_delay=20), 1020),
    "a continuous task": (Schedule(cadence=Continuous(restart_delay=5), initial_delay=10), 1010),
    "an onStart task": (Schedule(cadence=OnStart(cooldown=5)), 1000),
}


@pytest.mark.parametrize(("schedule", "expected"), FIRST.values(), ids=FIRST.keys())
def test_the_first_run_follows_creation_and_delay(schedule: Schedule, expected: float) -> None:
    """Fire times count from creation plus the initial delay on, that instant included."""
    assert due(schedule, created_at=1000, now=1000) == expected


@given(st.text(max_size=40), st.floats(0.001, 1e7))
def test_spread_is_stable_and_within_the_period(uid: str, period: float) -> None:
    """The UID alone decides, and grid and interval agree."""
    grid = Schedule(cadence=Every(seconds=period), spread=Spread.HASH)

    offset = spread_offset(grid, uid)

    assert 0 <= offset < period
    assert offset == spread_offset(grid, uid)
    assert offset == spread_offset(Schedule(cadence=Interval(seconds=period), spread=Spread.HASH), uid)
    assert spread_offset(Schedule(cadence=Every(seconds=period)), uid) == 0


def test_spread_is_even() -> None:
    """Ten thousand tasks fill each tenth of the period about equally."""
    schedule = Schedule(cadence=Every(seconds=10), spread=Spread.HASH)

    tenths = [int(spread_offset(schedule, f"task-{index}")) for index in range(10_000)]

    assert all(850 < tenths.count(tenth) < 1150 for tenth in range(10))


def test_the_spread_of_one_uid_is_pinned() -> None:
    """Another hash in a later version would move every fire time of every user."""
    schedule = Schedule(cadence=Every(seconds=1000), spread=Spread.HASH)

    assert round(spread_offset(schedule, "uid"), 3) == 262.425


@pytest.mark.parametrize(
    ("cadence", "bound"),
    [
        pytest.param(Cron(expression="*/5 * * * *"), 150, id="half of five minutes"),
        pytest.param(Cron(expression="0 9 * * *"), 3600, id="an hour of a day"),
        pytest.param(Continuous(restart_delay=5), 0.001, id="a continuous task has no period"),
        pytest.param(OnStart(cooldown=5), 0.001, id="an onStart task has none either"),
    ],
)
def test_the_spread_of_a_cron_keeps_its_meaning(cadence: Cadence, bound: float) -> None:
    """It moves by less than half of its smallest gap and less than an hour."""
    schedule = Schedule(cadence=cadence, spread=Spread.HASH)

    offsets = [spread_offset(schedule, f"task-{index}") for index in range(200)]

    assert 0 <= min(offsets) <= max(offsets) < bound


NIGHT = Blackout(starts=Cron(expression="0 22 * * *"), duration=8 * 3600.0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 7 * 86_400), st.sampled_from([60.0, 1800.0, 3600.0, 5000.0]))
def test_fire_times_inside_a_blackout_are_passed_over(start: int, period: float) -> None:
    """The next fire time is the first grid point between 06:00 and 22:00; the ends belong to the day and the night."""
    schedule = Schedule(cadence=Every(seconds=period), blackouts=(NIGHT,))
    grid = (index * period for index in range(int(start // period) + 1, 10**9))

    expected = next(point for point in grid if point > start and 6 <= point % 86_400 / 3600 < 22)

    assert due(schedule, Past(fired_at=float(start))) == expected


def test_blackouts_that_leave_nothing_mean_never() -> None:
    """The search ends, and says so."""
    always = Blackout(starts=Cron(expression="* * * * *"), duration=60)

    assert due(Schedule(cadence=Every(seconds=1), blackouts=(always,))) is None


def test_upcoming_fire_times_are_listed() -> None:
    """For people who ask what comes next: from the given instant on, blackouts left out."""
    schedule = Schedule(cadence=Cron(expression="0 */8 * * *"), blackouts=(NIGHT,))
    found = upcoming(schedule, uid="uid", start=0.0)

    assert [next(found) / 3600 for _ in range(4)] == [8, 16, 32, 40]
    assert list(upcoming(Schedule(cadence=Interval(seconds=5)), uid="uid", start=0.0)) == []
