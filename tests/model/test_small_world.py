"""Every way through a small world: three members, two slots, a few seconds, a few faults at any moment.

Promised of each world on each way: one member at most believes that a slot is its own; work ends before another may
act; no epoch is claimed twice; and if faults ended there, all slots would be held again, shares be fair, and rest.
"""

from dataclasses import replace

import pytest

from tests.model.explore import Explorer
from tests.model.likeness import key_of
from tests.model.small_world import QUICK, SLOW, World, round_of, settled, strangers


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(settled(faults=1, seconds=7), id="one fault in seven seconds of a settled pool"),
        pytest.param(strangers(faults=1, seconds=5), id="one fault while three members start together"),
        pytest.param(settled(faults=1, seconds=7, setups=(SLOW, QUICK, QUICK)), id="one fault between two settings"),
        pytest.param(replace(settled(faults=1, seconds=1), any_order=True), id="one fault, turns in any order"),
        pytest.param(settled(faults=2, seconds=3, setups=(QUICK, QUICK)), id="two faults between two members"),
    ],
)
def test_every_way_through_a_small_world_keeps_all_promises(start: World) -> None:
    """The decisions as shipped: nothing breaks, and nothing within the bounds was left out."""
    found = Explorer(start).run()
    assert not found.broken, str(found)
    assert found.whole
    assert found.worlds > 1000


def test_worlds_that_differ_only_in_what_nobody_can_see_are_one() -> None:
    """A settled pool comes back to the same world every second, whatever its clocks show."""
    world = round_of(settled(faults=0, seconds=9))
    assert key_of(world) == key_of(round_of(round_of(world)))


def test_worlds_in_which_something_matters_differ() -> None:
    """A member that is stopped, a fault that is left, another holder: each makes another world."""
    world = settled(faults=1, seconds=9)
    others = [after for _, after in world.moves()]
    assert len({key_of(other) for other in others}) == len(others)
    assert key_of(world) not in map(key_of, others)
