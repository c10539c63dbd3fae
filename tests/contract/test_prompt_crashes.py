"""A tick that dies, is cancelled or loses its store at any of its calls: run again, all is as after one clean run."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import TimeoutError as NoAnswer

from background_tasks.authoring import TaskReport
from background_tasks.catalogue.scheduled_prompt_tick import Params, scheduled_prompt_tick
from background_tasks.errors import Unavailable
from background_tasks.knowledge.keys import Keys
from background_tasks.knowledge.prompts import PromptStore
from background_tasks.local.embedded import EmbeddedServer
from background_tasks.services.redis import connect
from background_tasks.testing import CrashingClient, FrozenClock, a_run
from background_tasks.testing.crashes import Crash

pytestmark = pytest.mark.contract
NOON = 1_699_963_200.0
HALF_PAST_TWO = NOON + 2.5 * 3_600
PARAMS = Params(claim_limit=3)
TIMES = {"fired_at", "updated_at"}

type Dump = dict[str, Any]


async def seed(redis: Any, prefix: str) -> PromptStore:
    """Lay down prompts of every sort: recurring, single, skipped, broken, without a record."""
    store = PromptStore(redis, Keys(prefix))
    usual: dict[str, object] = {"owner": "ann", "channel": "c", "text": "t", "kind": "cron", "expr": "0 * * * *"}
    for id, policy in (("all:1", "all"), ("all:2", "all"), ("latest", "latest"), ("skip", "skip")):
        await store.add(usual | {"id": id, "missed_policy": policy}, now=NOON - 1)
    await store.add(usual | {"id": "once", "kind": "once", "expr": "2023-11-14T12:30:00Z"}, now=NOON - 1)
    await store.add(usual | {"id": "bad"}, now=NOON - 1)
    await redis.hset(store.keys.prompt("bad"), "expr", "whenever")
    await store.queue.add("gone", NOON)
    return store


async def dump(store: PromptStore) -> Dump:
    """Show all that is stored, in order, without the wall times of the runs themselves."""
    redis: Any = store._redis
    queue = store.keys.queue("prompts")
    envelopes = [fields["occurrence"] for _, fields in await redis.xrange(store.keys.inbound)]
    records = {
        key: {name: value for name, value in (await redis.hgetall(key)).items() if name not in TIMES}
        for key in sorted(await redis.keys(f"{store.keys.prompt_prefix}*"))
        if not key.startswith(store.keys.fired_prefix)
    }
    return {
        "envelopes": sorted(envelopes),
        "flags": [key.rpartition("fired:")[2] for key in sorted(await redis.keys(f"{store.keys.fired_prefix}*"))],
        "records": {key.removeprefix(store.keys.prefix): value for key, value in records.items()},
        "due": await redis.zrange(queue.due, 0, -1, withscores=True),
        "inflight": await redis.zrange(queue.inflight, 0, -1),
        "done": sorted(await redis.zrange(queue.done, 0, -1)),
    }


async def tick(client: Redis, store: PromptStore, at: float) -> TaskReport:
    """Run the task once at an instant."""
    with a_run(PARAMS, clock=FrozenClock(at), prefix=store.keys.prefix):
        return await scheduled_prompt_tick(client)


@pytest.fixture
async def clean(redis: Redis) -> tuple[int, Dump]:
    """What one undisturbed run makes of the world, and how many calls that takes."""
    store = await seed(redis, "clean:")
    counting = CrashingClient(redis, at=None)
    await tick(redis, store, HALF_PAST_TWO)
    calls, world = counting.trips, await dump(store)
    assert (len(world["envelopes"]), world["inflight"], calls > 8) == (9, [], True)
    return calls, world


async def endured(run: Coroutine[Any, Any, TaskReport]) -> None:
    """Let a run end in whatever way it does."""
    with suppress(Crash, Unavailable):
        await run


@pytest.mark.parametrize("obeyed", [False, True], ids=["before the server obeys", "before the answer arrives"])
@pytest.mark.parametrize(
    ("error", "recovers"),
    [
        pytest.param(Crash, False, id="a kill"),
        pytest.param(NoConnection, True, id="a lost connection"),
        pytest.param(NoAnswer, True, id="a time-out"),
        pytest.param(NoConnection, False, id="an outage"),
    ],
)
async def test_trouble_at_any_call_changes_nothing_in_the_end(
    embedded: EmbeddedServer,
    clean: tuple[int, Dump],
    redis: Redis,
    error: Callable[[], BaseException],
    *,
    recovers: bool,
    obeyed: bool,
) -> None:
    """For every call of the run: after the lease another run finds nothing lost and doubles nothing."""
    calls, world = clean
    for at in range(calls):
        store = await seed(redis, f"at-{at}:")
        client = connect(embedded.url)
        CrashingClient(client, at=at, obeyed=obeyed, error=error, recovers=recovers)
        await endured(tick(client, store, HALF_PAST_TWO))
        await client.aclose()
        await tick(redis, store, HALF_PAST_TWO + 61)
        assert await dump(store) == world, f"trouble at call {at} of {calls}"


async def test_a_cancellation_at_any_await_leaves_nothing_behind(clean: tuple[int, Dump], redis: Redis) -> None:
    """Not even a lease: the next run, at the same instant, finishes the work."""
    world, turns, cancelled = clean[1], 0, True
    while cancelled:
        store = await seed(redis, f"turn-{turns}:")
        run = asyncio.get_running_loop().create_task(tick(redis, store, HALF_PAST_TWO))
        for _ in range(turns):
            await asyncio.sleep(0)
        cancelled = run.cancel()
        await asyncio.wait([run])
        assert (await dump(store))["inflight"] == [], f"cancelled after {turns} turns of the loop"
        await tick(redis, store, HALF_PAST_TWO)
        assert await dump(store) == world, f"cancelled after {turns} turns of the loop"
        turns += 1
    assert turns > 30


async def test_running_twice_is_running_once(clean: tuple[int, Dump], redis: Redis) -> None:
    """The second run finds nothing to do."""
    store = await seed(redis, "twice:")
    reports = [await tick(redis, store, HALF_PAST_TWO) for _ in range(2)]
    assert await dump(store) == clean[1]
    assert [(report.outcome, report.created) for report in reports] == [("partial", 9), ("noop", 0)]


async def test_the_reports_numbers_are_what_changed(clean: tuple[int, Dump], redis: Redis) -> None:
    """Envelopes are counted as created, prompts that moved as updated, per decision."""
    store = await seed(redis, "report:")
    before = await dump(store)
    report = await tick(redis, store, HALF_PAST_TWO)
    after = await dump(store)
    assert report.created == len(after["envelopes"]) - len(before["envelopes"])
    assert report.extra["fired"] + report.extra["invalid"] == report.created
    assert (report.extra["skipped"], report.extra["dropped"], report.extra["invalid"]) == (1, 1, 1)
