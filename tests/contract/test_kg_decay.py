"""kg_decay on a real FalkorDB: what fades, what goes, and what no crash, rival or stale leader can change."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from background_tasks.authoring import TaskReport
from background_tasks.catalogue.kg_decay import Params, kg_decay_task
from background_tasks.domain.model import Fence
from background_tasks.errors import Unavailable
from background_tasks.knowledge.graph.decay import Fade, Tie
from background_tasks.knowledge.graph.dump import Dump, dump
from background_tasks.knowledge.graph.model import DAY_MS, Tier
from background_tasks.knowledge.graph.schema import ensure_schema
from background_tasks.knowledge.graph.seed import Known, Thing, rel_of, remember
from background_tasks.knowledge.graph.store import Graph
from background_tasks.knowledge.graph.tombstones import undo
from background_tasks.knowledge.keys import Keys
from background_tasks.services.graph import KnowledgeGraph, connect
from background_tasks.testing.crashes import Crash
from background_tasks.testing.graphs import WatchedGraph, dying_graph, small_memory
from background_tasks.testing.runs import FrozenClock, a_run

pytestmark = pytest.mark.contract

NOW_S = 1_800_000_000.0
NOW = int(NOW_S * 1000)
SMALL = {"batch": 16, "prune_batch": 3}
"""Several queries even for a small memory."""


async def decay(kg: Any, *, at: float = NOW_S, fence: Fence | None = None, **params: Any) -> TaskReport:
    """Run the task at an instant."""
    with a_run(Params.model_validate(SMALL | params), clock=FrozenClock(at), fence=fence):
        return await kg_decay_task(kg)


async def whole(kg: Any) -> Dump:
    """Dump everything, times of writing too."""
    return await dump(Graph(kg), wall_times=True)


async def edges(kg: KnowledgeGraph) -> dict[str, dict[str, Any]]:
    """Return every fact by its uuid."""
    rows = await Graph(kg).rows("MATCH ()-[r:REL]->() RETURN properties(r)")
    return {row[0]["uuid"]: dict(row[0]) for row in rows}


@pytest.fixture
def fresh(kg: KnowledgeGraph) -> Callable[[], Awaitable[KnowledgeGraph]]:
    """Give graphs with one and the same small memory."""
    made = itertools.count()

    async def another() -> KnowledgeGraph:
        graph = kg.beside(f"{kg.name}_{next(made)}")
        await ensure_schema(Graph(graph))
        await small_memory(graph, now=NOW, days=60)
        return graph

    return another


async def clean_run(kg: KnowledgeGraph, *, fence: Fence | None = None) -> tuple[int, Dump]:
    """Run once, undisturbed; return the number of queries and what is left."""
    watched = WatchedGraph(kg)
    await decay(watched, fence=fence)
    return watched.queries, await whole(kg)


def tie(edge: dict[str, Any]) -> Tie:
    """Return what decides how an edge fades."""
    return Tie(
        weight=edge["weight"],
        decayed_at=edge["decayed_at"],
        tier=edge["tier"],
        uses=edge["uses"],
        invalid_at=edge.get("invalid_at"),
    )


async def test_every_tie_is_settled_by_the_formula(kg: KnowledgeGraph) -> None:
    """The graph's weights are the pure function's, whatever the tier, uses and validity."""
    await small_memory(kg, now=NOW, days=60)
    before = await edges(kg)

    await decay(kg, prune_below=0.0)

    after = await edges(kg)
    expected = {uuid: Fade().weight_at(tie(edge), NOW) for uuid, edge in before.items()}
    assert {uuid: edge["weight"] for uuid, edge in after.items()} == pytest.approx(expected, abs=1e-12)


async def test_core_ties_stay_as_they_are(kg: KnowledgeGraph) -> None:
    """No property of a core edge moves."""
    await small_memory(kg, now=NOW, days=400)
    before = {uuid: edge for uuid, edge in (await edges(kg)).items() if edge["tier"] == Tier.CORE}

    await decay(kg)

    after = await edges(kg)
    assert {uuid: after[uuid] for uuid in before} == before


async def test_a_tie_settled_less_than_an_hour_ago_is_left_alone(kg: KnowledgeGraph) -> None:
    """Also one of the future: a clock that was set back makes nothing older."""
    recent = Known(subject=Thing(name="a"), kind="k", object=Thing(name="b"))
    future = Known(subject=Thing(name="a"), kind="k", object=Thing(name="c"))
    await remember(kg, [recent], at=NOW - 3_599_000)
    await remember(kg, [future], at=NOW + 10 * DAY_MS)
    before = await whole(kg)

    report = await decay(kg)

    assert (report.outcome, report.updated, await whole(kg)) == ("noop", 0, before)


async def test_two_nights_are_one_long_night(fresh: Callable[[], Awaitable[KnowledgeGraph]]) -> None:
    """Catching up after downtime is exact: decay(a) then decay(b) = decay(a + b)."""
    twice, once = await fresh(), await fresh()

    await decay(twice, at=NOW_S + 1 * 86_400, prune_below=0.0)
    await decay(twice, at=NOW_S + 5 * 86_400, prune_below=0.0)
    await decay(once, at=NOW_S + 5 * 86_400, prune_below=0.0)

    assert await dump(Graph(twice), live=True) == await dump(Graph(once), live=True)


async def test_weak_unused_unpinned_ties_below_guild_are_pruned(kg: KnowledgeGraph) -> None:
    """Exactly those go; each leaves a tombstone that is kept for 30 days."""
    await small_memory(kg, now=NOW, days=60)
    before = await edges(kg)
    weak = {
        uuid
        for uuid, edge in before.items()
        if Fade().weight_at(tie(edge), NOW) < 0.05 and edge["uses"] < 3 and edge["tier"] < 80 and not edge["pinned"]
    }

    report = await decay(kg)

    rows = await Graph(kg).rows("MATCH (t:Tombstone) RETURN t.kind, t.purge_at")
    assert set(before) - set(await edges(kg)) == weak
    assert rows == [["prune", NOW + 30 * DAY_MS]] * len(weak)
    assert report.deleted == len(weak) > 5


async def test_the_report_equals_the_change(kg: KnowledgeGraph) -> None:
    """Counts, tiers and histogram are those of the graph."""
    await small_memory(kg, now=NOW, days=60)
    before = await edges(kg)

    report = await decay(kg)

    after = await edges(kg)
    gone = [before[uuid]["tier"] for uuid in before.keys() - after.keys()]
    settled = sum(edge["decayed_at"] < NOW - 3_600_000 and edge["tier"] < 100 for edge in before.values())
    bins = [min(9, int(edge["weight"] * 10)) for edge in after.values()]
    assert report.updated == report.extra["decayed"] == settled
    assert report.extra["pruned"] == {tier.name.lower(): gone.count(tier) for tier in sorted(set(map(Tier, gone)))}
    assert report.extra["histogram"] == [bins.count(bin_) for bin_ in range(10)]
    assert report.extra["oldest_decayed_at"] == min(e["decayed_at"] for e in after.values() if e["tier"] < 100)


async def test_a_dry_run_tells_the_same_and_writes_nothing(fresh: Callable[[], Awaitable[KnowledgeGraph]]) -> None:
    """The report of a dry run is that of the run it stands for."""
    dry, real = await fresh(), await fresh()
    before = await whole(dry)

    told = await decay(dry, dry_run=True)
    done = await decay(real)

    assert await whole(dry) == before
    assert told.model_copy(update={"extra": told.extra | {"dry_run": False}}) == done


async def test_a_second_run_touches_nothing(kg: KnowledgeGraph) -> None:
    """Run twice = run once, within the hour and at the same instant."""
    await small_memory(kg, now=NOW, days=60)
    await decay(kg)
    before = await whole(kg)

    again = await decay(kg)
    later = await decay(kg, at=NOW_S + 1800)

    assert ((again.outcome, later.outcome), await whole(kg)) == (("noop", "noop"), before)
    assert (again.updated, again.deleted, later.updated, later.deleted) == (0, 0, 0, 0)


async def test_a_crash_at_any_query_changes_nothing_in_the_end(
    fresh: Callable[[], Awaitable[KnowledgeGraph]],
) -> None:
    """Killed before or after any of its queries and run again, the task leaves what one clean run leaves."""
    queries, expected = await clean_run(await fresh())

    for at in range(queries):
        for obeyed in (False, True):
            kg = await fresh()
            with pytest.raises(Crash):
                await decay(dying_graph(kg, at=at, obeyed=obeyed))
            await decay(kg)
            assert await whole(kg) == expected, f"query {at}, obeyed: {obeyed}"
            await kg.drop(kg.name)


@pytest.mark.parametrize("seed", range(20))
async def test_two_runs_at_once_are_one(fresh: Callable[[], Awaitable[KnowledgeGraph]], seed: int) -> None:
    """The cursor lets one of them pass at each batch; the graph is that of one run."""
    alone, shared = await fresh(), await fresh()
    await decay(alone)
    draw = random.Random(seed)

    async def one() -> TaskReport:
        for _ in range(draw.randrange(40)):
            await asyncio.sleep(0)
        return await decay(shared)

    reports = await asyncio.gather(one(), one())

    outcomes = {report.outcome for report in reports}
    assert await whole(shared) == await whole(alone)
    assert outcomes <= {"ok", "superseded", "noop"}
    assert "ok" in outcomes


async def test_a_stale_leader_writes_nothing(kg: KnowledgeGraph) -> None:
    """Once a newer epoch has acted in the realm, an older one leaves no trace, not even a cursor."""
    await small_memory(kg, now=NOW, days=60)
    await kg.query("CREATE (:Cursor {key: 'realm/3', value: 8})")
    before = await whole(kg)

    report = await decay(kg, fence=Fence(realm="realm", slot=3, epoch=7))

    assert (report.outcome, report.updated, report.deleted) == ("superseded", 0, 0)
    assert await whole(kg) == before


async def test_a_leader_that_is_replaced_half_way_writes_nothing_more(
    fresh: Callable[[], Awaitable[KnowledgeGraph]],
) -> None:
    """Whatever query it was about to send, all that follows is its successor's."""
    queries, expected = await clean_run(await fresh(), fence=Fence(realm="r", slot=0, epoch=2))

    for at in range(queries):
        kg = await fresh()

        async def successor(kg: KnowledgeGraph = kg) -> None:
            await decay(kg, fence=Fence(realm="r", slot=0, epoch=2))

        report = await decay(WatchedGraph(kg, at=at, before=successor), fence=Fence(realm="r", slot=0, epoch=1))
        assert report.outcome in {"superseded", "noop"}, at
        assert await whole(kg) == expected, at
        await kg.drop(kg.name)


