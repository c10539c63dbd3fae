"""Which instant of a due prompt fires: clock changes, missed policies, and a cost that downtime does not raise."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from background_tasks.domain import cron
from background_tasks.knowledge.prompt_record import MissedPolicy, Prompt
from background_tasks.knowledge.prompt_turn import Turn, turn
from background_tasks.knowledge.recurrence import due_instants, next_after

DAY = 86_400.0
YEAR = 366 * DAY
NOON = 1_700_000_000.0 // DAY * DAY + DAY / 2
"""12:00 UTC of some day."""


def a_prompt(**given: Any) -> Prompt:
    """Build an active hourly prompt."""
    usual = {
        "id": "tea", "owner": "ann", "channel": "kitchen", "text": "tea?", "kind": "cron", "expr": "0 * * * *",
        "status": "active", "next_at": NOON, "max_lag_s": 300.0,
    }  # fmt: skip
    return Prompt.model_validate(usual | given)


def local(zone: str, *wall: int, fold: int = 0) -> float:
    """Give the instant of a wall time."""
    year, month, day, hour, minute = wall
    return datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone), fold=fold).timestamp()


BERLIN, ANGELES, HOWE = "Europe/Berlin", "America/Los_Angeles", "Australia/Lord_Howe"


@pytest.mark.parametrize(
    ("expr", "zone", "after", "firings"),
    [
        pytest.param(
            "30 2 * * *", BERLIN, local(BERLIN, 2026, 10, 25, 0, 0),
            [local(BERLIN, 2026, 10, 25, 2, 30), local(BERLIN, 2026, 10, 26, 2, 30)],
            id="02:30 fires once in the autumn night that has it twice",
        ),
        pytest.param(
            "30 2 * * *", BERLIN, local(BERLIN, 2026, 3, 29, 0, 0),
            [local(BERLIN, 2026, 3, 29, 3, 0), local(BERLIN, 2026, 3, 30, 2, 30)],
            id="02:30 fires at 03:00 in the spring night that lacks it",
        ),
        pytest.param(
            "*/30 * * * *", BERLIN, local(BERLIN, 2026, 10, 25, 1, 59),
            [local(BERLIN, 2026, 10, 25, 2, 0) + half * 1800 for half in range(5)],
            id="every half hour keeps real time through the doubled hour",
        ),
        pytest.param(
            "*/30 * * * *", BERLIN, local(BERLIN, 2026, 3, 29, 1, 29),
            [local(BERLIN, 2026, 3, 29, 1, 30) + half * 1800 for half in range(4)],
            id="every half hour keeps real time over the missing hour",
        ),
        pytest.param(
            "30 1 * * *", ANGELES, local(ANGELES, 2026, 11, 1, 0, 0),
            [local(ANGELES, 2026, 11, 1, 1, 30), local(ANGELES, 2026, 11, 2, 1, 30)],
            id="01:30 fires once in Los Angeles in autumn",
        ),
        pytest.param(
            "30 2 * * *", ANGELES, local(ANGELES, 2026, 3, 8, 0, 0),
            [local(ANGELES, 2026, 3, 8, 3, 0), local(ANGELES, 2026, 3, 9, 2, 30)],
            id="02:30 fires at 03:00 in Los Angeles in spring",
        ),
        pytest.param(
            "45 1 * * *", HOWE, local(HOWE, 2026, 4, 5, 0, 0),
            [local(HOWE, 2026, 4, 5, 1, 45), local(HOWE, 2026, 4, 6, 1, 45)],
            id="01:45 fires once where the clock goes back by half an hour",
        ),
        pytest.param(
            "15 2 * * *", HOWE, local(HOWE, 2026, 10, 4, 0, 0),
            [local(HOWE, 2026, 10, 4, 2, 30), local(HOWE, 2026, 10, 5, 2, 15)],
            id="02:15 fires at 02:30 where the clock goes forward by half an hour",
        ),
    ],
)  # fmt: skip
def test_a_clock_change_neither_doubles_nor_loses_a_firing(
    expr: str, zone: str, after: float, firings: list[float]
) -> None:
    """A fixed time of day fires once a day; a rhythm is one of elapsed time."""
    found, at = [], after
    for _ in firings:
        at = next_after(expr, zone, at) or 0.0
        found.append(at)
    assert found == firings


HOUR = 3_600.0


def passing_over(fire: float | None, next_at: float | None) -> Turn:
    """Give a decision that leaves due instants out."""
    return Turn(fire=fire, next_at=next_at, left_out=True)


@pytest.mark.parametrize(
    ("given", "late", "decided"),
    [
        pytest.param({}, 10, Turn(fire=NOON, next_at=NOON + HOUR), id="one on time fires"),
        pytest.param({}, -1, Turn(fire=None, next_at=NOON), id="one that is not due waits"),
        pytest.param(
            {"missed_policy": "latest"}, 3 * HOUR + 600, passing_over(NOON + 3 * HOUR, NOON + 4 * HOUR),
            id="latest: the last of four missed ones fires",
        ),
        pytest.param(
            {"missed_policy": "latest"}, 3 * HOUR + 10, passing_over(NOON + 3 * HOUR, NOON + 4 * HOUR),
            id="latest: one on time is the catch-up",
        ),
        pytest.param(
            {"missed_policy": "skip"}, 3 * HOUR + 600, passing_over(None, NOON + 4 * HOUR),
            id="skip: missed ones are passed over",
        ),
        pytest.param(
            {"missed_policy": "skip"}, 3 * HOUR + 10, passing_over(NOON + 3 * HOUR, NOON + 4 * HOUR),
            id="skip: the one on time fires",
        ),
        pytest.param(
            {"missed_policy": "all"}, 3 * HOUR + 600, Turn(fire=NOON, next_at=NOON + HOUR),
            id="all: the oldest fires, the next is due at once",
        ),
        pytest.param(
            {"missed_policy": "all"}, 50 * HOUR, passing_over(NOON + 41 * HOUR, NOON + 42 * HOUR),
            id="all: no more than the latest ten",
        ),
        pytest.param(
            {"max_lag_s": 2 * HOUR}, HOUR + 10, Turn(fire=NOON, next_at=NOON + HOUR),
            id="two on time fire both",
        ),
        pytest.param(
            {"kind": "once", "expr": "2026-01-01T00:00"}, 10, Turn(fire=NOON, next_at=None),
            id="a single one fires and ends",
        ),
        pytest.param(
            {"kind": "once", "expr": "2026-01-01T00:00", "missed_policy": "skip"}, 400,
            passing_over(None, None), id="a single one that was missed is passed over by skip",
        ),
        pytest.param(
            {"tries": 2, "missed_policy": "skip"}, 3 * HOUR + 600, Turn(fire=NOON, next_at=NOON + HOUR),
            id="an occurrence that its webhook refused is tried again whatever its age",
        ),
    ],
)  # fmt: skip
def test_the_policy_decides_about_missed_instants(given: dict[str, Any], late: float, decided: Turn) -> None:
    """On time is what is found within `max_lag_s`; the rest is the policy's."""
    assert turn(a_prompt(**given), NOON + late, 10) == decided


