"""A checker is worth what it finds: faults put in on purpose are found, each with a short story that shows it."""

import pytest

from tests.model.explore import Explorer
from tests.model.faults import Fault, shrink
from tests.model.plants import PLANTS
from tests.model.promises import random_walk, shortest
from tests.model.small_world import CLOSE, QUICK, SLOW, World, settled, strangers, waiting
from tests.model.walk import Setup

MIXED, QUICK_PAIR, CLOSE_PAIR, THREE = (SLOW, QUICK), (QUICK, QUICK), (CLOSE, CLOSE), (QUICK, QUICK, QUICK)
BOTH = "both believe that slot"
WORKS = "still works for slot"


@pytest.mark.parametrize(
    ("name", "start", "setups", "faults", "complaint"),
    [
        pytest.param("other clock", strangers, THREE, 0, BOTH, id="the holder's clock is believed"),
        pytest.param("own config", settled, MIXED, 1, BOTH, id="our configured duration counts, not the recorded one"),
        pytest.param("release before stop", strangers, THREE, 0, WORKS, id="a slot is released before its work ends"),
        pytest.param("stamp after reply", waiting, CLOSE_PAIR, 1, "slot", id="a renewal counts from its answer"),
        pytest.param("claim without waiting", strangers, THREE, 0, BOTH, id="a holder is not waited out"),
        pytest.param("epoch not raised", strangers, THREE, 0, "claimed twice at epoch", id="the epoch stays"),
        pytest.param("stand-down ignored", settled, THREE, 1, BOTH, id="an overdue holder does not stand down"),
        pytest.param("gap mended", settled, THREE, 1, BOTH, id="an answer that is too late covers the gap"),
        pytest.param("table believed", strangers, THREE, 0, "claimed twice", id="a row is believed without a claim"),
        pytest.param("leases before table", settled, QUICK_PAIR, 2, BOTH, id="leases are read before the table"),
        pytest.param("gives back to nobody", strangers, THREE, 0, "not fair and quiet", id="slots never come to rest"),
        pytest.param("never takes over", settled, THREE, 1, "not", id="a dead holder is respected for ever"),
    ],
)
def test_the_small_world_finds_a_planted_fault(
    name: str, start: type, setups: tuple[object, ...], faults: int, complaint: str
) -> None:
    """It is found, and told with the fewest steps that lead to it; there the decisions as shipped break nothing."""
    world: World = start(PLANTS[name], faults=faults, seconds=6 - faults, setups=setups)
    found = Explorer(world, at_most=200_000).run()
    shipped = Explorer(start(faults=faults, seconds=6 - faults, setups=setups), at_most=found.worlds).run()
    assert complaint in found.broken
    assert not shipped.broken, str(shipped)
    assert 3 <= len(found.story) <= 50
    assert str(found).startswith(found.broken)


@pytest.mark.parametrize(
    ("name", "faults"),
    [
        pytest.param("other clock", 0, id="the holder's clock is believed"),
        pytest.param("own config", 1, id="our configured duration counts, not the recorded one"),
        pytest.param("release before stop", 2, id="a slot is released before its work ends"),
        pytest.param("claim without waiting", 0, id="a holder is not waited out"),
        pytest.param("epoch not raised", 1, id="the epoch stays"),
        pytest.param("stand-down ignored", 1, id="an overdue holder does not stand down"),
        pytest.param("table believed", 1, id="a row is believed without a claim"),
        pytest.param("never takes over", 1, id="a dead holder is respected for ever"),
    ],
)
def test_a_random_walk_finds_a_planted_fault(name: str, faults: int) -> None:
    """It is found in the whole machinery as well, and what is left of the faults is what it takes."""
    walks = (random_walk(Setup(seed=seed, plant=PLANTS[name]), until=120) for seed in range(60))
    walked = next(walked for walked in walks if walked.broken)
    least = shortest(walked, until=120)
    assert least.broken
    assert len(least.faults) <= faults + 1, str(least)


def test_what_is_not_needed_is_left_out() -> None:
    """Shrinking keeps exactly what a failure takes."""
    faults = [Fault(float(at), "kill") for at in range(40)]
    least = shrink(faults, lambda some: {7.0, 31.0} <= {fault.at for fault in some})
    assert least == [faults[7], faults[31]]
