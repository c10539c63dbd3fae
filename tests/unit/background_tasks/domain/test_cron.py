"""Fire times of cron expressions through clock changes, against tables and a brute-force oracle."""

from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from background_tasks.domain.cron import check_cron, check_zone, cron_after, cron_latest, never_fires, smallest_gap
from background_tasks.domain.model import Cron

BERLIN, NEW_YORK, LORD_HOWE, APIA = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"
BEIRUT = "Asia/Beirut"

# expression, zone, from (local), the next fire times in UTC
TABLE = {
    "spring: 02:30 is skipped and fires once, at the change": (
        "30 2 * * *",
        BERLIN,
        "2024-03-30T12:00",
        ["03-31 01:00", "04-01 00:30", "04-02 00:30"],
    ),
    "autumn: 02:30 is doubled and fires once, the first time": (
        "30 2 * * *",
        BERLIN,
        "2024-10-26T12:00",
        ["10-27 00:30", "10-28 01:30"],
    ),
    "New York, spring": ("30 2 * * *", NEW_YORK, "2024-03-09T12:00", ["03-10 07:00", "03-11 06:30"]),
    "New York, autumn: 01:30 is the doubled one": (
        "30 1 * * *",
        NEW_YORK,
        "2024-11-02T12:00",
        ["11-03 05:30", "11-04 06:30"],
    ),
    "Lord Howe moves by half an hour: 02:15 is skipped": (
        "15 2 * * *",
        LORD_HOWE,
        "2024-10-05T12:00",
        ["10-05 15:30", "10-06 15:15"],
    ),
    "Lord Howe: 02:30 exists after its change": ("30 2 * * *", LORD_HOWE, "2024-10-05T12:00", ["10-05 15:30"]),
    "Lord Howe, autumn: 01:45 is doubled": (
        "45 1 * * *",
        LORD_HOWE,
        "2024-04-06T12:00",
        ["04-06 14:45", "04-07 15:15"],
    ),
    "Apia left out 30 December 2011: its noon fires as the 31st begins": (
        "0 12 * * *",
        APIA,
        "2011-12-29T00:00",
        ["12-29 22:00", "12-30 10:00", "12-30 22:00", "12-31 22:00"],
    ),
    "a list of minutes within the skipped hour fires once": (
        "0,30 2 * * *",
        BERLIN,
        "2024-03-30T12:00",
        ["03-31 01:00", "04-01 00:00", "04-01 00:30"],
    ),
    "so does a step": (
        "*/30 2 * * *",
        BERLIN,
        "2024-03-30T12:00",
        ["03-31 01:00", "04-01 00:00", "04-01 00:30"],
    ),
    "a step within the doubled hour fires in the first of the two": (
        "*/30 2 * * *",
        BERLIN,
        "2024-10-26T12:00",
        ["10-27 00:00", "10-27 00:30", "10-28 01:00"],
    ),
    "every second hour: the skipped one fires at the change": (
        "0 */2 * * *",
        BERLIN,
        "2024-03-30T23:30",
        ["03-30 23:00", "03-31 01:00", "03-31 02:00"],
    ),
    "*/30 keeps real time in spring": (
        "*/30 * * * *",
        BERLIN,
        "2024-03-31T01:00",
        ["03-31 00:30", "03-31 01:00", "03-31 01:30"],
    ),
    "*/30 keeps real time in autumn": (
        "*/30 * * * *",
        BERLIN,
        "2024-10-27T01:45",
        ["10-27 00:00", "10-27 00:30", "10-27 01:00", "10-27 01:30", "10-27 02:00"],
    ),
    "an hourly one does, too": (
        "30 * * * *",
        NEW_YORK,
        "2024-11-03T00:45",
        ["11-03 05:30", "11-03 06:30", "11-03 07:30"],
    ),
    "Beirut skips midnight": ("0 0 * * *", BEIRUT, "2024-03-30T12:00", ["03-30 22:00", "03-31 21:00"]),
    "a step in Beirut's skipped midnight hour": (
        "*/30 0 * * *",
        BEIRUT,
        "2024-03-30T12:00",
        ["03-30 22:00", "03-31 21:00"],
    ),
}


def instant(text: str, zone: str = "UTC") -> float:
    """Return the wall seconds of a local time."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def spelled(seconds: float) -> str:
    """Spell an instant as in the table."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%m-%d %H:%M")


@pytest.mark.parametrize(("expression", "zone", "start", "expected"), TABLE.values(), ids=TABLE.keys())
def test_clock_changes(expression: str, zone: str, start: str, expected: list[str]) -> None:
    """Local times that a change skips or doubles fire once; `*` in the hour field keeps the rhythm of real time."""
    cron, found = Cron(expression=expression, zone=zone), [instant(start, zone)]

    for _ in expected:
        following = cron_after(cron, found[-1])
        assert following is not None
        found.append(following)

    assert [spelled(seconds) for seconds in found[1:]] == expected


def local_clock_oracle(minutes: set[int], hours: set[int], zone: str, start: float, days: int) -> list[float]:
    """Walk over local days: each time by the first of two, a skipped one by the first instant after the gap."""
    region, found = ZoneInfo(zone), set()
    first = datetime.fromtimestamp(start, region).date()
    for day in range(days + 1):
        date = first + timedelta(days=day)
        for hour, minute in product(hours, minutes):
            aware = datetime(date.year, date.month, date.day, hour, minute, tzinfo=region)
            while datetime.fromtimestamp(aware.timestamp(), region).replace(tzinfo=None) != aware.replace(tzinfo=None):
                aware += timedelta(minutes=1)
            found.add(aware.timestamp())
    return sorted(moment for moment in found if moment > start)


