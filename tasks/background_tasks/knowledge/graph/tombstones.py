"""Facts that are taken out of the graph leave a Tombstone with all that they were, and can come back from it.

Not here: who decides what goes (the tasks), and merges of entities. A tombstone is purged by `limbic_maintenance`
when its `purge_at` has passed. Floats come over the wire with 15 digits, so a restored weight is equal within 1e-15.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from background_tasks.errors import Refused, Superseded
from background_tasks.knowledge.graph.model import tombstone_uuid
from background_tasks.knowledge.graph.store import Graph

EMBEDDING = "embedding"
"""The one property that is a vector, and must be written through `vecf32()`."""

# Ends without a label: with one, the planner walks all its nodes for each edge that the index gives.
_READ = """
UNWIND $uuids AS u
MATCH ()-[r:REL {uuid: u}]->()
RETURN id(r), startNode(r).uuid, endNode(r).uuid, typeOf(r.embedding), properties(r)
"""

# An effect for `cursors.move` that gives the uuids it buried. An edge that changed since it was read (used, settled,
# pinned, merged) is left alone.
BURY = """
CALL {
  WITH c UNWIND $burials AS b
  MATCH ()-[r:REL {uuid: b.uuid}]->()
  WHERE id(r) = b.id AND startNode(r).uuid = b.source AND endNode(r).uuid = b.target
    AND coalesce(r.version, 0) = b.version AND coalesce(r.uses, 0) = b.uses
    AND coalesce(r.decayed_at, 0) = b.decayed_at AND coalesce(r.pinned, false) = b.pinned
  MERGE (t:Tombstone {uuid: b.tombstone})
  SET t.kind = $kind, t.payload = b.payload, t.scope = b.scope, t.episodes = b.episodes,
      t.at = $now, t.purge_at = $purge_at, t.run_id = $run_id
  WITH r, b DELETE r
  RETURN collect(b.uuid) AS buried
}
"""

_OBSTACLES = """
OPTIONAL MATCH (a:Entity {uuid: $source})
OPTIONAL MATCH (b:Entity {uuid: $target})
OPTIONAL MATCH ()-[r:REL {uuid: $uuid}]->()
RETURN a IS NULL, b IS NULL, count(r) > 0
"""

_RESTORE = """
MATCH (t:Tombstone {uuid: $tombstone}), (a:Entity {uuid: $source}), (b:Entity {uuid: $target})
OPTIONAL MATCH ()-[x:REL {uuid: $uuid}]->()
WITH t, a, b, count(x) AS there
WITH t, a, b, there WHERE there = 0
CREATE (a)-[r:REL]->(b)
SET r = $properties
"""
_RESTORE_VECTOR = "SET r.embedding = vecf32($embedding)\n"
_UNBURY = "DELETE t RETURN count(r)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A REL as it stands in the graph."""

    id: int
    uuid: str
    source: str
    target: str
    properties: Mapping[str, Any]
    embedding: Sequence[float] | None = field(default=None, repr=False)
    """None where it has none; a plain list that is no vector stays among the properties."""


async def facts_of(graph: Graph, uuids: Sequence[str]) -> list[Fact]:
    """Read facts whole; one that is gone meanwhile is absent from the answer."""
    return [_fact(row) for row in await graph.rows(_READ, uuids=list(uuids))]


def burials(facts: Sequence[Fact], kind: str, at: int) -> list[dict[str, object]]:
    """Return the parameter of `BURY`: each fact with its payload, and what shows that it is still the same."""
    return [
        {
            "id": fact.id,
            "uuid": fact.uuid,
            "source": fact.source,
            "target": fact.target,
            "version": fact.properties.get("version", 0),
            "uses": fact.properties.get("uses", 0),
            "decayed_at": fact.properties.get("decayed_at", 0),
            "pinned": bool(fact.properties.get("pinned", False)),
            "scope": fact.properties.get("scope", ""),
            "episodes": list(fact.properties.get("episodes") or ()),
            "tombstone": tombstone_uuid(kind, f"{fact.uuid}/{fact.id}", at),
            "payload": _payload(fact),
        }
        for fact in facts
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """What an undo did, or what stands in its way."""

    restored: str | None = None
    """The uuid of the fact that is back."""
    obstacles: tuple[str, ...] = ()


async def undo(graph: Graph, tombstone: str) -> Undone:
    """Bring a buried fact back exactly as it was and drop its tombstone, if nothing stands in its place.

    Raises `Refused` for a tombstone that is not there or not of a fact, `Superseded` when somebody was faster.
    """
    rows = await graph.rows("MATCH (t:Tombstone {uuid: $uuid}) RETURN t.payload", uuid=tombstone)
    if not rows:
        raise Refused(f"no tombstone {tombstone!r}: it was purged or undone; look for others by kind and scope")
    fact = _parsed(tombstone, rows[0][0])
    where = {"source": fact.source, "target": fact.target, "uuid": fact.uuid}
    obstacles = _told(fact, *await graph.one(_OBSTACLES, **where))
    if obstacles:
        return Undone(obstacles=obstacles)
    vector = {} if fact.embedding is None else {"embedding": list(fact.embedding)}
    cypher = _RESTORE + (_RESTORE_VECTOR if vector else "") + _UNBURY
    restored = await graph.rows(cypher, **where, **vector, tombstone=tombstone, properties=dict(fact.properties))
    if not restored or not restored[0][0]:
        raise Superseded(f"tombstone {tombstone!r}: somebody undid it, or wrote the fact again, at this moment")
    return Undone(restored=fact.uuid)


def _fact(row: Sequence[Any]) -> Fact:
    edge_id, source, target, embedding_type, told = row
    properties = {key: value for key, value in told.items() if value is not None}
    vector = properties.pop(EMBEDDING) if embedding_type == "Vectorf32" else None
    return Fact(
        id=edge_id,
        uuid=properties["uuid"],
        source=source,
        target=target,
        properties=properties,
        embedding=vector,
    )


def _payload(fact: Fact) -> str:
    parts = {
        "source": fact.source,
        "target": fact.target,
        "properties": dict(fact.properties),
        "embedding": None if fact.embedding is None else list(fact.embedding),
    }
    return json.dumps(parts, ensure_ascii=False, sort_keys=True)


def _parsed(tombstone: str, payload: object) -> Fact:
    try:
        parts = json.loads(str(payload))
        return Fact(
            id=-1,
            uuid=parts["properties"]["uuid"],
            source=parts["source"],
            target=parts["target"],
            properties=parts["properties"],
            embedding=parts["embedding"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"tombstone {tombstone!r} holds no fact that can be restored: {error!r}") from error


def _told(fact: Fact, no_source: bool, no_target: bool, there: bool) -> tuple[str, ...]:
    found = []
    if no_source:
        found.append(f"entity {fact.source} is gone; undo its merge or its removal first")
    if no_target:
        found.append(f"entity {fact.target} is gone; undo its merge or its removal first")
    if there:
        found.append(f"fact {fact.uuid} stands in the graph again; nothing needs to come back")
    return tuple(found)
