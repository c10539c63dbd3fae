"""Scheduled prompts: is every occurrence fired once, by racing workers and through kills, and how fast; the cleanup."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, suppress
from time import perf_counter
from typing import Any, cast

import structlog

from background_tasks.authoring import TaskParams
from background_tasks.catalogue import scheduled_prompt_cleanup as cleanup
from background_tasks.catalogue import scheduled_prompt_tick as tick
from background_tasks.knowledge.keys import Keys
from background_tasks.knowledge.prompts import PromptStore
from background_tasks.local.embedded import EmbeddedServer
from background_tasks.services.redis import connect
from background_tasks.testing import CrashingClient, FrozenClock, a_run
from background_tasks.testing.crashes import Crash
from tests.bench.figure import Figure, at_most

PROMPTS, INSTANTS, WORKERS = 10_000, 3, 3
KILLS, KILLED_PROMPTS = 10_000, 5
CALLS = 5
"""Calls of a run with one batch: claim, read, settle, claim again, report."""
FINISHED = 100_000
NOON = 1_699_963_200.0
HOUR, DAY = 3_600.0, 86_400.0
HOURLY: dict[str, object] = {
    "owner": "ann", "channel": "kitchen", "text": "tea?", "kind": "cron", "expr": "0 * * * *", "missed_policy": "all",
    "tz": "Europe/Berlin",
}  # fmt: skip


@asynccontextmanager
async def _client(url: str) -> AsyncIterator[Any]:
    client = connect(url)
    yield client
    await client.aclose()


async def _run(task: Any, client: Any, params: TaskParams, at: float) -> Any:
    with a_run(params, clock=FrozenClock(at)):
        return await task(client)


async def _seed(client: Any, count: int) -> None:
    store = PromptStore(client, Keys())
    for number in range(count):
        await store.add(HOURLY | {"id": f"prompt:{number}"}, now=NOON - 1)


async def _occurrences(client: Any) -> Counter[str]:
    found: Counter[str] = Counter()
    last = "-"
    while entries := await client.xrange(Keys().inbound, min=last, count=5_000):
        found.update(fields["occurrence"] for _, fields in entries)
        last = f"({entries[-1][0]}"
    return found


def _expected(prompts: int, hours: int) -> set[str]:
    return {f'["prompt:{n}",{round((NOON + hour * HOUR) * 1000)}]' for n in range(prompts) for hour in range(hours)}


async def _race(url: str) -> tuple[int, float]:
    """Return how many occurrences were fired exactly once, and the seconds that it took."""
    async with _client(url) as one, _client(url) as two, _client(url) as three:
        await one.flushall()
        await _seed(one, PROMPTS)
        at, params = NOON + (INSTANTS - 1) * HOUR + 10, tick.Params(run_s=1e6)
        began = perf_counter()
        await asyncio.gather(
            *(_run(tick.scheduled_prompt_tick, client, params, at) for client in (one, two, three)[:WORKERS])
        )
        took = perf_counter() - began
        found = await _occurrences(one)
    return sum(found[occurrence] == 1 for occurrence in _expected(PROMPTS, INSTANTS)), took


async def _kills(url: str) -> int:
    """Kill a run at a random call, let the next one follow after the lease, again and again; return what went wrong."""
    chance = random.Random(20_261_124)
    async with _client(url) as alive:
        await alive.flushall()
        await _seed(alive, KILLED_PROMPTS)
        for hour in range(KILLS):
            async with _client(url) as client:
                dying = CrashingClient(client, at=chance.randrange(CALLS), obeyed=chance.random() < 0.5)
                with suppress(Crash):
                    await _run(tick.scheduled_prompt_tick, dying.client, tick.Params(), NOON + hour * HOUR)
                if not dying.dead:
                    raise RuntimeError(f"run {hour} was not killed: it made {dying.trips} calls")
            await _run(tick.scheduled_prompt_tick, alive, tick.Params(), NOON + hour * HOUR + 61)
        found, expected = await _occurrences(alive), _expected(KILLED_PROMPTS, KILLS)
    return sum(found[occurrence] != 1 for occurrence in expected) + len(set(found) - expected)


async def _cleanup(url: str) -> tuple[float, float]:
    """Return the seconds that 100,000 finished prompts take to go, and the longest call in milliseconds."""
    keys = Keys()
    async with _client(url) as client:
        await client.flushall()
        for start in range(0, FINISHED, 1_000):
            async with client.pipeline(transaction=False) as pipe:
                for number in range(start, start + 1_000):
                    await cast(
                        Awaitable[Any], pipe.hset(keys.prompt(f"p:{number}"), mapping=HOURLY | {"status": "done"})
                    )
                    await pipe.zadd(keys.queue("prompts").done, {f"p:{number}": (NOON - 8 * DAY) * 1000})
                await pipe.execute()
        await client.config_set("slowlog-log-slower-than", 500)
        await client.config_set("slowlog-max-len", 10_000)
        await client.slowlog_reset()
        began = perf_counter()
        report = await _run(cleanup.scheduled_prompt_cleanup, client, cleanup.Params(), NOON)
        took = perf_counter() - began
        slow = await client.slowlog_get(10_000)
        if (report.deleted, await client.exists(keys.queue("prompts").done)) != (FINISHED, 0):
            raise RuntimeError(f"not all went: {report}")
    return took, max((call["duration"] / 1000 for call in slow), default=0.0)


def figures() -> Iterator[Figure]:
    """Race, kill, sweep."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with EmbeddedServer(graph=False) as server:
        once, took = asyncio.run(_race(server.url))
        whole, rate = PROMPTS * INSTANTS, PROMPTS * INSTANTS / took
        yield Figure("prompts_fired_exactly_once", once, f"of {whole}", whole, once == whole)
        yield at_most("prompts_race_s", took, "s", 90)
        yield Figure("prompts_claims_per_s", round(rate), "1/s", 1_000, rate >= 1_000)
        seconds, longest = asyncio.run(_cleanup(server.url))
        yield at_most("prompts_cleanup_s", seconds, "s", 10)
        yield at_most("prompts_cleanup_call_ms", longest, "ms", 50)
        wrong = asyncio.run(_kills(server.url))
        yield at_most("prompts_lost_or_doubled_10k_kills", wrong, "occurrences", 0)
