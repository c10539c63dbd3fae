"""The door to FalkorDB: one transaction per query, our own errors, and the schema that guards identities."""

import asyncio
import math
from typing import Any

import pytest

from background_tasks.domain.model import Fence
from background_tasks.errors import Ambiguous, BackgroundTaskError, Refused, Superseded, Unavailable
from background_tasks.knowledge.graph.cursors import Position, move, read_cursor
from background_tasks.knowledge.graph.dump import dump
from background_tasks.knowledge.graph.schema import UNIQUE, SchemaChange, ensure_schema
from background_tasks.knowledge.graph.seed import Known, Thing, entity_of, rel_of, remember
from background_tasks.knowledge.graph.store import Graph
from background_tasks.knowledge.graph.tombstones import BURY, burials, facts_of, undo
from background_tasks.local.embedded import EmbeddedServer
from background_tasks.services.graph import KnowledgeGraph, connect

pytestmark = pytest.mark.contract

KNOWN = Known(subject=Thing(name="Ada"), kind="likes", object=Thing(name="Tea"), weight=0.1 + 0.2)
PUT = "CALL { WITH c UNWIND $items AS i CREATE (:Item {uuid: i}) RETURN count(*) AS put } RETURN put"


async def put(kg: KnowledgeGraph, old: str, new: str, items: list[str], fence: Fence | None = None) -> Any:
    """Move a cursor from `old` to `new` and write items with it."""
    position = Position(key="task", value=old, run_id="run", fence=fence)
    return await move(Graph(kg), position, new, PUT, {"items": items}, now=1, zero="0")


async def items(kg: KnowledgeGraph) -> list[str]:
    """Read what was written."""
    return [uuid for (uuid,) in await Graph(kg).rows("MATCH (n:Item) RETURN n.uuid ORDER BY n.uuid")]


async def count(kg: KnowledgeGraph) -> int:
    """Count the items."""
    return int((await Graph(kg).one("MATCH (n:Item) RETURN count(n)"))[0])


async def bury(kg: KnowledgeGraph, *known: Known, old: str = "", new: str = "1") -> list[str]:
    """Bury facts; return their tombstones."""
    facts = await facts_of(Graph(kg), [rel_of(one) for one in known])
    buried = burials(facts, "prune", 1)
    params = {"burials": buried, "kind": "prune", "purge_at": 9}
    await move(Graph(kg), Position(key="t", value=old, run_id="r"), new, BURY + "RETURN buried", params, now=1)
    return [str(one["tombstone"]) for one in buried]


@pytest.mark.parametrize(
    ("cypher", "error"),
    [
        pytest.param("RETURN 1 +", Refused, id="a query that is none"),
        pytest.param("RETURN 1 / 'a'", Refused, id="a query that makes no sense"),
        pytest.param("CREATE (:Entity {uuid: 'u'}), (:Entity {uuid: 'u'})", Superseded, id="a double identity"),
    ],
)
async def test_the_servers_refusals_are_our_own_errors(
    kg: KnowledgeGraph, cypher: str, error: type[BackgroundTaskError]
) -> None:
    """No foreign exception passes the door; the class says what to do."""
    with pytest.raises(error):
        await kg.query(cypher)


async def test_a_number_that_is_none_is_refused(kg: KnowledgeGraph) -> None:
    """NaN never gets into the graph."""
    with pytest.raises(Refused):
        await kg.query("CREATE (:Item {uuid: $x})", {"x": math.nan})


async def test_a_server_that_is_not_there_is_unavailable(tmp_path: Any) -> None:
    """Nothing was sent, so nothing happened."""
    with pytest.raises(Unavailable) as raised:
        await connect(f"unix://{tmp_path}/none.sock").query("RETURN 1")

    assert not isinstance(raised.value, Ambiguous)


async def test_no_answer_in_time_is_ambiguous_and_is_not_sent_again(embedded: EmbeddedServer, prefix: str) -> None:
    """The client's retries are off: a slow write runs once."""
    hasty = connect(embedded.url, graph=prefix, call_timeout=0.05)
    with pytest.raises(Ambiguous):
        await hasty.query("UNWIND range(1, 300000) AS i CREATE (:Item {uuid: i})")

    patient = connect(embedded.url, graph=prefix)
    await patient.query("CREATE (:Barrier)")  # writes are served in order: whatever was sent is done by then
    assert await count(patient) == 300_000
    await patient.drop(prefix)
    await patient.aclose()
    await hasty.aclose()


