"""limbic_maintenance on a real FalkorDB and Redis: each kind of garbage goes, and nothing else."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from background_tasks.authoring import TaskReport
from background_tasks.catalogue.limbic_maintenance import STEPS, Params, limbic_maintenance_task
from background_tasks.domain.model import Fence
from background_tasks.errors import Unavailable
from background_tasks.knowledge.graph.dump import Dump, dump
from background_tasks.knowledge.graph.model import DAY_MS, scope
from background_tasks.knowledge.graph.schema import ensure_schema
from background_tasks.knowledge.graph.seed import Known, Thing, entity_of, rel_of, remember
from background_tasks.knowledge.graph.store import Graph
from background_tasks.knowledge.keys import Keys
from background_tasks.services.graph import KnowledgeGraph, connect
from background_tasks.testing.crashes import Crash
from background_tasks.testing.graphs import WatchedGraph, dying_graph, small_memory
from background_tasks.testing.runs import FrozenClock, a_run

pytestmark = pytest.mark.contract

NOW_S = 1_800_000_000.0
NOW = int(NOW_S * 1000)
WEEK_S = 7 * 86_400
PRIVATE = scope("channel", "discord", "1:2")


@dataclass
class World:
    """A graph and a Redis that the task is let loose on."""

    kg: KnowledgeGraph
    redis: Redis
    keys: Keys

    async def maintain(
        self, kg: Any = None, *, at: float = NOW_S, fence: Fence | None = None, **params: Any
    ) -> TaskReport:
        """Run the task at an instant."""
        runner = SimpleNamespace(kg_manager=kg or self.kg, message_cache=SimpleNamespace(redis_client=self.redis))
        with a_run(Params.model_validate(params), clock=FrozenClock(at), prefix=self.keys.prefix, fence=fence):
            return await limbic_maintenance_task(runner)

    async def live(self) -> Dump:
        """Dump what the memory knows."""
        return await dump(Graph(self.kg), live=True)

    async def whole(self) -> Dump:
        """Dump all, times too."""
        return await dump(Graph(self.kg), wall_times=True)

    async def run(self, cypher: str, **params: Any) -> list[list[Any]]:
        """Run one query."""
        return await Graph(self.kg).rows(cypher, **params)


type Fresh = Callable[[], Awaitable[World]]


@pytest.fixture
def fresh(kg: KnowledgeGraph, redis: Redis, prefix: str) -> Fresh:
    """Give worlds with one and the same sound memory."""
    made = itertools.count()

    async def another() -> World:
        number = next(made)
        graph = kg.beside(f"{kg.name}_{number}")
        await ensure_schema(Graph(graph))
        await small_memory(graph, now=NOW, size=24)
        return World(graph, redis, Keys(f"{prefix}{number}:"))

    return another


@pytest.fixture
async def world(fresh: Fresh) -> World:
    """Give one world."""
    return await fresh()


async def plant_tombstone(world: World) -> None:
    """Past its date."""
    await world.run("CREATE (:Tombstone {uuid: 'old', kind: 'prune', payload: '{}', purge_at: $at})", at=NOW - 1)


async def plant_episode(world: World) -> None:
    """Past retention, and nothing stands on it."""
    await world.run(
        "MATCH (n:Entity) WITH n LIMIT 1 CREATE (:Episode {uuid: 'e', digest: 'e', scope: 'general', at: 5})"
        "-[:MENTIONS]->(n)"
    )


async def plant_topics(world: World) -> None:
    """Two that hold nothing, one above the other."""
    await world.run("CREATE (:Topic {uuid: 'above'})-[:PARENT_OF]->(:Topic {uuid: 'below'})")


async def plant_anchor(world: World) -> None:
    """Used by an epoch over a week ago."""
    await world.run("CREATE (:Anchor {uuid: 'a', consumed_by: 'epoch', consumed_at: $at})", at=NOW - 8 * DAY_MS)


async def plant_self_loop(world: World) -> None:
    """A thing tied to itself."""
    await world.run("MATCH (n:Entity) WITH n ORDER BY n.uuid LIMIT 1 CREATE (n)-[:REL {uuid: 'loop', tier: 60}]->(n)")


async def plant_double(world: World) -> None:
    """A fact twice, as it can be where the constraint is missing."""
    await world.kg.constrain("RELATIONSHIP", "REL", "uuid", unique=False)
    await world.run(
        "MATCH (a)-[r:REL]->(b) WITH a, r, b ORDER BY r.uuid LIMIT 1 CREATE (a)-[x:REL]->(b) SET x = properties(r)"
    )


async def plant_vector(world: World) -> None:
    """An embedding of another length, and a plain list."""
    await world.run("MATCH (n:Entity) WITH n ORDER BY n.uuid LIMIT 1 SET n.embedding = vecf32([1, 2, 3])")
    await world.run("MATCH (n:Entity) WITH n ORDER BY n.uuid DESC LIMIT 1 SET n.embedding = [1.0, 2.0]")


async def plant_withdrawn(world: World) -> None:
    """A channel learnt from, whose people then said no."""
    await remember(world.kg, [Known(subject=Thing(name="s"), kind="k", object=Thing(name="o"), scope=PRIVATE)], at=NOW)
    await world.run("CREATE (:Anchor {uuid: 'p', scope: $scope, at: $at})", scope=PRIVATE, at=NOW)
    await hset(world, world.keys.channel("discord", "1:2", "policy"), extract="false")


async def plant_cursor(world: World) -> None:
    """Of a channel that fell silent 91 days ago."""
    await world.run("CREATE (:Cursor {key: $key, value: '1-1', at: 5})", key='extract:["discord","9"]')
    await world.redis.zadd(world.keys.active_channels, {'["discord","9"]': NOW_S - 91 * 86_400})


async def plant_mentions(world: World) -> None:
    """A wrong count."""
    await world.run("MATCH (n:Entity) WITH n ORDER BY n.uuid LIMIT 1 SET n.mentions = 99")


async def plant_schema(world: World) -> None:
    """An index and a constraint are gone."""
    await world.run("DROP INDEX FOR (n:Episode) ON (n.scope)")
    await world.kg.constrain("NODE", "Epoch", "key", unique=False)


FAULTS = {
    "tombstones": (plant_tombstone, 1),
    "episodes": (plant_episode, 1),
    "topics": (plant_topics, 2),
    "anchors": (plant_anchor, 1),
    "self_loops": (plant_self_loop, 1),
    "doubles": (plant_double, 1),
    "consent": (plant_withdrawn, 5),  # one fact, one episode, one anchor, two entities
    "cursors": (plant_cursor, 1),
    "mentions": (plant_mentions, 1),
    "schema": (plant_schema, 2),
}


async def hset(world: World, key: str, **fields: str) -> None:
    """Write a hash."""
    await cast(Any, world.redis).hset(key, mapping=fields)


async def asked_for(world: World) -> list[dict[str, str]]:
    """Read the queue of embeddings."""
    return [fields for _, fields in await cast(Any, world.redis).xrange(world.keys.embed_queue)]


async def plant_all(world: World) -> None:
    """Every fault at once."""
    for plant, _ in FAULTS.values():
        await plant(world)
    await plant_vector(world)


@pytest.mark.parametrize("step", FAULTS)
async def test_a_planted_fault_is_gone_and_nothing_else(world: World, step: str) -> None:
    """One fault of each kind: its step finds it, and the dump of live data is that of the sound memory."""
    before, (plant, count) = await world.live(), FAULTS[step]
    await plant(world)

    report = await world.maintain()

    assert report.outcome == "ok"
    assert report.extra["steps"][step] | {"made": 0} == {"before": count, "after": 0, "made": 0}
    assert await world.live() == before


async def test_all_faults_at_once_are_gone(world: World) -> None:
    """The order of the steps lets none hide another; tombstones of what was buried stay."""
    before = await world.live()
    await plant_all(world)

    report = await world.maintain()

    kinds = await world.run("MATCH (t:Tombstone) RETURN t.kind ORDER BY t.kind")
    assert (report.outcome, report.created, kinds) == ("ok", 2, [["double"], ["self_loop"]])
    assert await world.live() == before


async def test_missing_and_wrong_vectors_are_asked_for(world: World) -> None:
    """Each node once a week; a vector that no search finds is dropped."""
    await plant_vector(world)

    report = await world.maintain()
    again = await world.maintain(at=NOW_S + 60, due_after_days=0)

    asked = sorted(fields["id"] for fields in await asked_for(world))
    everyone = [uuid for (uuid,) in await world.run("MATCH (n:Entity) RETURN n.uuid ORDER BY n.uuid")]
    assert asked == everyone
    assert [r.extra["steps"]["vectors"]["before"] for r in (report, again)] == [len(everyone), 0]
    assert await world.run("MATCH (n:Entity) WHERE n.embedding IS NOT NULL RETURN n.uuid") == []


async def test_one_wrong_vector_among_many_is_found(world: World) -> None:
    """Without reading them all: the halves that measure well are left alone."""
    vector = [1.0] * 768
    await world.run(
        "UNWIND range(1, 300) AS i CREATE (:Topic {uuid: toString(i)})-[:IN_TOPIC]->(:Entity {uuid: toString(-i)})"
    )
    await world.run("MATCH (n) WHERE n:Topic OR n:Entity SET n.embedding = vecf32($vector)", vector=vector)
    await world.run("MATCH (n:Topic {uuid: '77'}) SET n.embedding = vecf32([1.0])")

    await world.maintain()

    assert await asked_for(world) == [{"id": "77", "kind": "Topic"}]


async def test_a_pass_is_due_a_week_after_the_last_success(world: World) -> None:
    """Run twice = run once; a run that is not due writes nothing at all."""
    await plant_all(world)
    await world.maintain()
    before = await world.whole()
    await plant_mentions(world)

    early = await world.maintain(at=NOW_S + WEEK_S - 1)
    await world.run("MATCH (n:Entity) WHERE n.mentions = 99 SET n.mentions = 1")
    assert (early.outcome, early.reason, await world.whole()) == ("noop", "not_due", before)

    due = await world.maintain(at=NOW_S + WEEK_S)
    assert due.outcome == "ok"


async def test_a_crash_at_any_query_changes_nothing_in_the_end(fresh: Fresh) -> None:
    """Killed before or after any query and run again, the task leaves what one clean run leaves, in Redis too."""
    clean = await fresh()
    await plant_all(clean)
    watched = WatchedGraph(clean.kg)
    await clean.maintain(watched)
    expected = await clean.whole()

    # A slow server is asked for smaller batches, so a run may end before it comes to the last of these.
    places = [*((at, False) for at in range(watched.queries)), *((at, True) for at in watched.writes)]
    died = 0
    for at, obeyed in places:
        world = await fresh()
        await plant_all(world)
        try:
            await world.maintain(dying_graph(world.kg, at=at, obeyed=obeyed))
        except Crash:
            died += 1
        await world.maintain()
        assert await world.whole() == expected, f"query {at}, obeyed: {obeyed}"
        assert await world.redis.xlen(world.keys.embed_queue) == await clean.redis.xlen(clean.keys.embed_queue)
        await world.kg.drop(world.kg.name)
    assert died > len(places) / 2


@pytest.mark.parametrize("seed", range(20))
async def test_two_runs_at_once_are_one(fresh: Fresh, seed: int) -> None:
    """One of them is superseded, or finds nothing due."""
    alone, shared = await fresh(), await fresh()
    for world in (alone, shared):
        await plant_all(world)
    await alone.maintain()

    async def one(turns: int) -> TaskReport:
        for _ in range(turns):
            await asyncio.sleep(0)
        return await shared.maintain()

    reports = await asyncio.gather(one(seed * 7 % 60), one(seed * 13 % 60))

    assert await shared.whole() == await alone.whole()
    assert sorted(report.outcome for report in reports) in (["noop", "ok"], ["ok", "superseded"])


async def test_a_stale_leader_writes_nothing(world: World) -> None:
    """Not in the graph; and what it would erase from Redis stays too."""
    await plant_all(world)
    await world.run("CREATE (:Cursor {key: 'r/0', value: 9})")
    before = await world.whole()

    report = await world.maintain(fence=Fence(realm="r", slot=0, epoch=8))

    assert (report.outcome, await world.whole()) == ("superseded", before)
    assert await world.redis.xlen(world.keys.embed_queue) == 0


async def test_a_dry_run_tells_the_same_and_writes_nothing(fresh: Fresh) -> None:
    """What each step would find and mend is what it finds and mends."""
    dry, real = await fresh(), await fresh()
    for world in (dry, real):
        await plant_all(world)
    before = await dry.whole()

    told = await dry.maintain(dry_run=True)
    done = await real.maintain()

    def counts(report: TaskReport) -> dict[str, tuple[int, int]]:
        return {name: (step["before"], step["after"]) for name, step in report.extra["steps"].items()}

    assert (counts(told), await dry.whole()) == (counts(done), before)
    assert (told.deleted, told.updated, await dry.redis.exists(dry.keys.embed_queue)) == (0, 0, 0)


async def test_a_failing_step_does_not_stop_the_next(world: World) -> None:
    """The pass is partial, names the step and its fault, and is due again."""
    await plant_all(world)

    class Faulty(WatchedGraph):
        async def query(self, cypher: str, params: Any = None) -> Any:
            """Refuse to speak of topics."""
            if "MATCH (n:Topic)\nOPTIONAL" in cypher:
                raise Unavailable("graph: no topics today")
            return await super().query(cypher, params)

    report = await world.maintain(Faulty(world.kg))
    again = await world.maintain(at=NOW_S + 60)

    steps = report.extra["steps"]
    assert (report.outcome, report.errors) == ("partial", ["topics: graph: no topics today"])
    assert [name for name in STEPS if steps[name].get("failed")] == ["topics"]
    assert (steps["anchors"]["before"], steps["anchors"]["after"]) == (1, 0)
    assert again.extra["steps"]["topics"]["before"] == 2


async def test_no_more_than_the_cap_goes_in_one_pass(world: World) -> None:
    """Of live data; the rest goes next time."""
    await world.run("UNWIND range(1, 70) AS i CREATE (:Topic {uuid: toString(i)})")

    first = await world.maintain()
    second = await world.maintain(at=NOW_S + 60)

    assert first.extra["steps"]["topics"] == {"before": 70, "after": 20}
    assert (first.outcome, first.reason) == ("partial", "see topics")
    assert (second.outcome, second.extra["steps"]["topics"]) == ("ok", {"before": 20, "after": 0})


async def test_an_episode_on_which_a_fact_or_a_tombstone_stands_is_kept(world: World) -> None:
    """However old it is."""
    known = Known(subject=Thing(name="s"), kind="k", object=Thing(name="o"))
    await remember(world.kg, [known], at=5)
    await world.run("CREATE (:Episode {uuid: 't', digest: 't', scope: 'general', at: 5})")
    await world.run("CREATE (:Tombstone {uuid: 'x', payload: '{}', episodes: ['t'], purge_at: $at})", at=NOW + 1)
    before = await world.live()

    await world.maintain()

    assert await world.live() == before


async def test_a_channel_decides_how_long_its_episodes_are_kept(world: World) -> None:
    """`retention_days` of its policy goes before the default; a policy that cannot be read keeps all, and is named."""
    for name, days in (("short", "10"), ("long", "1000"), ("odd", "a while")):
        await hset(world, world.keys.channel("discord", name, "policy"), retention_days=days)
        for age in (20, 200):
            await world.run(
                "CREATE (:Episode {uuid: $uuid, digest: $uuid, scope: $scope, at: $at})",
                uuid=f"{name} {age}",
                scope=scope("channel", "discord", name),
                at=NOW - age * DAY_MS,
            )

    report = await world.maintain()

    kept = await world.run("MATCH (n:Episode) WHERE n.uuid CONTAINS ' ' RETURN n.uuid ORDER BY n.uuid")
    assert [uuid for (uuid,) in kept] == ["long 20", "long 200", "odd 20", "odd 200"]
    assert (report.outcome, "a while" in report.errors[0]) == ("partial", True)


async def test_withdrawn_consent_takes_the_words_and_leaves_what_others_said(world: World) -> None:
    """A fact that another channel told too stays, without the erased evidence; a shared name loses its summary."""
    both = Known(subject=Thing(name="s", summary="private words"), kind="k", object=Thing(name="o"), scope=PRIVATE)
    await remember(world.kg, [both], at=NOW)
    await world.run(
        "MATCH ()-[r:REL {uuid: $uuid}]->() SET r.episodes = r.episodes + ['elsewhere'], r.scope = 'general'",
        uuid=rel_of(both),
    )
    await world.run("CREATE (:Tombstone {uuid: 'x', scope: $scope, payload: '{}', purge_at: $at})",
                    scope=PRIVATE, at=NOW + DAY_MS)  # fmt: skip
    await hset(world, world.keys.channel("discord", "1:2", "policy"), extract="off")

    await world.maintain()

    evidence = await world.run("MATCH ()-[r:REL {uuid: $uuid}]->() RETURN r.episodes", uuid=rel_of(both))
    told = await world.run("MATCH (n:Entity {uuid: $uuid}) RETURN n.summary", uuid=entity_of(both.subject, PRIVATE))
    assert (evidence, told) == ([[["elsewhere"]]], [[""]])
    assert await world.run("MATCH (n) WHERE n.scope = $scope AND NOT n:Entity RETURN n", scope=PRIVATE) == []


async def test_withdrawn_consent_reaches_redis(world: World) -> None:
    """Both kinds withdrawn: summary, notes and cached messages go; a neighbour's stay."""
    for channel in ("1:2", "3"):
        await hset(world, world.keys.summary("discord", channel), overview="words")
        await world.redis.xadd(world.keys.channel("discord", channel, "log"), {"id": f"m{channel}"})
        await hset(world, world.keys.message("discord", f"m{channel}"), text="words")
    await hset(world, world.keys.channel("discord", "1:2", "policy"), extract="0", summarise="no")

    await world.maintain()

    left = {key async for key in world.redis.scan_iter(match=f"{world.keys.prefix}*") if "discord" in key}
    assert left == {
        world.keys.summary("discord", "3"),
        world.keys.channel("discord", "3", "log"),
        world.keys.message("discord", "m3"),
        world.keys.channel("discord", "1:2", "policy"),
    }


