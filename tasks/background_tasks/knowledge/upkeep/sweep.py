"""One pass of the upkeep: where it stands, what it may still remove, and the one way in which a step writes.

Not here: the steps. A pass outlives its run: its mark is a cursor in the graph, moved with every write, so that a
crash resumes at its step, two runs at once are one, and a stale leader writes nothing.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import batched
from typing import TYPE_CHECKING, Any, Self

from background_tasks.knowledge.graph.cursors import Position, move
from background_tasks.knowledge.graph.store import Graph
from background_tasks.knowledge.keys import Keys

if TYPE_CHECKING:
    from redis.asyncio import Redis


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The numbers of a pass. Times are milliseconds."""

    batch: int
    check_batch: int
    cap_share: float
    cap_least: int
    tombstones: int
    vectors: int
    retention: int
    anchors_kept: int
    channel_dead: int
    tombstone_kept: int
    snapshot_room: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The value of the task's cursor."""

    started: int = 0
    """When the pass began: its idea of now."""
    step: int = 0
    """The first step that is not done; as many as there are steps when the pass is over."""
    batch: int = 0
    nodes_left: int = 0
    edges_left: int = 0
    """What the cap leaves of the live data."""
    success_at: int = 0
    """When the last pass began that left nothing undone; 0: never."""
    troubles: int = 0
    """Steps of this pass that failed or left something."""

    def __str__(self) -> str:
        return json.dumps([getattr(self, name) for name in self.__slots__])

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a cursor's value; an empty one is a pass that never was."""
        return cls(**dict(zip(cls.__slots__, json.loads(text), strict=True))) if text else cls()


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a step found and did."""

    before: int = 0
    """How many faults of its kind there were."""
    mended: int = 0
    """How many are gone."""
    nodes: int = 0
    edges: int = 0
    """Removed, faults or what hung on them."""
    buried: int = 0
    """Of the edges removed, those that left a tombstone."""
    changed: int = 0
    """Changed in place."""
    skipped: str = ""
    failed: str = ""
    extra: dict[str, object] = field(default_factory=dict)

    @property
    def after(self) -> int:
        """How many are left."""
        return max(0, self.before - self.mended)  # a uuid that is there twice is mended twice

    @property
    def is_trouble(self) -> bool:
        """Say whether the next pass has something to catch up."""
        return bool(self.failed) or self.after > 0

    def shown(self) -> dict[str, object]:
        """Return what the report says about the step."""
        said: dict[str, object] = {"before": self.before, "after": self.after}
        return said | {name: told for name in ("skipped", "failed") if (told := getattr(self, name))} | self.extra

    def add(self, other: "Tally") -> None:
        """Take in what a part of the step found and did."""
        for name in ("before", "mended", "nodes", "edges", "buried", "changed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


type Step = Callable[["Sweep"], Awaitable[Tally]]


@dataclass(slots=True, kw_only=True)
class Sweep:
    """What the steps share."""

    graph: Graph
    redis: "Redis | None"
    keys: Keys
    limits: Limits
    mark: Mark
    cursor: Position
    wall: Callable[[], int]
    dry_run: bool = False
    foreseen: set[str] = field(default_factory=set)
    """In a dry run: what earlier steps would have removed, so that later ones tell what they would find."""

    @property
    def now(self) -> int:
        """The pass's idea of now, the same before and after a crash (epoch milliseconds)."""
        return self.mark.started

    async def write(self, effect: str, params: Mapping[str, object], *, nodes: int = 0, edges: int = 0) -> list[Any]:
        """Make an effect and move the mark with it; `nodes` and `edges` come off the cap. Raises `Superseded`."""
        spent = replace(self._spent(nodes, edges), batch=self.mark.batch + 1)
        return await self._move(spent, effect, params)

    def foresee(self, uuids: Iterable[str], *, nodes: int = 0, edges: int = 0) -> None:
        """In a dry run: remember what the run would remove, and take it off the cap."""
        self.foreseen |= set(uuids)
        self.mark = self._spent(nodes, edges)

    async def settle(self, mark: Mark) -> None:
        """Move the mark without an effect."""
        await self._move(mark, "RETURN 1", {})

    def batches(self, items: Sequence[Any], *, most: int | None = None) -> Iterator[list[Any]]:
        """Cut items into batches of a query, `most` of them altogether; nothing in a dry run."""
        if not self.dry_run:
            yield from (list(batch) for batch in batched(items[:most], self.limits.batch))

    def _spent(self, nodes: int, edges: int) -> Mark:
        mark = self.mark
        return replace(mark, nodes_left=max(0, mark.nodes_left - nodes), edges_left=max(0, mark.edges_left - edges))

    async def _move(self, mark: Mark, effect: str, params: Mapping[str, object]) -> list[Any]:
        self.cursor, told = await move(self.graph, self.cursor, str(mark), effect, params, now=self.wall())
        self.mark = mark
        return told


async def remove_nodes(
    sweep: Sweep, label: str, where: str, found: Sequence[str], params: Mapping[str, object], *, most: int | None = None
) -> Tally:
    """Remove nodes by uuid, as far as `where` (over `n`, with `params`) still holds; their edges go with them.

    `most` None: within the cap of live nodes. In a dry run: tell what would go.
    """
    tally = Tally(before=len(found))
    allowed = sweep.mark.nodes_left if most is None else most
    if sweep.dry_run:
        tally.mended = min(len(found), allowed)
        sweep.foresee(found[:allowed], nodes=tally.mended if most is None else 0)
    for batch in sweep.batches(found, most=allowed):
        spent = len(batch) if most is None else 0
        told = await sweep.write(removal(label, where), {**params, "uuids": batch}, nodes=spent)
        tally.add(Tally(mended=told[0], nodes=told[0], edges=int(told[1])))
    return tally


def removal(label: str, where: str) -> str:
    """Return the effect that removes nodes of `$uuids`, and tells how many, and how many edges went with them."""
    return f"""
CALL {{
  WITH c UNWIND $uuids AS u
  MATCH (n:{label} {{uuid: u}}) WHERE {where}
  WITH n, u, indegree(n) + outdegree(n) AS ties
  DELETE n
  RETURN count(u) AS nodes, sum(ties) AS edges
}}
RETURN nodes, edges
"""
