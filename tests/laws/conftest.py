"""One world per task of the catalogue: how it is laid out, run once, and shown whole; the laws are in `test_laws`.

A world has a Redis and a graph behind one connection, so that the calls of both are counted, cut and held in one row.
Not here: what a task does; the states are those of its own contract test.
"""

import json
import runpy
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import psutil
import pytest
from falkordb.asyncio.graph import AsyncGraph  # type: ignore[import-untyped]
from redis.asyncio import Redis

from background_tasks.authoring import TaskParams, TaskReport
from background_tasks.domain.model import EMPTY
from background_tasks.knowledge.graph.dump import dump
from background_tasks.knowledge.graph.schema import ensure_schema
from background_tasks.knowledge.graph.seed import Known, Thing, remember
from background_tasks.knowledge.graph.store import Graph
from background_tasks.knowledge.keys import Keys, json_key
from background_tasks.knowledge.prompts import PromptStore
from background_tasks.local.embedded import EmbeddedServer
from background_tasks.services.graph import KnowledgeGraph
from background_tasks.services.log_sources import this_machine
from background_tasks.services.redis import connect
from background_tasks.testing import CrashingClient, FrozenClock, a_run
from background_tasks.testing.graphs import small_memory

TESTS = Path(__file__).parents[1]
GRAPH = "law"
KEYS = Keys("law:")
WALL_TIMES = frozenset({"fired_at", "updated_at", "scheduled_for"})
"""The last is in the occurrence of an envelope too, where it is no notice of the moment."""
VOLATILE = (KEYS.runs, KEYS.queue("prompts").claims, KEYS.queue("prompts").seq)
"""The reports themselves; and the tokens of claims, which rise with every try."""

type Lines = Sequence[tuple[str, str]]
"""(line, the secret in it)"""


@cache
def contract(name: str) -> SimpleNamespace:
    """Return what a task's own contract test is made of."""
    return SimpleNamespace(**runpy.run_path(str(TESTS / "contract" / f"{name}.py")))


