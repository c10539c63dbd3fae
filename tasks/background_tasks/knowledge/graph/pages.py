"""How a large graph is walked in short queries: by ranges of node ids, ties by the node they start from.

Not by uuid: FalkorDB's index answers a range of strings wrongly, with rows too many and rows too few (seen on 4.22:
`x < '30'` gives most of '3...' as well). And not by `LIMIT` over an index of what the batch changes: the entries that
a batch left behind are walked by the next, so that a million ties take ten times as long in small batches.
"""

from collections.abc import Sequence

from background_tasks.knowledge.graph.store import Graph

PAGE = 5000
IN_PAGE = "id(n) >= $low AND id(n) < $high"
"""The condition of a page over node `n`, for the parameters `low` and `high`."""
TIES_OF_PAGE = f"MATCH (n) WHERE {IN_PAGE} MATCH (n)-[r:REL]->()"
"""All ties of a page, each in one page only. Hide indexed properties from the planner in what follows (`r.tier + 0`):
it would ask the index once for each node."""

type Page = tuple[int, int]


async def node_pages(graph: Graph, size: int = PAGE) -> list[Page]:
    """Return the pages of all nodes, `size` ids each. Nodes that are made meanwhile may be in none."""
    return pages(await _last_id(graph), size)


async def tie_pages(graph: Graph, size: int = PAGE) -> list[Page]:
    """Return pages of nodes that have about `size` ties each, if ties are spread evenly."""
    ties = await count_ties(graph)
    last = await _last_id(graph)
    return pages(last, max(1, (last + 1) * size // max(1, ties)))


def pages(last: int, size: int) -> list[Page]:
    """Cut the ids 0 to `last` into ranges [low, high)."""
    return [(low, low + size) for low in range(0, last + 1, size)]


async def count_ties(graph: Graph) -> int:
    """Return how many REL there are."""
    return int((await graph.one("MATCH ()-[r:REL]->() RETURN count(r)"))[0])


async def _last_id(graph: Graph) -> int:
    """Return the largest node id; -1 for an empty graph."""
    rows: Sequence[Sequence[int | None]] = await graph.rows("MATCH (n) RETURN max(id(n))")
    return -1 if not rows or rows[0][0] is None else rows[0][0]