@pytest.mark.parametrize("url", ["nonsense", "http://x", ""])
def test_a_url_that_cannot_be_read_is_refused(url: str) -> None:
    """The message says how to write one."""
    with pytest.raises(Refused, match="redis://"):
        connect(url)


async def test_building_a_client_talks_to_nobody(tmp_path: Any) -> None:
    """The client library's own front would ask the server, and hold the loop."""
    connect(f"unix://{tmp_path}/none.sock")
    connect("falkor://user:word@nowhere:1")


async def test_the_schema_is_made_once_and_works_at_once(kg: KnowledgeGraph) -> None:
    """Two processes may start together; the second call finds all in place."""
    other = kg.beside(f"{kg.name}_new")
    first = await asyncio.gather(ensure_schema(Graph(other)), ensure_schema(Graph(other)))

    rows = await Graph(other).rows("CALL db.constraints() YIELD label, status RETURN label, status")
    assert sorted(rows) == sorted([one.label, "OPERATIONAL"] for one in UNIQUE)
    assert "RANGE REL.decayed_at" in first[0].indexes + first[1].indexes
    assert await ensure_schema(Graph(other)) == SchemaChange()


async def test_embeddings_of_another_size_are_refused_at_the_start(kg: KnowledgeGraph) -> None:
    """The message holds both sizes and the remedy."""
    with pytest.raises(Refused, match=r"768 numbers, the settings say 1536: set embedding_size to 768"):
        await ensure_schema(Graph(kg), embedding_size=1536)


async def test_doubles_against_a_constraint_are_named(kg: KnowledgeGraph) -> None:
    """With the task that removes them."""
    await kg.constrain("NODE", "Epoch", "key", unique=False)
    await kg.query("CREATE (:Epoch {key: '1'}), (:Epoch {key: '1'})")

    with pytest.raises(Refused, match=r"unique Epoch\.key: run limbic_maintenance"):
        await ensure_schema(Graph(kg))


async def test_a_move_writes_its_effect_with_the_cursor(kg: KnowledgeGraph) -> None:
    """From the zero of a cursor that never was, and on."""
    position, told = await put(kg, "0", "1", ["a", "b"])
    assert (position.value, told, await read_cursor(Graph(kg), "task")) == ("1", [2], "1")

    await put(kg, "1", "2", ["c"])
    assert await items(kg) == ["a", "b", "c"]


async def test_an_empty_effect_moves_the_cursor_all_the_same(kg: KnowledgeGraph) -> None:
    """An empty list ends no row."""
    _, told = await put(kg, "0", "1", [])

    assert (told, await read_cursor(Graph(kg), "task")) == ([0], "1")


@pytest.mark.parametrize("old", ["0", "7", "9"])
async def test_a_cursor_that_stands_elsewhere_keeps_everything_out(kg: KnowledgeGraph, old: str) -> None:
    """Somebody else was first: nothing is written, not even the cursor's run."""
    await put(kg, "0", "8", [])
    before = await dump(Graph(kg), wall_times=True)

    with pytest.raises(Superseded):
        await put(kg, old, "9", ["a"])

    assert await dump(Graph(kg), wall_times=True) == before


async def test_of_many_movers_one_passes(kg: KnowledgeGraph) -> None:
    """Whatever they do at once."""
    results = await asyncio.gather(*(put(kg, "0", f"by {n}", [str(n)]) for n in range(20)), return_exceptions=True)

    assert sum(isinstance(result, Superseded) for result in results) == 19
    assert [f"by {uuid}" for uuid in await items(kg)] == [await read_cursor(Graph(kg), "task")]


