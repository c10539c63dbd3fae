"""Walks through all of a small world, nearest first: what breaks is found with the shortest story that breaks it."""

import gc
from collections import deque
from dataclasses import dataclass, replace

from background_tasks.engine.roster import CONTENT_DURATIONS
from tests.model.likeness import key_of
from tests.model.small_world import TICK, World, round_of

SETTLED_WITHIN = 5 * (CONTENT_DURATIONS + 6)
"""Seconds after the last fault until every slot is held and shares are fair: five is the longest lease."""
HELD_WITHIN = 2 * 5 + 4
"""Seconds after the last fault until every slot is held by somebody."""
QUIET = 4
"""Seconds without a change that count as settled for good."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the walk came to."""

    worlds: int
    """How many different ones were seen."""
    ways: int
    """How many steps were taken between them."""
    broken: str = ""
    story: tuple[str, ...] = ()
    settling: int = 0
    """The longest time, in seconds, from a world to where all is held, fair and quiet again once faults end."""
    holding: int = 0
    whole: bool = True
    """Nothing within the bounds was left out."""

    def __str__(self) -> str:
        if not self.broken:
            return f"{self.worlds} worlds, {self.ways} ways: every promise held"
        steps = "\n".join(f"  {number:2}. {step}" for number, step in enumerate(self.story, 1))
        return f"{self.broken}, after\n{steps}"


class Explorer:
    """Breadth first over worlds; after each second of each of them faults are also let end, to see it settle."""

    def __init__(self, start: World, *, at_most: int = 10**9) -> None:
        self._start = start
        self._at_most = at_most
        self._origin: list[tuple[int, str]] = [(-1, "")]
        self._best: dict[int, int] = {}
        self._known: dict[int, tuple[int, int]] = {}
        self._ways = 0
        self._slowest = (0, 0)
        self._end: list[str] = []

    def run(self) -> Found:
        """Walk until something breaks, or nothing new is left."""
        # Worlds hold no cycles, and there are many: looking for some again and again takes a third of the time.
        gc.disable()
        try:
            return self._run()
        finally:
            gc.enable()

    def _run(self) -> Found:
        queue = deque([(0, self._start)])
        self._best[key_of(self._start)] = self._start.seconds
        while queue:
            number, world = queue.popleft()
            for what, after in world.moves():
                self._ways += 1
                if after.broken:
                    return self._found(after.broken, number, what)
                key = key_of(after)
                if self._best.get(key, -1) >= after.seconds:
                    continue
                self._best[key] = after.seconds
                self._origin.append((number, what))
                queue.append((len(self._origin) - 1, after))
                if what == TICK and (trouble := self._settle(after)):
                    return self._found(trouble, len(self._origin) - 1, *self._end[:40])
            if len(self._best) >= self._at_most:
                return replace(self._found("", number, ""), whole=False)
        return self._found("", 0, "")

    def _settle(self, world: World) -> str:
        """Let faults end; every slot must be held, and shares be fair, within a bound, and stay so."""
        world, path, quiet = world.healed(), [], 0
        if all(actor.roster.leaving for actor in world.actors):
            return ""
        self._end = ["no more faults come"]
        while (key := key_of(world)) not in self._known:
            path.append((key, world.all_held()))
            after = round_of(world, self._end)
            quiet = quiet + 1 if after.rows == world.rows and world.is_fair() and after.is_fair() else 0
            if after.broken or len(path) > SETTLED_WITHIN:
                return after.broken or f"shares are not fair and quiet {SETTLED_WITHIN} s after the last fault"
            if quiet >= QUIET:
                break
            world = after
        held, settled = self._known.get(key, (0, 1 - QUIET))
        for key, is_held in reversed(path):
            held, settled = (0 if is_held else held + 1), settled + 1
            self._known[key] = (held, max(0, settled))
        self._slowest = max(self._slowest[0], held), max(self._slowest[1], settled)
        return f"a slot is not held {held} s after the last fault" if held > HELD_WITHIN else ""

    def _found(self, broken: str, number: int, *last: str) -> Found:
        story = [*reversed(last)]
        while number > 0:
            number, what = self._origin[number]
            story.append(what)
        holding, settling = self._slowest
        return Found(
            worlds=len(self._best),
            ways=self._ways,
            broken=broken,
            story=tuple(reversed(story)),
            holding=holding,
            settling=settling,
        )
