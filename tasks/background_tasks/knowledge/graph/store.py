"""Any `kg_manager` as the tasks see it: rows out, errors of our own tree.

A `kg_manager` is anything with `async query(cypher, params)`; the answer has a `result_set`, or is itself the list of
rows. What only our own `KnowledgeGraph` can do (constraints, copies, memory) is asked for by `abilities`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from background_tasks.errors import Refused
from background_tasks.services.graph import graph_errors


class Queryable(Protocol):
    """The one thing that every `kg_manager` can do."""

    async def query(self, cypher: str, params: dict[str, Any], /) -> Any:
        """Run one query."""
        ...


class Abilities(Protocol):
    """What is no query: the commands that a server has beside them."""

    @property
    def name(self) -> str:
        """The graph's name."""
        ...

    async def memory_mib(self) -> float:
        """What the graph takes."""
        ...

    async def free_mib(self) -> float:
        """What the server may still take."""
        ...

    async def copy_to(self, name: str) -> None:
        """Copy the graph."""
        ...

    async def graphs(self) -> list[str]:
        """Names of all graphs."""
        ...

    async def drop(self, name: str) -> bool:
        """Delete a graph."""
        ...

    async def constrain(self, kind: Any, label: str, prop: str, *, unique: bool = True) -> None:
        """Create or drop a unique constraint."""
        ...


_ABILITIES = ("name", "memory_mib", "free_mib", "copy_to", "graphs", "drop", "constrain")


class Graph:
    """A `kg_manager` behind one door."""

    def __init__(self, kg_manager: Queryable) -> None:
        self._kg = kg_manager

    async def rows(self, cypher: str, **params: object) -> list[list[Any]]:
        """Run one query and return its rows. Raises what `services.graph.graph_errors` names."""
        with graph_errors("query"):
            answer = await self._kg.query(cypher, params)
        return _rows(answer)

    async def one(self, cypher: str, **params: object) -> list[Any]:
        """Run a query that has exactly one row, as an aggregate has."""
        rows = await self.rows(cypher, **params)
        if len(rows) != 1:
            raise Refused(f"graph: a query that has one row gave {len(rows)}: {cypher[:120]!r}")
        return rows[0]

    @property
    def abilities(self) -> Abilities | None:
        """The server's commands, or None where the `kg_manager` can only query."""
        able = all(hasattr(self._kg, name) for name in _ABILITIES)
        return cast(Abilities, self._kg) if able else None


def _rows(answer: object) -> list[list[Any]]:
    found = getattr(answer, "result_set", answer)
    if found is None:
        return []
    if not isinstance(found, Sequence) or isinstance(found, str | bytes):
        raise Refused(f"kg_manager.query gave {type(answer).__name__}; give `result_set` or a list of rows")
    return [list(row.values()) if isinstance(row, Mapping) else list(row) for row in found]
