"""How a tie fades: exact numbers, and laws that hold for any tie."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from background_tasks.knowledge.graph.decay import Fade, Tie
from background_tasks.knowledge.graph.model import DAY_MS, Tier

FADE = Fade()

ties = st.builds(
    Tie,
    weight=st.floats(0, 1),
    decayed_at=st.integers(0, 10_000 * DAY_MS),
    tier=st.sampled_from([int(tier) for tier in Tier]),
    uses=st.integers(0, 10_000),
    invalid_at=st.none() | st.integers(0, 10_500 * DAY_MS),
)
spans = st.integers(0, 1000 * DAY_MS)


def left_after(days: float, *, tier: int = Tier.CHANNEL, uses: int = 0, invalid_at: int | None = None) -> float:
    """What is left of a full tie."""
    tie = Tie(weight=1.0, decayed_at=0, tier=tier, uses=uses, invalid_at=invalid_at)
    return FADE.weight_at(tie, round(days * DAY_MS))


def replaced(tie: Tie, weight: float, decayed_at: int) -> Tie:
    """Return the tie after it was settled."""
    return Tie(weight=weight, decayed_at=decayed_at, tier=tie.tier, uses=tie.uses, invalid_at=tie.invalid_at)


@given(ties, spans, spans)
def test_any_split_of_the_time_gives_the_same_weight(tie: Tie, first: int, second: int) -> None:
    """decay(a) then decay(b) = decay(a + b)."""
    middle, end = tie.decayed_at + first, tie.decayed_at + first + second

    halfway = replaced(tie, FADE.weight_at(tie, middle), middle)

    assert FADE.weight_at(halfway, end) == pytest.approx(FADE.weight_at(tie, end), abs=1e-9)


@given(ties, st.integers(-1000 * DAY_MS, 1000 * DAY_MS))
def test_a_weight_never_rises(tie: Tie, span: int) -> None:
    """Whatever the clock says, back included, fading never strengthens, and it never goes below nothing."""
    assert 0 <= FADE.weight_at(tie, tie.decayed_at + span) <= tie.weight


@given(ties, st.integers(1, 1000 * DAY_MS))
def test_a_clock_set_back_changes_nothing(tie: Tie, span: int) -> None:
    """Negative elapsed time counts as none."""
    assert FADE.weight_at(tie, tie.decayed_at - span) == tie.weight


@given(ties, st.integers(0, 1000), st.integers(0, 1000))
def test_use_never_makes_a_tie_fade_faster(tie: Tie, less: int, more: int) -> None:
    """The half-life grows with uses, up to its bound."""
    few, many = sorted((less, more))
    short, long = FADE.half_life_of(tie.tier, few), FADE.half_life_of(tie.tier, many)

    assert (short is None and long is None) or (short is not None and long is not None and short <= long)


@pytest.mark.parametrize("days", [0, 0.5, 1, 7, 365])
def test_core_never_fades(days: float) -> None:
    """A core tie keeps its weight."""
    assert left_after(days, tier=Tier.CORE) == 1.0


def test_a_day_leaves_95_hundredths_of_an_unused_tie() -> None:
    """The factor is what a day leaves, to the last digit."""
    assert left_after(1) == pytest.approx(0.95, abs=1e-12)


def test_a_day_leaves_the_root_of_the_factor_of_a_guild_tie() -> None:
    """Guild ties live twice as long."""
    assert left_after(1, tier=Tier.GUILD) == pytest.approx(math.sqrt(0.95), abs=1e-12)


@pytest.mark.parametrize(
    ("weight", "days"),
    [
        pytest.param(0.1, 44.9, id="a tenth after 44.9 days"),
        pytest.param(0.05, 58.4, id="a twentieth after 58.4 days"),
        pytest.param(0.5, 13.513, id="a half after 13.513 days"),
    ],
)
def test_an_untouched_tie_fades_on_the_stated_days(weight: float, days: float) -> None:
    """The days in the documentation are the formula's."""
    exact = -math.log2(weight) * FADE.half_life_days

    assert exact == pytest.approx(days, abs=0.05)
    assert left_after(exact) == pytest.approx(weight, abs=1e-8)


def test_the_half_life_of_a_guild_tie_is_27_days() -> None:
    """27.0 days."""
    assert FADE.half_life_of(Tier.GUILD, 0) == pytest.approx(27.0, abs=0.05)


def test_the_half_life_grows_with_the_logarithm_of_uses_up_to_180_days() -> None:
    """h = min(180 d, h0 x (1 + ln(1 + uses)))."""
    assert FADE.half_life_of(Tier.CHANNEL, 9) == pytest.approx(FADE.half_life_days * (1 + math.log(10)))
    assert FADE.half_life_of(Tier.CHANNEL, 10**9) == 180.0
    assert FADE.half_life_of(Tier.GUILD, 10**9) == 360.0


def test_a_contradicted_tie_fades_four_times_as_fast() -> None:
    """Invalidated edges have a quarter of the half-life."""
    assert left_after(1, invalid_at=0) == pytest.approx(0.95**4, abs=1e-12)


def test_a_tie_contradicted_on_the_way_fades_fast_only_from_then_on() -> None:
    """Two valid days and three invalid ones."""
    assert left_after(5, invalid_at=2 * DAY_MS) == pytest.approx(0.95 ** (2 + 3 * 4), abs=1e-12)