async def test_without_redis_its_steps_are_left_out_with_a_reason(world: World) -> None:
    """A pass over the graph alone is a success all the same."""
    await plant_mentions(world)

    with a_run(Params(), clock=FrozenClock(NOW_S)):
        report = await limbic_maintenance_task(SimpleNamespace(kg_manager=world.kg))

    skipped = {name for name, step in report.extra["steps"].items() if step.get("skipped")}
    assert (report.outcome, skipped) == ("ok", {"consent", "vectors", "cursors"})


async def test_the_copy_from_before_is_kept_until_the_next_success(world: World) -> None:
    """One copy a pass; a success drops those before it."""
    await plant_mentions(world)
    before = await world.live()
    await world.maintain()
    await world.maintain(at=NOW_S + WEEK_S)

    copies = [name for name in await world.kg.graphs() if name.startswith(f"{world.kg.name}:before-upkeep:")]
    assert copies == [f"{world.kg.name}:before-upkeep:{NOW + WEEK_S * 1000}"]
    assert (await dump(Graph(world.kg.beside(copies[0])), live=True)) != before


async def test_what_is_erased_lives_on_in_no_copy(world: World) -> None:
    """Copies that hold it are dropped before, and the pass's own is made after."""
    await remember(world.kg, [Known(subject=Thing(name="s"), kind="k", object=Thing(name="o"), scope=PRIVATE)], at=NOW)
    await world.maintain()
    await hset(world, world.keys.channel("discord", "1:2", "policy"), extract="false")

    await world.maintain(at=NOW_S + WEEK_S)

    names = [name for name in await world.kg.graphs() if name.startswith(world.kg.name)]
    told = [await dump(Graph(world.kg.beside(name))) for name in names]
    assert (len(names), any("1:2" in line for one in told for line in one.lines)) == (2, False)