@pytest.mark.parametrize("expr", ["* * * * *", "30 2 * * *", "0 0 1 1 *", "*/7 3 * * MON"])
def test_ten_years_of_downtime_cost_no_more_than_a_few_steps(expr: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest instants are found from now backwards, not by walking there."""
    steps, cron_after = [0], cron.cron_after

    def counted(*given: Any) -> float | None:
        steps[0] += 1
        return cron_after(*given)

    monkeypatch.setattr(cron, "cron_after", counted)
    for policy in MissedPolicy:
        turn(a_prompt(expr=expr, tz=BERLIN, missed_policy=policy), NOON + 10 * YEAR, 10)
    assert steps[0] < 3 * 250, "steps of three decisions"


@given(
    expr=st.sampled_from(["* * * * *", "*/20 * * * *", "30 2 * * *", "0 1,2,3 * * *", "15 */6 * * SUN"]),
    zone=st.sampled_from([BERLIN, ANGELES, HOWE, "UTC"]),
    start=st.integers(1_767_225_600, 1_798_761_600),
    days=st.floats(0, 4),
    limit=st.integers(1, 12),
)
def test_the_latest_due_instants_are_those_of_walking_all(
    expr: str, zone: str, start: int, days: float, limit: int
) -> None:
    """Looking back gives what a walk from the first instant gives, clock changes included."""
    first = next_after(expr, zone, start) or 0.0
    now = first + days * DAY

    walked, following = [first], next_after(expr, zone, first)
    while following is not None and following <= now:
        walked.append(following)
        following = next_after(expr, zone, following)

    assert due_instants(expr, zone, first, now, limit) == tuple(walked[-limit:])