@pytest.mark.parametrize(
    ("seen", "epoch", "passes"),
    [
        pytest.param(None, 1, True, id="the first of a realm"),
        pytest.param(4, 4, True, id="the same leader again"),
        pytest.param(4, 5, True, id="its successor"),
        pytest.param(4, 3, False, id="its predecessor"),
    ],
)
async def test_a_fence_is_checked_in_the_query(kg: KnowledgeGraph, seen: int | None, epoch: int, passes: bool) -> None:
    """By epoch inside the realm of one slot; the newest one is remembered."""
    if seen is not None:
        await put(kg, "0", "1", [], Fence(realm="r", slot=2, epoch=seen))
    before = await dump(Graph(kg), wall_times=True)
    old = "0" if seen is None else "1"

    try:
        await put(kg, old, "2", ["a"], Fence(realm="r", slot=2, epoch=epoch))
    except Superseded:
        assert await dump(Graph(kg), wall_times=True) == before

    realm = await Graph(kg).rows("MATCH (l:Cursor {key: 'r/2'}) RETURN l.value")
    assert (await items(kg), realm) == (["a"], [[epoch]]) if passes else ([], [[seen]])


async def test_a_fact_comes_back_with_its_vector_and_evidence(kg: KnowledgeGraph) -> None:
    """Undo restores exactly, and the tombstone is gone."""
    await remember(kg, [KNOWN], at=5)
    await kg.query("MATCH ()-[r:REL]->() SET r.embedding = vecf32([0.1, 1e-7, 3])")
    before = await dump(Graph(kg), live=True, wall_times=True)
    [tombstone] = await bury(kg, KNOWN)
    assert await facts_of(Graph(kg), [rel_of(KNOWN)]) == []

    undone = await undo(Graph(kg), tombstone)

    types = await Graph(kg).rows("MATCH ()-[r:REL]->() RETURN typeOf(r.embedding)")
    assert (undone.restored, undone.obstacles, types) == (rel_of(KNOWN), (), [["Vectorf32"]])
    assert await dump(Graph(kg), live=True, wall_times=True) == before
    with pytest.raises(Refused, match="no tombstone"):
        await undo(Graph(kg), tombstone)


async def test_an_undo_says_what_stands_in_its_way(kg: KnowledgeGraph) -> None:
    """An end that is gone, or the fact itself, told again meanwhile."""
    await remember(kg, [KNOWN], at=5)
    [tombstone] = await bury(kg, KNOWN)
    await remember(kg, [KNOWN], at=6)
    again = await undo(Graph(kg), tombstone)

    await kg.query("MATCH (n:Entity {uuid: $uuid}) DELETE n", {"uuid": entity_of(KNOWN.object, "general")})
    gone = await undo(Graph(kg), tombstone)

    assert "stands in the graph again" in again.obstacles[0]
    assert [entity_of(KNOWN.object, "general") in one for one in gone.obstacles] == [True]


async def test_remembering_twice_changes_nothing(kg: KnowledgeGraph) -> None:
    """Identities are derived, so a replay meets what is there."""
    await remember(kg, [KNOWN, KNOWN], at=5)
    before = await dump(Graph(kg), wall_times=True)

    assert await remember(kg, [KNOWN, KNOWN], at=5) == 2
    assert await dump(Graph(kg), wall_times=True) == before


async def test_a_dump_does_not_depend_on_the_order_of_writing(kg: KnowledgeGraph) -> None:
    """Nor on ids, runs or wall times; it does on what is known."""
    other = kg.beside(f"{kg.name}_other")
    more = Known(subject=Thing(name="Bob"), kind="knows", object=Thing(name="Ada"), scope="guild")
    for graph, facts, at in ((kg, [KNOWN, more], 5), (other, [more, KNOWN], 77)):
        await ensure_schema(Graph(graph))
        for known in facts:
            await remember(graph, [known], at=at, run_id=f"run {at}")

    first, second = await dump(Graph(kg)), await dump(Graph(other))
    await other.query("MATCH ()-[r:REL]->() SET r.weight = r.weight + 1e-8")

    assert (first.digest == second.digest, (await dump(Graph(other))).digest == second.digest) == (True, False)


async def test_a_copy_is_waited_for_while_another_is_made(kg: KnowledgeGraph) -> None:
    """The server has one child at a time."""
    await remember(kg, [KNOWN], at=5)
    names = [f"{kg.name}_copy{number}" for number in range(4)]

    await asyncio.gather(*(kg.copy_to(name) for name in names))

    assert set(names) <= set(await kg.graphs())
    with pytest.raises(Refused, match="already exists"):
        await kg.copy_to(names[0])


async def test_memory_is_told(kg: KnowledgeGraph) -> None:
    """Of the graph, and what the server may still take."""
    assert await kg.memory_mib() >= 0
    assert await kg.free_mib() > 100