@dataclass(frozen=True, slots=True)
class Whole:
    """All that the stores say."""

    graph: tuple[str, ...]
    copies: tuple[str, ...]
    redis: Mapping[str, Any]

    def unlike(self, other: "Whole", *, but: tuple[str, ...] = ()) -> list[str]:
        """Name what differs from another: lines of the graph, copies, keys of Redis (not those that begin with `but`).

        Not leases: what they are compared for is what was done.
        """
        hidden = (f"{KEYS.prefix}lease:", *but)
        both = sorted({*self.redis, *other.redis})
        keys = [key for key in both if self.redis.get(key) != other.redis.get(key) and not key.startswith(hidden)]
        return [
            *sorted({*self.graph} ^ {*other.graph}),
            *sorted({*self.copies} ^ {*other.copies}),
            *(f"{key}: {self.redis.get(key)} and {other.redis.get(key)}" for key in keys),
        ]

    def nodes(self, *labels: str) -> list[dict[str, Any]]:
        """Return the properties of the nodes with one of these labels."""
        rows = [json.loads(line) for line in self.graph]
        return [row[2] for row in rows if row[0] == "node" and set(row[1]) & set(labels)]

    def edges(self) -> dict[str, dict[str, Any]]:
        """Return the properties of all edges, by a name of their own."""
        rows = [json.loads(line) for line in self.graph if not line.startswith('["node"')]
        return {f"{number}{row[:3]}{row[3].get('uuid')}": row[3] for number, row in enumerate(rows)}

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return the properties of the facts, by uuid."""
        return {row["uuid"]: row for row in self.edges().values() if "fact" in row}

    def hashes(self, prefix: str) -> dict[str, Any]:
        """Return the Redis values below a prefix."""
        return {key: value for key, value in self.redis.items() if key.startswith(prefix)}


async def show(redis: Any, kg: KnowledgeGraph) -> Whole:
    """Read graph and Redis, canonically: in order, without times of writing and what `VOLATILE` names."""
    names = await kg.graphs()
    copies = tuple(name for name in names if name.startswith(f"{GRAPH}:"))
    lines = (await dump(Graph(kg), wall_times=True)).lines if GRAPH in names else ()
    keys = sorted({*await redis.keys(f"{KEYS.prefix}*")} - {*VOLATILE, *copies})
    return Whole(lines, copies, {key: await _value(redis, key) for key in keys})


async def _value(redis: Any, key: str) -> Any:
    match await redis.type(key):
        case "hash":
            return {name: value for name, value in (await redis.hgetall(key)).items() if name not in WALL_TIMES}
        case "zset" if key == KEYS.queue("prompts").done:  # by when it was filed
            return sorted(await redis.zrange(key, 0, -1))
        case "zset":
            return await redis.zrange(key, 0, -1, withscores=True)
        case "set":
            return sorted(await redis.smembers(key))
        case "stream":
            return sorted(json.dumps(_opened(fields), sort_keys=True) for _, fields in await redis.xrange(key))
    return await redis.get(key)


def _opened(fields: Mapping[str, str]) -> dict[str, Any]:
    opened = {name: json.loads(value) if value.startswith("{") else value for name, value in fields.items()}
    return {
        name: {key: one for key, one in value.items() if key not in WALL_TIMES} if isinstance(value, dict) else value
        for name, value in opened.items()
    }


class NoChat:
    """A chat model that remembers whoever comes near it."""

    def __init__(self) -> None:
        self.touched: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.touched.append(name)
        raise AssertionError(f"a chat model was asked for {name!r}")


@dataclass
class World(ABC):
    """What one task is let loose on. `redis` and `kg` are the test's own, unharmed."""

    entry: ClassVar[str]
    """As `CATALOGUE` spells it."""
    at: ClassVar[float | None] = None
    """When runs happen; None: the machine's clock."""
    lease_s: ClassVar[float] = 0.0
    """After so long what a dead run held is free."""
    lawful: ClassVar[Mapping[str, str]] = {}
    """Places (as `places` names them) that a secret may be carried to, and why."""
    has_child: ClassVar[bool] = False
    """Whether a run starts a process."""
    left_by_partial: ClassVar[Mapping[str, str]] = {}
    """Keys that may differ for ever after a partial run, and why that does no harm."""
    small: ClassVar[Mapping[str, object]] = {}
    """Params with which even a small state takes several calls."""
    hasty: ClassVar[Mapping[str, object]] = {}
    """Params with which a run waits only shortly for a store that is away."""

    url: str
    redis: Any
    kg: KnowledgeGraph
    folder: Path
    chat: NoChat = field(default_factory=NoChat)
    told: list[TaskReport] = field(default_factory=list)

    @property
    def task(self) -> Callable[..., Any]:
        """The coroutine."""
        return getattr(self._module, self.entry.partition(":")[2])  # type: ignore[no-any-return]

    @property
    def _module(self) -> Any:
        return import_module(f"background_tasks.catalogue.{self.entry.partition(':')[0]}")

    def params(self, more: Mapping[str, object] = EMPTY) -> TaskParams:
        """Make the task's params."""
        made: TaskParams = self._module.Params.model_validate({**self.small, **more})
        return made

    def services(self, client: Redis, kg: KnowledgeGraph) -> dict[str, object]:
        """Name every service that a pool can have."""
        cache = SimpleNamespace(redis_client=client)
        runner = SimpleNamespace(kg_manager=kg, message_cache=cache, openrouter=self.chat)
        return {"redis": client, "kg_manager": kg, "bot_runner": runner, "openrouter": self.chat}

    async def fresh(self) -> None:
        """Empty the stores and lay the state out anew."""
        await self.redis.flushall()
        await self.seed()

    @abstractmethod
    async def seed(self) -> None:
        """Lay out work of every sort."""

    @abstractmethod
    async def hold(self, secrets: Lines) -> None:
        """Lay out work whose data holds secrets."""

    @abstractmethod
    def change(self, before: Whole, after: Whole) -> dict[str, int]:
        """Count what changed, by the fields of the report."""

    async def run(
        self, wire: CrashingClient | None = None, *, late: float = 0.0, params: Mapping[str, object] = EMPTY
    ) -> TaskReport:
        """Run the task once, over a wire of its own or this world's; `late` seconds after the usual instant."""
        client = self.redis if wire is None else wire.client
        services = self.services(client, self.kg if wire is None else graph_over(client))
        clock = None if self.at is None else FrozenClock(self.at + late)
        with a_run(self.params(params), clock=clock, prefix=KEYS.prefix, reports=self.told) as run:
            run.services = SimpleNamespace(get={"redis": client}.get)
            asked = {name: services[name] for name in signature(self.task).parameters}
            report: TaskReport = await self.task(**asked)
        return report

    async def run_again(self) -> TaskReport:
        """Run when the leases of whoever died have ended, as the next fire time would."""
        await self.forget_leases()
        return await self.run(late=self.lease_s + 1 if self.lease_s else 0.0)

    async def forget_leases(self) -> None:
        """Let leases end that the server's clock counts."""
        if leases := await self.redis.keys(f"{KEYS.prefix}lease:*"):
            await self.redis.delete(*leases)

    async def whole(self) -> Whole:
        """Show all that is stored."""
        return await show(self.redis, self.kg)

    async def places(self) -> dict[str, str]:
        """Return all stored text, by place: kinds of nodes and edges, copies of the graph, keys of Redis, files."""
        whole, found = await self.whole(), defaultdict[str, str](str)
        for line in whole.graph:
            kind, what, *_ = json.loads(line)
            found[f"graph {what[0] if kind == 'node' else kind}"] += line
        for name in whole.copies:
            found["graph copy"] += "".join((await dump(Graph(self.kg.beside(name)))).lines)
        for key, value in {**whole.redis, KEYS.runs: await self.redis.xrange(KEYS.runs)}.items():
            found[f"redis {key}"] = json.dumps(value, ensure_ascii=False)
        return found | {f"file {path.name}": path.read_text() for path in self.folder.iterdir()}

    def wire(self, **how: Any) -> CrashingClient:
        """Open a connection that dies, counts or waits, as `CrashingClient` says."""
        return CrashingClient(connect(self.url), **({"at": None} | how))

    @contextmanager
    def source_waiting(self) -> Iterator[None]:
        """Let what the task reads from stay open at its end."""
        yield

    def children(self) -> list[psutil.Process]:
        """Return the processes that this one started and that are left."""
        return psutil.Process().children()


