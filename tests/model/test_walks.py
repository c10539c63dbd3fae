"""Long random walks: the production's membership in simulated processes, each with a clock and a loop of its own.

Stops, sleeping machines, kills, drains, cut and slow wires, lost answers, a store that is away or restarts, clock
steps, work that clings; clocks that run wrong by up to 1 %. `make chaos` walks much further.
"""

from dataclasses import replace

import pytest

from tests.model.faults import script
from tests.model.promises import Walked, random_walk, walk
from tests.model.walk import TIGHT, Setup


def told(walked: Walked) -> list[str]:
    """Return what happened, without what is said of the faults themselves and without the random names of realms."""
    return [line.partition("realm")[0] for line in walked.story if "#" not in line]


@pytest.mark.parametrize(
    "setup",
    [
        *(pytest.param(Setup(seed=seed), id=f"three processes, seed {seed}") for seed in range(12)),
        *(pytest.param(Setup(seed=seed, seats=5, slots=16), id=f"five processes, seed {seed}") for seed in range(3)),
        *(pytest.param(Setup(seed=seed, settings=(TIGHT,)), id=f"tight deadlines, seed {seed}") for seed in range(4)),
    ],
)
def test_a_random_walk_keeps_all_promises(setup: Setup) -> None:
    """Five minutes of faults, then peace: at no moment two holders, every effect once, slots held and shares fair."""
    walked = random_walk(setup, until=300)
    assert not walked.broken, str(walked)
    assert (walked.doubled, walked.lost) == (0, 0)
    assert walked.claims > setup.slots


def test_without_a_fence_effects_are_doubled() -> None:
    """The same worlds whose store compares nothing: a stopped process wakes and does again what another one did."""
    setups = [Setup(seed=seed, slots=8, fire_s=0.5, run_s=0.4) for seed in range(4)]
    assert sum(random_walk(setup, until=200).doubled for setup in setups) == 0
    assert sum(random_walk(replace(setup, fenced=False), until=200).doubled for setup in setups) > 0


def test_steps_of_the_wall_clock_change_nothing() -> None:
    """A world goes the same way to the hundredth of a second when all its wall clocks are left alone."""
    faults = script(5, seats=3, until=300)
    steps = [replace(fault, kind="step") for fault in script(6, seats=3, until=300)]
    calm = walk(Setup(seed=5), [fault for fault in faults if fault.kind != "step"], until=300)
    stepped = walk(Setup(seed=5), sorted([*faults, *steps]), until=300)
    assert told(stepped) == told(calm)


def test_a_world_goes_the_same_way_twice() -> None:
    """What a seed finds it finds again."""
    assert told(random_walk(Setup(seed=3), until=200)) == told(random_walk(Setup(seed=3), until=200))