def real_time_oracle(minutes: set[int], zone: str, start: float, days: int) -> list[float]:
    """Walk over real minutes and look at the clock on the wall."""
    region, first = ZoneInfo(zone), (start // 60 + 1) * 60
    return [
        first + 60 * index
        for index in range(days * 1440)
        if datetime.fromtimestamp(first + 60 * index, region).minute in minutes
    ]


zones = st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, APIA, BEIRUT, "UTC"])
minutes_sets = st.sets(st.integers(0, 59), min_size=1, max_size=4)
near_changes = st.sampled_from(
    [instant(text) for text in ("2024-03-30", "2024-10-26", "2024-03-09", "2024-11-02", "2024-10-05", "2011-12-29")]
).flatmap(lambda start: st.integers(0, 2 * 86_400).map(lambda shift: start + shift / 2))


@settings(max_examples=60, deadline=None)
@given(minutes_sets, st.sets(st.integers(0, 23), min_size=1, max_size=3), zones, near_changes)
def test_hours_that_are_named_follow_the_clock_on_the_wall(
    minutes: set[int], hours: set[int], zone: str, start: float
) -> None:
    """Both directions agree with a walk over all local times."""
    expression = f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * *"
    expected = local_clock_oracle(minutes, hours, zone, start, days=3)
    agree(Cron(expression=expression, zone=zone), expected, start)


@settings(max_examples=30, deadline=None)
@given(minutes_sets, st.sampled_from([BERLIN, NEW_YORK, BEIRUT, "UTC"]), near_changes)
def test_a_star_for_the_hour_follows_real_time(minutes: set[int], zone: str, start: float) -> None:
    """Both directions agree with a walk over all real minutes."""
    expression = f"{','.join(map(str, minutes))} * * * *"
    agree(Cron(expression=expression, zone=zone), real_time_oracle(minutes, zone, start, days=2), start)


def agree(cron: Cron, expected: list[float], start: float) -> None:
    """Compare forward and backward search with a list of all fire times after `start`."""
    seconds = start
    for moment in expected[:40]:
        following = cron_after(cron, seconds)
        assert following == moment
        for late in (0.0, 0.5):
            assert cron_latest(cron, moment + late, start) == moment
        seconds = moment
    assert cron_latest(cron, expected[0] - 0.5, start) is None


def test_fractions_of_a_second_neither_hide_nor_double_a_fire_time() -> None:
    """The next fire time is after the instant itself, not after its whole second."""
    cron = Cron(expression="* * * * *")

    assert [cron_after(cron, at) for at in (59.9, 60.0, 60.1)] == [60.0, 120.0, 120.0]


@pytest.mark.parametrize("expression", ["0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6 *", "0 0 */31 * MON#5"])
def test_a_date_that_does_not_exist_is_refused(expression: str) -> None:
    """The sentence says that it never fires or which field is bad, before anybody waits for it."""
    problem = check_cron(expression)

    assert problem is not None
    assert expression in problem


def test_a_leap_day_is_a_date() -> None:
    """29 February is found across the eight years around 2100 that have none."""
    cron = Cron(expression="0 0 29 2 *")

    assert not never_fires(cron)
    assert cron_after(cron, instant("2096-03-01")) == instant("2104-02-29")


PROBLEMS = {
    "four fields": (("0 2 * *", "UTC"), "cron '0 2 * *' has 4 fields; give five"),
    "seconds": (("0 0 2 * * *", "UTC"), "cron '0 0 2 * * *' has 6 fields; give five"),
    "nothing": (("", "UTC"), "cron '' has 0 fields; give five"),
    "February 31": (("0 0 31 2 *", "UTC"), "cron '0 0 31 2 *' never fires: no such date exists"),
    "June 31 or April 31": (("0 0 31 4,6 *", "UTC"), "cron '0 0 31 4,6 *' never fires: no such date exists"),
    "day 32": (("0 0 32 2 *", "UTC"), "cron '0 0 32 2 *' cannot be read (Bad day-of-month)"),
    "minute 61": (("61 * * * *", "UTC"), "cron '61 * * * *' cannot be read (Bad minute)"),
    "an unknown zone": (
        ("0 2 * * *", "Europe/Berlim"),
        "time zone 'Europe/Berlim' is not known; did you mean Europe/Be",
    ),
    "a path for a zone": (("0 2 * * *", "../etc/passwd"), "time zone '../etc/passwd' is not known; "),
    "a folder of zones": (("0 2 * * *", "Europe"), "time zone 'Europe' is not known; "),
    "an empty zone": (("0 2 * * *", ""), "time zone '' is not known; give an IANA name"),
}


@pytest.mark.parametrize(("given_", "begins"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_a_problem_is_told_with_its_fix(given_: tuple[str, str], begins: str) -> None:
    """What was written comes back, with what to write instead."""
    assert (check_cron(*given_) or "").startswith(begins)


@pytest.mark.parametrize("expression", ["*/5 * * * *", "0 9 * * MON-FRI", "15 14 1 * *", "0 0 L * *"])
def test_a_fit_cron_has_no_problem(expression: str) -> None:
    """None means fit."""
    assert (check_cron(expression, BERLIN), check_zone(BERLIN)) == (None, None)


@pytest.mark.parametrize(
    ("expression", "gap"),
    [("*/5 * * * *", 300), ("0 * * * *", 3600), ("0 9,17 * * *", 28_800), ("0 0 1 1 *", 365 * 86_400)],
)
def test_the_smallest_gap_of_a_cron(expression: str, gap: float) -> None:
    """The distance between its two nearest fire times."""
    assert smallest_gap(Cron(expression=expression)) == gap