async def test_a_graph_too_large_to_copy_is_cleaned_all_the_same(world: World) -> None:
    """The pass tells it and is partial: its steps bury before they delete."""
    await plant_mentions(world)

    class Full(WatchedGraph):
        async def free_mib(self) -> float:
            """Nothing is free."""
            return -1.0

    report = await world.maintain(Full(world.kg))

    assert (report.outcome, report.extra["steps"]["mentions"]["before"]) == ("partial", 1)
    assert "give the server more memory" in report.errors[0]


async def test_a_runner_without_a_graph_is_told_so(world: World) -> None:
    """A need that is absent is a reason."""
    report = await limbic_maintenance_task(SimpleNamespace(kg_manager=None))

    assert (report.outcome, report.reason) == ("noop", "kg_manager_missing")


async def test_a_graph_that_does_not_answer_fails_the_run(world: World, tmp_path: Any) -> None:
    """A failed read is never "nothing to do"."""
    with pytest.raises(Unavailable):
        await world.maintain(connect(f"unix://{tmp_path}/none.sock"))


async def test_a_cancel_at_any_query_ends_at_once(fresh: Fresh) -> None:
    """A drained run stops where it is; the next one ends the pass."""
    clean = await fresh()
    await plant_all(clean)
    watched = WatchedGraph(clean.kg)
    await clean.maintain(watched)

    for at in range(0, watched.queries, 4):
        world, reached = await fresh(), asyncio.Event()
        await plant_all(world)

        async def stop_here(reached: asyncio.Event = reached) -> None:
            reached.set()
            await asyncio.Event().wait()

        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            run = group.create_task(world.maintain(WatchedGraph(world.kg, at=at, before=stop_here)))
            arrival = group.create_task(reached.wait())
            await asyncio.wait([run, arrival], return_when=asyncio.FIRST_COMPLETED)  # it may need fewer queries
            arrival.cancel()
            run.cancel()
        await world.maintain()
        assert await world.live() == await clean.live(), at


async def test_the_report_equals_the_change(world: World) -> None:
    """Nodes and edges removed, tombstones made: counted in the graph, told in the report."""
    await plant_all(world)

    async def size() -> int:
        nodes = await world.run("MATCH (n) WHERE NOT (n:Cursor OR n:Tombstone) RETURN count(n)")
        edges = await world.run("MATCH ()-[r]->() RETURN count(r)")
        return int(nodes[0][0] + edges[0][0])

    before = await size()
    report = await world.maintain()

    purged, cursors = 1, 1
    assert report.deleted - purged - cursors == before - await size()
    assert json.loads(report.model_dump_json())["extra"]["steps"]["schema"]["after"] == 0