def graph_over(client: Redis) -> KnowledgeGraph:
    """Return the world's graph over a client: its queries are calls of that client."""
    return KnowledgeGraph(client, AsyncGraph(client, GRAPH))


class TickWorld(World):
    """Prompts of every sort are due."""

    entry = "scheduled_prompt_tick:scheduled_prompt_tick"
    at = contract("test_prompt_crashes").HALF_PAST_TWO
    lease_s = 60.0
    small: ClassVar = {"claim_limit": 3}
    lawful: ClassVar = {"redis law:stream:inbound": "the prompt itself is delivered: these are its owner's own words"}

    async def seed(self) -> None:
        """Lay out recurring, single, skipped, broken and lost prompts."""
        await contract("test_prompt_crashes").seed(self.redis, KEYS.prefix)

    async def hold(self, secrets: Lines) -> None:
        """Lay out prompts that tell secrets, in their text and where an instant belongs."""
        store, noon = PromptStore(self.redis, KEYS), contract("test_prompt_crashes").NOON
        usual: dict[str, object] = {"owner": "o", "channel": "c", "kind": "cron", "expr": "0 * * * *"}
        for number, (line, _) in enumerate(secrets):
            await store.add(usual | {"id": str(number), "text": line}, now=noon - 1)
            await self.redis.hset(KEYS.prompt(str(number)), mapping={"expr": line} if number % 3 == 0 else {"tries": 0})

    def change(self, before: Whole, after: Whole) -> dict[str, int]:
        """Envelopes are created; records of prompts are updated once for each that was fired, or once."""
        sent = len(after.redis[KEYS.inbound]) - len(before.redis.get(KEYS.inbound, ()))
        old, new = (whole.hashes(KEYS.prompt_prefix) for whole in (before, after))
        fired = [int(new[key]["fire_count"]) - int(old[key]["fire_count"]) for key in old if new[key] != old[key]]
        return {"created": sent, "updated": sum(max(1, times) for times in fired), "deleted": 0}


