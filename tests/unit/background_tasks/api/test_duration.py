"""Durations: what they mean, how they are spelled, and that nothing is lost on the way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from background_tasks.api.duration import LONGEST_S, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("2d", 172_800.0),
        ("250ms", 0.25),
        ("0.1s", 0.1),
        ("1m1ms", 60.001),
        ("0s", 0.0),
        ("30m30m", 3600.0),
    ],
)
def test_a_duration_is_a_sum_of_parts(text: str, seconds: float) -> None:
    """Parts may be fractions, come in any order and come twice."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "s", "1w", "-1s", "1e3s", "1 h", "30S", "1.s", ".5s", "30s\n", "٣s"])
def test_anything_else_is_no_duration(text: str) -> None:
    """Nothing is guessed: not a unit, not a sign, not digits of other scripts."""
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@given(st.floats(min_value=0, max_value=LONGEST_S, allow_subnormal=False) | st.integers(0, 3650 * 86_400))
def test_every_number_of_seconds_survives_being_written(seconds: float) -> None:
    """Writing and reading give the same number, to the last bit."""
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.lists(st.tuples(st.integers(0, 9999), st.sampled_from(["ms", "s", "m", "h", "d"])), min_size=1, max_size=4))
def test_what_is_read_is_written_shortest(parts: list[tuple[int, str]]) -> None:
    """The canonical spelling of a duration means the same, and is its own canonical spelling."""
    seconds = parse_duration("".join(f"{number}{unit}" for number, unit in parts))

    assert parse_duration(format_duration(seconds)) == seconds
    assert format_duration(parse_duration(format_duration(seconds))) == format_duration(seconds)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (5400, "1h30m"), (86_400, "1d"), (0.25, "250ms"), (90.5, "1m30s500ms")]
)
def test_a_duration_is_written_with_its_largest_unit_first(seconds: float, text: str) -> None:
    """People read `1h30m`, not `5400s`."""
    assert format_duration(seconds) == text
