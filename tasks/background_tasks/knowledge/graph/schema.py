"""Indexes and constraints of the memory's graph: made where they are missing, and waited for.

A unique constraint needs its index first and starts PENDING; until it is OPERATIONAL it guards nothing. Commands for
constraints are no queries: with a `kg_manager` that can only query, missing constraints are named, not made.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from background_tasks.errors import Refused, Unavailable
from background_tasks.knowledge.graph.model import EMBEDDING_SIZE, EMBEDDING_SIZES
from background_tasks.knowledge.graph.store import Abilities, Graph

SCHEMA_VERSION = 1
WAIT_S = 60.0
"""For an index or constraint over a large graph to be built."""
POLL_S = 0.02

type Kind = Literal["NODE", "RELATIONSHIP"]


@dataclass(frozen=True, slots=True)
class On:
    """A property of a label, or of a relationship type."""

    label: str
    prop: str
    kind: Kind = "NODE"

    def __str__(self) -> str:
        return f"{self.label}.{self.prop}"


def _many(label: str, *props: str, kind: Kind = "NODE") -> tuple[On, ...]:
    return tuple(On(label, prop, kind) for prop in props)


RANGE = (
    *_many("Entity", "uuid", "norm", "scope", "tier", "last_seen_at", "dirty"),
    # tier: so that core ties, whose decayed_at stands still, are not walked again by every batch of the decay
    *_many("REL", "uuid", "decayed_at", "expired_at", "tier", kind="RELATIONSHIP"),
    *_many("Episode", "uuid", "digest", "scope"),
    *_many("Anchor", "uuid", "scope", "at"),
    *_many("Topic", "uuid"),
    *_many("Epoch", "uuid", "key", "scope"),
    *_many("Tombstone", "uuid", "purge_at", "episodes"),
    *_many("Cursor", "key"),
    *_many("LogChunk", "digest"),
)
UNIQUE = (
    On("Entity", "uuid"),
    On("REL", "uuid", "RELATIONSHIP"),
    On("Episode", "digest"),
    On("Epoch", "key"),
    On("Cursor", "key"),
    On("LogChunk", "digest"),
)
VECTOR = tuple(On(label, "embedding") for label in ("Entity", "Topic", "Epoch", "LogChunk"))
"""Not REL: every change of an edge would put its vector into the index again (0.7 ms an edge with 2,000, more with
more: a decay of 1,000,000 would take hours). Facts are compared within one pair, where no index helps."""
FULL_TEXT = (On("Entity", "name"), On("Entity", "summary"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaChange:
    """What was missing, and what still is."""

    indexes: tuple[str, ...] = ()
    """Made now."""
    constraints: tuple[str, ...] = ()
    """Made, or made again, now."""
    missing: tuple[str, ...] = ()
    """Constraints that this `kg_manager` cannot make."""


async def ensure_schema(
    graph: Graph, *, embedding_size: int | None = None, embed_model: str = "", dry_run: bool = False
) -> SchemaChange:
    """Make what is missing, wait until all of it works, and check Meta. Safe to call at every start and twice at once.

    `embedding_size` None: the graph's own, 768 for a new one. Raises `Refused` where the graph holds vectors of
    another size, or where doubles stand against a constraint; `Unavailable` when the server is not done in time.
    """
    size = await _checked_meta(graph, embedding_size, embed_model, dry_run)
    indexes = await _missing_indexes(graph, size)
    constraints = await _constraints(graph)
    wrong = tuple(one for one in UNIQUE if constraints.get(_key(one)) not in {"OPERATIONAL", *_GROWING})
    able = graph.abilities
    change = SchemaChange(
        indexes=tuple(sorted(indexes)),
        constraints=tuple(map(str, wrong)) if able else (),
        missing=() if able else tuple(map(str, wrong)),
    )
    if dry_run:
        return change
    for cypher in indexes.values():
        await _create(graph, cypher)
    await _until(graph, _growing_indexes)
    if able is not None:
        for one in wrong:
            await _constrain(able, one, failed=constraints.get(_key(one)) == "FAILED")
        await _until(graph, _growing_constraints)
        await _refuse_doubles(graph)
    return change


async def embedding_size_of(graph: Graph) -> int:
    """Return how long the graph's vectors are; the default for a graph without Meta."""
    rows = await graph.rows("MATCH (m:Meta {key: 'graph'}) RETURN m.embedding_size")
    return EMBEDDING_SIZE if not rows or rows[0][0] is None else int(rows[0][0])