class CleanupWorld(World):
    """Prompts ended long ago; records and indexes lost each other."""

    entry = "scheduled_prompt_cleanup:scheduled_prompt_cleanup"
    at = contract("test_scheduled_prompt_cleanup").NOW
    small: ClassVar = {"chunk": 2, "scan_count": 10}

    async def seed(self) -> None:
        """Lay out what goes and what stays."""
        own = contract("test_scheduled_prompt_cleanup")
        await own.lay(self.redis, KEYS, own.STATE)

    async def hold(self, secrets: Lines) -> None:
        """Lay out ended, lost and stranded prompts with secrets in their text."""
        own = contract("test_scheduled_prompt_cleanup")
        kinds = [own.STATE[name] for name in ("old", "young", "lost", "stranded")]
        await own.lay(self.redis, KEYS, {str(number): kinds[number % 4] for number in range(len(secrets))})
        for number, (line, _) in enumerate(secrets):
            await self.redis.hset(KEYS.prompt(str(number)), "text", line)

    def change(self, before: Whole, after: Whole) -> dict[str, int]:
        """Records are deleted."""
        gone = before.hashes(KEYS.prompt_prefix).keys() - after.hashes(KEYS.prompt_prefix).keys()
        return {"created": 0, "updated": 0, "deleted": len(gone)}


class DecayWorld(World):
    """A memory of ties of all tiers, weights and uses."""

    entry = "kg_decay:kg_decay_task"
    at = contract("test_kg_decay").NOW_S
    small: ClassVar = {"batch": 16, "prune_batch": 3}
    lawful: ClassVar = {"graph Tombstone": "the way back of a pruned fact, kept 30 days in the same store"}

    async def seed(self) -> None:
        """Lay out 40 facts."""
        await ensure_schema(Graph(self.kg))
        await small_memory(self.kg, now=int(self.now * 1000), size=40)

    @property
    def now(self) -> float:
        """When the task runs."""
        assert self.at is not None
        return float(self.at)

    async def hold(self, secrets: Lines) -> None:
        """Lay out facts that tell secrets; every second one is about to be pruned."""
        await ensure_schema(Graph(self.kg))
        await remember(self.kg, told(secrets), at=int(self.now * 1000) - 86_400_000)

    def change(self, before: Whole, after: Whole) -> dict[str, int]:
        """Facts that were settled are updated, facts that were pruned deleted (and settled first)."""
        old, new = before.facts(), after.facts()
        settled = [uuid for uuid in new if new[uuid]["decayed_at"] != old[uuid]["decayed_at"]]
        gone = old.keys() - new.keys()
        return {"created": 0, "updated": len(settled) + len(gone), "deleted": len(gone)}


class UpkeepWorld(DecayWorld):
    """A memory with garbage of every kind."""

    entry = "limbic_maintenance:limbic_maintenance_task"
    at = contract("test_limbic_maintenance").NOW_S
    small: ClassVar = {"batch": 20}
    lawful: ClassVar = {
        "graph Tombstone": "the way back of a buried double, kept 30 days in the same store",
        "graph copy": "the copy from before the upkeep, in the same store until the next success",
    }

    left_by_partial: ClassVar = {
        "law:embed:": "a failed step stops no other, so vectors may be asked for things that the next pass erases: "
        "whoever serves the queue reads their text from the graph, where it finds none"
    }

    async def seed(self) -> None:
        """Lay out a sound memory, and every fault at once."""
        own = contract("test_limbic_maintenance")
        await ensure_schema(Graph(self.kg))
        await small_memory(self.kg, now=int(self.now * 1000), size=12)
        await own.plant_all(own.World(self.kg, self.redis, KEYS))

    async def hold(self, secrets: Lines) -> None:
        """Lay out garbage that tells secrets: facts, their double, names, and a policy nobody can read."""
        await super().hold(secrets)
        own = contract("test_limbic_maintenance")
        await own.plant_all(own.World(self.kg, self.redis, KEYS))
        for number, (line, _) in enumerate(secrets):
            await self.redis.hset(KEYS.channel("discord", f"odd{number}", "policy"), "retention_days", line)

    def change(self, before: Whole, after: Whole) -> dict[str, int]:
        """Tombstones are created, nodes and edges deleted; a purged tombstone is a deletion too."""
        made, gone, held = (
            [json.dumps(node, sort_keys=True) for node in whole.nodes("Tombstone")] for whole in (after, before, after)
        )
        ours = ("Entity", "Episode", "Topic", "Epoch", "Anchor")
        cursors = [
            sum(node["key"].startswith("extract:") for node in whole.nodes("Cursor")) for whole in (before, after)
        ]
        nodes = len(before.nodes(*ours)) - len(after.nodes(*ours)) + cursors[0] - cursors[1]
        edges = len(before.edges()) - len(after.edges())
        purged = len([one for one in gone if one not in held])
        return {"created": len([one for one in made if one not in gone]), "deleted": nodes + edges + purged}


