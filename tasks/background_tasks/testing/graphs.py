"""A graph that dies, or is overtaken, at its k-th query; and a small memory to try tasks on.

Not here: a fake graph. The queries are what is tested, so they run on a real FalkorDB (`local.embedded`).
"""

from collections.abc import Awaitable, Callable, Mapping
from itertools import batched
from typing import Any

from background_tasks.knowledge.graph.model import DAY_MS, Tier
from background_tasks.knowledge.graph.seed import Known, Thing, remember
from background_tasks.knowledge.graph.store import Queryable
from background_tasks.testing.crashes import Crash

type AtQuery = Callable[[], Awaitable[None]]


class WatchedGraph:
    """Passes queries on to a `kg_manager` and counts them; before query `at` (from 0) it awaits `before`.

    `after` is awaited when that query was obeyed and before its answer is told. Everything else is the graph's own.
    """

    def __init__(
        self,
        kg_manager: Queryable,
        *,
        at: int | None = None,
        before: AtQuery | None = None,
        after: AtQuery | None = None,
    ) -> None:
        self.queries = 0
        self.writes: list[int] = []
        """Which of them moved a cursor."""
        self._kg = kg_manager
        self._at, self._before, self._after = at, before, after

    async def query(self, cypher: str, params: Mapping[str, Any] | None = None) -> Any:
        """Run one query."""
        number, self.queries = self.queries, self.queries + 1
        if "new" in (params or {}):
            self.writes.append(number)
        if number == self._at and self._before is not None:
            await self._before()
        answer = await self._kg.query(cypher, dict(params or {}))
        if number == self._at and self._after is not None:
            await self._after()
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kg, name)


def dying_graph(kg_manager: Queryable, *, at: int, obeyed: bool = False) -> WatchedGraph:
    """Return a graph whose k-th query ends the process: before it is sent, or `obeyed` and not answered."""
    return WatchedGraph(kg_manager, at=at, **{"after" if obeyed else "before": _crash})


async def _crash() -> None:
    raise Crash


async def small_memory(kg_manager: Queryable, *, now: int, days: int = 30, size: int = 60) -> list[Known]:
    """Write `size` facts of all tiers, weights and uses, settled up to `days` days before `now` (epoch ms).

    Some are pinned, some contradicted (before, after, or on the way), and the last is of the future.
    """
    tiers = tuple(Tier)
    facts = [_known(number, tiers[number % len(tiers)], size, now) for number in range(size)]
    for week, known in enumerate(batched(facts[:-1], max(1, size // 6))):
        await remember(kg_manager, known, at=now - days * DAY_MS * (6 - week) // 6)
    await remember(kg_manager, facts[-1:], at=now + DAY_MS)
    return facts


def _known(number: int, tier: Tier, size: int, now: int) -> Known:
    invalid = {7: now - 40 * DAY_MS, 8: now - 3 * DAY_MS, 9: now + DAY_MS}.get(number % 20)
    return Known(
        subject=Thing(name=f"person {number % 11}"),
        kind="knows",
        object=Thing(name=f"thing {number}"),
        weight=round(number % 29 / 29, 4),
        uses=number % 4,
        tier=tier,
        pinned=number % 13 == 0,
        invalid_at=invalid,
    )
