"""`make chaos`: walks much further through the model than `make test` does, and prints what it came to as a table.

Ends with 1 when a promise was broken or a planted fault was not found, after its story.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.bench.fire_slots import FIRE_TIMES, walk_once
from tests.model.explore import Explorer
from tests.model.plants import PLANTS
from tests.model.promises import Walked, random_walk
from tests.model.small_world import CLOSE, QUICK, SLOW, World, settled, strangers, waiting
from tests.model.walk import TIGHT, Setup

SMALL_WORLDS: dict[str, Callable[[], World]] = {
    "two faults, 3 s, settled": lambda: settled(faults=2, seconds=3),
    "two faults, 2 s, two members start": lambda: strangers(faults=2, seconds=2, setups=(QUICK, QUICK)),
    "one fault, 9 s, two settings": lambda: settled(faults=1, seconds=9, setups=(SLOW, QUICK, QUICK)),
    "one fault, 2 s, any order": lambda: replace(settled(faults=1, seconds=2), any_order=True),
    "two faults, 5 s, two members": lambda: settled(faults=2, seconds=5, setups=(QUICK, QUICK)),
    "two faults, 4 s, close deadlines": lambda: settled(faults=2, seconds=4, setups=(CLOSE, CLOSE)),
}
WALKS = {
    "three processes, 4 slots": (100, Setup()),
    "five processes, 16 slots": (20, Setup(seats=5, slots=16)),
    "tight deadlines": (50, Setup(settings=(TIGHT,))),
    "one slot, the classic leader": (50, Setup(slots=1)),
    "ten processes, 4 slots": (10, Setup(seats=10)),
}
WALK_S = 600.0
UNFENCED_WALKS = 2
PLANT_SEEDS = 60

type Row = tuple[str, str, bool]


def main() -> int:
    """Print a row per check; 1 when one of them failed."""
    logging.disable(logging.CRITICAL)
    failed = 0
    for part in (small_worlds, walks, fire_times, planted):
        began, rows = time.perf_counter(), 0
        for what, found, fine in part():
            print(f"{'ok ' if fine else 'BAD'}  {what:48} {found}", flush=True)
            failed, rows = failed + (not fine), rows + 1
        print(f"     {part.__doc__} {rows} rows in {time.perf_counter() - began:.0f} s\n", flush=True)
    return 1 if failed else 0


def small_worlds() -> Iterator[Row]:
    """Every way through small worlds."""
    for what, start in SMALL_WORLDS.items():
        found = Explorer(start()).run()
        last = f"held again within {found.holding} s, fair within {found.settling} s"
        yield f"small world: {what}", f"{found}; {last}", not found.broken and found.whole


def walks() -> Iterator[Row]:
    """Random walks."""
    for what, (seeds, setup) in WALKS.items():
        gone = [random_walk(replace(setup, seed=1000 + seed), WALK_S) for seed in range(seeds)]
        broken = next((str(walked) for walked in gone if walked.broken), "")
        slowest, overlap = max(one.settled_in for one in gone), max(one.longest_overlap for one in gone)
        figures = f"{seeds} walks, {sum(one.claims for one in gone)} claims, {_hours(gone)} h; "
        figures += f"longest overlap of work {overlap:.2f} s, fair within {slowest:.0f} s"
        yield f"walks: {what}", broken or figures, not broken


def fire_times() -> Iterator[Row]:
    """A million fire times."""
    gone: list[Walked] = []
    while sum(one.due for one in gone) < FIRE_TIMES:
        gone.append(walk_once(len(gone) + 1))
    due, doubled, lost = (sum(getattr(one, name) for one in gone) for name in ("due", "doubled", "lost"))
    refused = sum(one.refused for one in gone)
    yield "fire times: fences compared", f"{due} due, {doubled} doubled, {lost} lost, {refused} refused", True
    free = [walk_once(seed + 1, fenced=False) for seed in range(UNFENCED_WALKS)]
    doubled = sum(one.doubled for one in free)
    yield "fire times: fences ignored", f"{sum(one.due for one in free)} due, {doubled} doubled", doubled > 0


def planted() -> Iterator[Row]:
    """Faults put in on purpose."""
    for name, plant in PLANTS.items():
        starts = (
            strangers(plant, faults=0, seconds=5),
            settled(plant, faults=1, seconds=5, setups=(SLOW, QUICK)),
            waiting(plant, faults=1, seconds=5, setups=(CLOSE, CLOSE)),
            settled(plant, faults=2, seconds=4, setups=(QUICK, QUICK)),
        )
        explored = (Explorer(start, at_most=60_000).run() for start in starts)
        steps = next((len(found.story) for found in explored if found.broken), 0)
        gone = (random_walk(Setup(seed=seed, plant=plant), 120.0) for seed in range(PLANT_SEEDS))
        walk = next((number for number, walked in enumerate(gone, 1) if walked.broken), 0)
        small = f"small world: a story of {steps} steps" if steps else "small world: not found"
        large = f"walk {walk} of {PLANT_SEEDS}" if walk else f"not in {PLANT_SEEDS} walks"
        yield f"planted: {name}", f"{small}; {large}", bool(steps or walk)


def _hours(gone: list[Walked]) -> int:
    return round(len(gone) * WALK_S / 3600)


if __name__ == "__main__":
    sys.exit(main())