async def test_a_fence_of_another_realm_is_no_obstacle(kg: KnowledgeGraph) -> None:
    """A slot table made anew starts at a low epoch and is not locked out."""
    await small_memory(kg, now=NOW, days=60)
    await kg.query("CREATE (:Cursor {key: 'old/3', value: 800})")

    report = await decay(kg, fence=Fence(realm="new", slot=3, epoch=1))

    rows = await Graph(kg).rows("MATCH (c:Cursor {key: 'new/3'}) RETURN c.value")
    assert (report.outcome, rows) == ("ok", [[1]])


async def test_a_cancel_at_any_query_ends_at_once_and_costs_nothing(
    fresh: Callable[[], Awaitable[KnowledgeGraph]],
) -> None:
    """A drained run stops where it is; the next one ends the pass."""
    queries, expected = await clean_run(await fresh())

    for at in range(queries):
        kg = await fresh()
        reached = asyncio.Event()

        async def stop_here(reached: asyncio.Event = reached) -> None:
            reached.set()
            await asyncio.Event().wait()

        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            run = group.create_task(decay(WatchedGraph(kg, at=at, before=stop_here)))
            await reached.wait()
            run.cancel()
        await decay(kg)
        assert await whole(kg) == expected, at
        await kg.drop(kg.name)


