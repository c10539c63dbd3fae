"""A million fire times under kills, stops, sleeping machines, bad wires and a restarting store, in virtual time.

The production's membership, keeper and roster in simulated processes (`tests/model`): five of them, 64 slots, each with
a fire time every second. The store of effects compares fences and nothing else. Doubled: an effect that was taken under
two fences. Lost: a fire time whose effect was passed over, or not taken when the world had settled.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace

from tests.bench.figure import Figure, at_most
from tests.model.promises import Walked, random_walk
from tests.model.walk import Setup

FIRE_TIMES = 1_000_000
WALK_S = 1800.0
SETUP = Setup(seats=5, slots=64, run_s=0.0)


def figures() -> Iterator[Figure]:
    """Walk through worlds until a million fire times were due; a broken promise ends the benchmark with its story."""
    logging.disable(logging.CRITICAL)
    seed, due, doubled, lost = 1, 0, 0, 0
    while due < FIRE_TIMES:
        walked = walk_once(seed)
        due, seed = due + walked.due, seed + 1
        doubled, lost = doubled + walked.doubled, lost + walked.lost
    yield at_most("doubled_effects", doubled, "effects", 0)
    yield at_most("lost_slots", lost, "fire times", 0)


def walk_once(seed: int, *, fenced: bool = True, until: float = WALK_S) -> Walked:
    """Go through one world of the benchmark."""
    walked = random_walk(replace(SETUP, seed=seed, fenced=fenced), until)
    if walked.broken:
        raise AssertionError(str(walked))
    return walked