class JournalWorld(World):
    """A journalctl of our own that has six lines, and ends or waits after them."""

    entry = "journal_stream:journal_stream_task"
    has_child = True
    small: ClassVar = {
        "save_lines": 2, "save_seconds": 0.05, "lease_seconds": 3.0, "restart_seconds": 0.0, "restarts_in_vain": 1,
    }  # fmt: skip
    hasty: ClassVar = {"lease_seconds": 0.4}
    journalctl = """#!/bin/sh
here=$(dirname "$0")
n=$(echo "$*" | sed -n 's/.*;i=\\([0-9]*\\);.*/\\1/p')
case "$*" in *--follow*) tail -n +$((${n:-0} + 1)) "$here/lines"; [ -e "$here/waits" ] && exec sleep 60; exit 0 ;; esac
head -n 1 "$here/lines"
"""

    async def seed(self) -> None:
        """Write six lines."""
        await self.write([f"line {number}" for number in range(6)])

    @contextmanager
    def source_waiting(self) -> Iterator[None]:
        """Let journalctl follow on."""
        (self.folder / "waits").touch()
        yield
        (self.folder / "waits").unlink()

    async def hold(self, secrets: Lines) -> None:
        """Write lines with secrets."""
        await self.write([line for line, _ in secrets])

    async def write(self, messages: Sequence[str]) -> None:
        """Give the journal these messages; an entry's place is in its cursor."""
        cursors = [f"s=0;i={number};b=0;m=0;t=0;x=0" for number, _ in enumerate(messages, start=1)]
        entries = [{"__CURSOR": at, "MESSAGE": text} for at, text in zip(cursors, messages, strict=True)]
        (self.folder / "lines").write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
        (self.folder / "journalctl").write_text(self.journalctl)
        (self.folder / "journalctl").chmod(0o755)

    def change(self, before: Whole, after: Whole) -> dict[str, int]:
        """Lines in the buffer are created."""
        now, was = (len(whole.redis.get(KEYS.journal_buffer, ())) for whole in (after, before))
        assert after.redis[KEYS.cursors("journal_stream")] == {
            json_key("journal", f"journald:{this_machine()}:stargazer"): f"s=0;i={now};b=0;m=0;t=0;x=0"
        }
        return {"created": now - was, "updated": 0, "deleted": 0}


def told(secrets: Lines) -> list[Known]:
    """Return facts that tell secrets, weak and strong ones in turn."""
    return [
        Known(subject=Thing(name="ann", summary=line), kind="said", object=Thing(name=line),
              weight=0.01 if number % 2 else 0.9)
        for number, (line, _) in enumerate(secrets)
    ]  # fmt: skip


WORLDS: tuple[type[World], ...] = (TickWorld, CleanupWorld, DecayWorld, JournalWorld, UpkeepWorld)


@pytest.fixture(params=WORLDS, ids=lambda world: world.entry.partition(":")[0])
async def world(
    request: pytest.FixtureRequest, embedded: EmbeddedServer, redis: Redis, tmp_path: Path, monkeypatch: Any
) -> AsyncIterator[World]:
    """Give each task's world, laid out."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    client = connect(embedded.url)
    given: World = request.param(embedded.url, redis, graph_over(client), tmp_path)
    await given.fresh()
    yield given
    await client.aclose()


@pytest.fixture
def suite() -> frozenset[str]:
    """Name the entries that the laws are tried on."""
    return frozenset(world.entry for world in WORLDS)


@pytest.fixture(scope="session")
def secrets() -> Lines:
    """Give the corpus of secrets."""
    found: Lines = runpy.run_path(str(TESTS / "fixtures" / "secrets.py"))["SECRETS"]
    return found
