"""The canonical dump: what a graph says, as sorted lines that do not depend on order of writing, run or wall time.

Two graphs that say the same have the same digest. For tests and comparisons; it reads the whole graph at once.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from background_tasks.knowledge.graph.store import Graph

RUN_IDS = frozenset({"run_id"})
WALL_TIMES = frozenset({"at", "created_at", "updated_at", "last_seen_at", "decayed_at", "expired_at", "dirty_at"}) | {
    "purge_at",
    "consumed_at",
    "embed_asked_at",
}
BOOKKEEPING = frozenset({"Tombstone", "Cursor", "Meta"})
"""Labels that are not what the memory knows."""
DIGITS = 9

_NODES = "MATCH (n) RETURN labels(n), properties(n)"
_EDGES = """
MATCH (a)-[r]->(b)
RETURN labels(a), coalesce(a.uuid, a.key, a.digest), type(r),
       labels(b), coalesce(b.uuid, b.key, b.digest), properties(r)
"""


@dataclass(frozen=True, slots=True)
class Dump:
    """A graph as sorted lines of JSON."""

    lines: tuple[str, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of all lines."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()


async def dump(graph: Graph, *, live: bool = False, wall_times: bool = False) -> Dump:
    """Read the graph. `live` leaves bookkeeping out (tombstones, cursors, Meta); `wall_times` keeps times of writing.

    A payload is opened, so that the times in it are treated alike.
    """
    hidden = RUN_IDS if wall_times else RUN_IDS | WALL_TIMES
    nodes = [
        _line("node", sorted(labels), _shown(properties, hidden))
        for labels, properties in await graph.rows(_NODES)
        if not (live and BOOKKEEPING & set(labels))
    ]
    edges = [
        _line(kind, [sorted(a), a_key], [sorted(b), b_key], _shown(properties, hidden))
        for a, a_key, kind, b, b_key, properties in await graph.rows(_EDGES)
    ]
    return Dump(tuple(sorted(nodes + edges)))


def _line(*parts: object) -> str:
    return json.dumps(parts, ensure_ascii=False, sort_keys=True)


def _shown(value: Any, hidden: frozenset[str]) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS) + 0.0  # -0.0 and 0.0 are one number
    if isinstance(value, Mapping):
        return {key: _opened(key, one, hidden) for key, one in value.items() if key not in hidden and one is not None}
    if isinstance(value, list | tuple):
        return [_shown(one, hidden) for one in value]
    return value


def _opened(key: str, value: Any, hidden: frozenset[str]) -> Any:
    if key == "payload" and isinstance(value, str):
        return _shown(json.loads(value), hidden)
    return _shown(value, hidden)