async def test_no_more_than_the_cap_goes_in_one_pass(kg: KnowledgeGraph) -> None:
    """The weakest go first; a rerun does not go on within the hour, the next pass does."""
    facts = [
        Known(subject=Thing(name="a"), kind="k", object=Thing(name=f"b{n}"), weight=(n + 1) / 1000) for n in range(45)
    ]
    await remember(kg, facts, at=NOW - DAY_MS)

    first = await decay(kg, cap_least=20)
    again = await decay(kg, cap_least=20, at=NOW_S + 600)
    left = await edges(kg)
    second = await decay(kg, cap_least=20, at=NOW_S + 86_400)

    assert set(left) == {rel_of(known) for known in facts[20:]}
    assert [(r.outcome, r.reason, r.deleted) for r in (first, again, second)] == [
        ("partial", "cap", 20),
        ("noop", "cap", 0),
        ("partial", "cap", 20),
    ]


async def test_a_pruned_tie_comes_back_exactly(fresh: Callable[[], Awaitable[KnowledgeGraph]]) -> None:
    """Undo of every prune gives what a decay without pruning gives."""
    pruned, kept = await fresh(), await fresh()
    await decay(pruned)
    await decay(kept, prune_below=0.0)

    for (tombstone,) in await Graph(pruned).rows("MATCH (t:Tombstone) RETURN t.uuid"):
        assert (await undo(Graph(pruned), tombstone)).obstacles == ()

    live = [await dump(Graph(kg), live=True, wall_times=True) for kg in (pruned, kept)]
    assert live[0] == live[1]


