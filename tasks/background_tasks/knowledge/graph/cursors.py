"""The one way in which a task changes the graph: a query that moves its cursor by compare-and-set, checks the fence,
and makes the effect. All of it happens, or nothing.

Not here: what a cursor's value means (its task knows). No row back = somebody else was first: `Superseded`.
A query that fails or runs out of time is rolled back whole, the cursor too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from background_tasks.domain.model import Fence
from background_tasks.errors import Superseded
from background_tasks.knowledge.graph.store import Graph

# Nothing is written unless fence and value hold, not even an empty cursor: a stale leader leaves no trace at all.
# Example of a realm's row: {key: "3f2a/5", value: 12}, of a cursor: {key: "kg_decay", value: "[1700000000000,7,50]"}.
# The guards aggregate and are checked in one place, at the end: the planner pushes `OPTIONAL MATCH (x) WITH x WHERE`
# below the OPTIONAL, where the filter drops no row, and a later aggregate makes a row out of none. Either way the guard
# would guard nothing.
_READ_FENCE = """
OPTIONAL MATCH (l0:Cursor {key: $realm})
WITH coalesce(max(l0.value), 0) AS newest
OPTIONAL MATCH (c0:Cursor {key: $cursor})
WITH newest, coalesce(max(c0.value), $zero) AS stands
WITH newest, stands WHERE newest <= $fence AND stands = $old
"""
_READ_CURSOR = """
OPTIONAL MATCH (c0:Cursor {key: $cursor})
WITH coalesce(max(c0.value), $zero) AS stands
WITH stands WHERE stands = $old
"""
_HOLD_REALM = "MERGE (l:Cursor {key: $realm}) SET l.value = $fence\n"
_MOVE = """
MERGE (c:Cursor {key: $cursor})
SET c.value = $new, c.run_id = $run_id, c.at = $now
WITH c
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a task's cursor stands, as this run last saw or wrote it."""

    key: str
    value: str
    run_id: str
    fence: Fence | None = None


async def read_cursor(graph: Graph, key: str, *, zero: str = "") -> str:
    """Return the cursor's value; `zero` where it was never written."""
    rows = await graph.rows("MATCH (c:Cursor {key: $cursor}) RETURN c.value", cursor=key)
    return zero if not rows else str(rows[0][0])


async def move(
    graph: Graph,
    position: Position,
    new: str,
    effect: str,
    params: Mapping[str, object],
    *,
    now: int,
    zero: str = "",
) -> tuple[Position, list[Any]]:
    """Move the cursor to `new` and make the effect; return the new position and what the effect tells.

    `effect` is one or more `CALL { WITH c ... RETURN count(*) AS name }`, and ends with `RETURN ...` of those names.
    Raises `Superseded` when the fence is stale or the cursor is not where it was.
    """
    rows = await graph.rows(
        _guarded(position.fence) + effect,
        **params,
        **_of_fence(position.fence),
        cursor=position.key,
        old=position.value,
        new=new,
        zero=zero,
        run_id=position.run_id,
        now=now,
    )
    if not rows:
        raise Superseded(f"cursor {position.key!r} is not at {position.value!r} any more, or the fence is stale")
    return replace(position, value=new), rows[0]


def _guarded(fence: Fence | None) -> str:
    return (_READ_FENCE + _HOLD_REALM + _MOVE) if fence else (_READ_CURSOR + _MOVE)


def _of_fence(fence: Fence | None) -> dict[str, object]:
    return {} if fence is None else {"realm": realm_key(fence), "fence": fence.epoch}


def realm_key(fence: Fence) -> str:
    """Return the key of the row in which a fence's realm keeps its newest epoch: fences compare inside it only."""
    return f"{fence.realm}/{fence.slot}"