_GROWING = ("PENDING", "UNDER CONSTRUCTION")
_META = """
MERGE (m:Meta {key: 'graph'})
  ON CREATE SET m.schema_version = $version, m.embedding_size = $size, m.embed_model = $model
RETURN m.schema_version, m.embedding_size
"""


async def _checked_meta(graph: Graph, size: int | None, model: str, dry_run: bool) -> int:
    wanted = size or await embedding_size_of(graph)
    if wanted not in EMBEDDING_SIZES:
        raise Refused(f"embedding_size is {wanted}; the graph takes {' or '.join(map(str, EMBEDDING_SIZES))}")
    if dry_run:
        return wanted
    version, stored = await graph.one(_META, version=SCHEMA_VERSION, size=wanted, model=model)
    if stored != wanted:
        raise Refused(
            f"the graph holds embeddings of {stored} numbers, the settings say {wanted}: set embedding_size to "
            f"{stored}, or embed everything again into a new graph"
        )
    if version > SCHEMA_VERSION:
        raise Refused(f"the graph has schema {version}, this version knows {SCHEMA_VERSION}: upgrade background-tasks")
    return wanted


async def _missing_indexes(graph: Graph, size: int) -> dict[str, str]:
    """Return name -> the query that makes it."""
    there: set[tuple[str, str, str]] = set()
    for label, types in await graph.rows("CALL db.indexes() YIELD label, types RETURN label, types"):
        there |= {(label, prop, str(kind)) for prop, kinds in dict(types).items() for kind in kinds}
    wanted = {(one, "RANGE"): f"CREATE INDEX FOR {_pattern(one)} ON (x.{one.prop})" for one in RANGE}
    for one in VECTOR:
        options = f"{{dimension: {size}, similarityFunction: 'cosine', M: 16}}"
        wanted[one, "VECTOR"] = f"CREATE VECTOR INDEX FOR {_pattern(one)} ON (x.{one.prop}) OPTIONS {options}"
    for one in FULL_TEXT:
        wanted[one, "FULLTEXT"] = f"CREATE FULLTEXT INDEX FOR {_pattern(one)} ON (x.{one.prop})"
    return {
        f"{kind} {one}": cypher
        for (one, kind), cypher in wanted.items()
        if (one.label, one.prop, kind) not in there
    }  # fmt: skip


def _pattern(one: On) -> str:
    return f"(x:{one.label})" if one.kind == "NODE" else f"()-[x:{one.label}]-()"


async def _create(graph: Graph, cypher: str) -> None:
    try:
        await graph.rows(cypher)
    except Refused as error:
        if "already indexed" not in str(error):  # another process was first: just as good
            raise


async def _constraints(graph: Graph) -> Mapping[tuple[str, str], str]:
    rows = await graph.rows("CALL db.constraints() YIELD label, properties, status RETURN label, properties, status")
    return {(label, props[0]): str(status) for label, props, status in rows if len(props) == 1}


def _key(one: On) -> tuple[str, str]:
    return one.label, one.prop


async def _constrain(able: Abilities, one: On, *, failed: bool) -> None:
    try:
        if failed:
            await able.constrain(one.kind, one.label, one.prop, unique=False)
        await able.constrain(one.kind, one.label, one.prop)
    except Refused as error:
        if "already exists" not in str(error) and "not found" not in str(error):
            raise


async def _growing_indexes(graph: Graph) -> list[str]:
    rows = await graph.rows("CALL db.indexes() YIELD label, status RETURN label, status")
    return [str(label) for label, status in rows if status != "OPERATIONAL"]


async def _growing_constraints(graph: Graph) -> list[str]:
    return [f"{label}.{prop}" for (label, prop), status in (await _constraints(graph)).items() if status in _GROWING]


async def _until(graph: Graph, growing: Callable[[Graph], Awaitable[list[str]]]) -> None:
    left: list[str] = []
    try:
        async with asyncio.timeout(WAIT_S):
            while left := await growing(graph):  # noqa: ASYNC110  # the server has no event to wait for
                await asyncio.sleep(POLL_S)
    except TimeoutError as error:
        raise Unavailable(f"graph: still being built after {WAIT_S:.0f} s: {', '.join(left)}; try again") from error


async def _refuse_doubles(graph: Graph) -> None:
    found = await _constraints(graph)
    failed = [str(one) for one in UNIQUE if found.get(_key(one)) == "FAILED"]
    if failed:
        raise Refused(f"doubles stand against unique {', '.join(failed)}: run limbic_maintenance, which removes them")