async def test_a_tie_that_is_used_while_it_is_pruned_stays(kg: KnowledgeGraph) -> None:
    """What changed since it was read is left alone, and is not counted."""
    weak = Known(subject=Thing(name="a"), kind="k", object=Thing(name="b"), weight=0.01)
    await remember(kg, [weak], at=NOW - DAY_MS)

    async def use() -> None:
        await kg.query("MATCH ()-[r:REL]->() SET r.weight = 0.2, r.uses = 1, r.decayed_at = $now", {"now": NOW})

    clean = await decay(counted := WatchedGraph(kg), dry_run=True)
    report = await decay(WatchedGraph(kg, at=counted.queries + 3, before=use))

    assert (clean.deleted, report.deleted, len(await edges(kg))) == (1, 0, 1)


async def test_any_graph_that_can_query_will_do(kg: KnowledgeGraph) -> None:
    """A `kg_manager` whose answers are plain lists of rows is served alike."""
    await small_memory(kg, now=NOW, days=60)

    class Plain:
        async def query(self, cypher: str, params: dict[str, Any]) -> list[list[Any]]:
            """Answer with rows."""
            return list((await kg.query(cypher, params)).result_set)

    report = await decay(Plain())

    assert (report.outcome, report.updated > 20, report.deleted > 5) == ("ok", True, True)


async def test_the_report_goes_out_on_its_topic(kg: KnowledgeGraph, redis: Redis) -> None:
    """Where the pool has a Redis, `sg:events:kg_decay` hears the report."""
    await small_memory(kg, now=NOW)

    class Offered:
        def get(self, name: str) -> object | None:
            """Give Redis only."""
            return redis if name == "redis" else None

    async with redis.pubsub() as listener:
        await listener.subscribe(Keys().events("kg_decay"))
        with a_run(Params(), clock=FrozenClock(NOW_S)) as run:
            run.services = Offered()
            report = await kg_decay_task(kg)
        async with asyncio.timeout(5):
            messages = [message async for message in _data(listener)]

    assert TaskReport.model_validate_json(messages[0]).updated == report.updated


async def _data(listener: Any) -> AsyncIterator[str]:
    async for message in listener.listen():
        if message["type"] == "message":
            yield message["data"]
            return


async def test_a_graph_that_does_not_answer_fails_the_run(tmp_path: Any) -> None:
    """A failed read is never "nothing due"."""
    nowhere = connect(f"unix://{tmp_path}/none.sock")

    with pytest.raises(Unavailable):
        await decay(nowhere)
