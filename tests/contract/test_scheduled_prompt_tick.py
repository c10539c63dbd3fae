"""Prompts go off: each occurrence once, for any number of workers, whatever stands in the records."""

import asyncio
import inspect
import json
from typing import Any

import pytest
from redis.asyncio import Redis

from background_tasks.authoring import TaskReport, declaration_of
from background_tasks.catalogue.scheduled_prompt_tick import Params, scheduled_prompt_tick
from background_tasks.errors import Unavailable
from background_tasks.knowledge.keys import Keys
from background_tasks.knowledge.prompt_record import Status
from background_tasks.knowledge.prompts import PromptStore
from background_tasks.local.embedded import EmbeddedServer
from background_tasks.services.redis import connect
from background_tasks.testing import FrozenClock, a_run

pytestmark = pytest.mark.contract
NOON = 1_699_963_200.0
HOUR = 3_600.0
HOURLY: dict[str, object] = {
    "owner": "ann", "channel": "kitchen", "text": "tea?", "kind": "cron", "expr": "0 * * * *", "missed_policy": "all",
}  # fmt: skip


class PassingClock(FrozenClock):
    """Two seconds pass with every look."""

    def monotonic(self) -> float:
        """Move, then tell."""
        self.advance(2)
        return self.at


@pytest.fixture
def clock() -> FrozenClock:
    """A clock that stands at ten seconds past noon."""
    return FrozenClock(NOON + 10)


@pytest.fixture
def store(redis: Redis, prefix: str) -> PromptStore:
    """A store of the test's own."""
    return PromptStore(redis, Keys(f"{prefix}:"))


async def tick(store: PromptStore, clock: FrozenClock, params: Params | None = None) -> TaskReport:
    """Run the task once."""
    with a_run(params or Params(), clock=clock, prefix=store.keys.prefix):
        return await scheduled_prompt_tick(store._redis)


async def sent(store: PromptStore) -> list[dict[str, Any]]:
    """Read all envelopes of the inbound stream."""
    entries: Any = await store._redis.xrange(store.keys.inbound)
    return [json.loads(fields["envelope"]) for _, fields in entries]


def test_it_is_declared_as_the_catalogue_says() -> None:
    """Every minute, needs Redis, not registered while the chat flag is off."""
    declared = declaration_of(scheduled_prompt_tick)
    assert declared is not None
    assert list(inspect.signature(scheduled_prompt_tick).parameters) == ["redis"]
    assert (declared.name, declared.interval, declared.requires, declared.requires_chat_llm) == (
        "scheduled_prompt_tick", 60.0, frozenset({"redis"}), True,
    )  # fmt: skip


async def test_a_due_prompt_fires_once_and_is_due_again(store: PromptStore, clock: FrozenClock) -> None:
    """The envelope says who asked, where, what and for when; the second run has nothing to do."""
    await store.add(HOURLY | {"id": "tea:1"}, now=NOON - 1)

    first, second = await tick(store, clock), await tick(store, clock)

    assert await sent(store) == [
        {
            "occurrence": '["tea:1",1699963200000]', "kind": "prompt", "prompt": "tea:1", "owner": "ann",
            "channel": "kitchen", "text": "tea?", "scheduled_for": NOON, "fired_at": NOON + 10,
        }
    ]  # fmt: skip
    assert (first.outcome, first.items_in, first.created, first.updated, first.lag_s) == ("ok", 1, 1, 1, 10.0)
    assert (second.outcome, second.items_in, second.created, second.updated) == ("noop", 0, 0, 0)
    prompt = await store.get("tea:1")
    assert prompt is not None
    assert (prompt.status, prompt.next_at, prompt.fire_count) == (Status.ACTIVE, NOON + HOUR, 1)


async def test_a_single_prompt_ends_after_it_fired(store: PromptStore, clock: FrozenClock) -> None:
    """It is filed as done, for the cleanup to find later."""
    await store.add(HOURLY | {"id": "x", "kind": "once", "expr": "2023-11-14T12:00:00Z"}, now=NOON - 1)
    await tick(store, clock)
    assert await store.list(status=Status.DONE) == [await store.get("x")]
    assert await store._redis.zscore(store.keys.queue("prompts").done, "x") == (NOON + 10) * 1000


@pytest.mark.parametrize(
    ("policy", "fired"), [("skip", []), ("latest", [3]), ("all", [0, 1, 2, 3])], ids=["skip", "latest", "all"]
)
async def test_after_a_downtime_the_prompts_own_policy_decides(
    store: PromptStore, clock: FrozenClock, policy: str, fired: list[int]
) -> None:
    """Nothing, the last, or each of the missed instants; then it goes on in its rhythm."""
    await store.add(HOURLY | {"id": "tea", "missed_policy": policy}, now=NOON - 1)
    clock.advance(3.5 * HOUR)

    report = await tick(store, clock)

    assert [envelope["scheduled_for"] for envelope in await sent(store)] == [NOON + hour * HOUR for hour in fired]
    assert (report.extra["fired"], report.extra["skipped"]) == (len(fired), int(policy == "skip"))
    prompt = await store.get("tea")
    assert prompt is not None
    assert (prompt.next_at, prompt.fire_count) == (NOON + 4 * HOUR, len(fired))


async def test_a_missed_single_prompt_with_skip_ends_unfired(store: PromptStore, clock: FrozenClock) -> None:
    """Its status says so."""
    once = {"id": "x", "kind": "once", "expr": "2023-11-14T12:00:00Z", "missed_policy": "skip"}
    await store.add(HOURLY | once, now=NOON - 1)
    clock.advance(HOUR)
    await tick(store, clock)
    assert [prompt.id for prompt in await store.list(status=Status.MISSED)] == ["x"]
    assert await sent(store) == []


async def test_three_racing_workers_fire_every_occurrence_once(
    embedded: EmbeddedServer, store: PromptStore, clock: FrozenClock
) -> None:
    """1,000 prompts with three due instants each; `prompts_fired_exactly_once` measures 10,000."""
    for number in range(1_000):
        await store.add(HOURLY | {"id": f"prompt:{number}"}, now=NOON - 1)
    clock.advance(2 * HOUR)
    clients = [connect(embedded.url) for _ in range(3)]

    reports = await asyncio.gather(*(tick(PromptStore(client, store.keys), clock) for client in clients))

    occurrences = [envelope["occurrence"] for envelope in await sent(store)]
    expected = {f'["prompt:{n}",{round((NOON + hour * HOUR) * 1000)}]' for n in range(1_000) for hour in range(3)}
    assert (len(occurrences), set(occurrences)) == (3_000, expected)
    assert (sum(report.created for report in reports), sum(report.extra["stale"] for report in reports)) == (3_000, 0)
    for client in clients:
        await client.aclose()


GARBAGE: dict[str, dict[Any, Any]] = {
    "an expression that cannot be read": {"expr": "whenever"},
    "a zone that does not exist": {"tz": "Mars/Base"},
    "a count in words": {"fire_count": "many"},
    "an unknown status": {"status": "asleep"},
    "an instant in words": {"next_at": "soon"},
    "no owner": {"owner": ""},
    "a text without end": {"text": "x" * 10_000},
}


@pytest.mark.parametrize("broken", GARBAGE.values(), ids=GARBAGE.keys())
async def test_a_record_that_cannot_be_understood_ends_and_its_owner_is_told_once(
    store: PromptStore, clock: FrozenClock, broken: dict[Any, Any]
) -> None:
    """Its neighbour fires all the same."""
    for id in ("bad", "good"):
        await store.add(HOURLY | {"id": id}, now=NOON - 1)
    await store._redis.hset(store.keys.prompt("bad"), mapping=broken)

    report, again = await tick(store, clock), await tick(store, clock)
    clock.advance(HOUR)
    await tick(store, clock)

    kinds = sorted((envelope["kind"], envelope["prompt"]) for envelope in await sent(store))
    assert kinds == [("prompt", "good"), ("prompt", "good"), ("prompt_invalid", "bad")]
    assert await store._redis.hget(store.keys.prompt("bad"), "status") == "invalid"
    assert (report.outcome, report.extra["invalid"], report.created) == ("partial", 1, 2)
    assert (again.outcome, again.extra["invalid"]) == ("noop", 0)


async def test_what_is_no_record_at_all_leaves_the_queue(store: PromptStore, clock: FrozenClock) -> None:
    """A key of another type, a missing record, an ended one: told in the report, never claimed again."""
    for id in ("text", "gone", "ended", "good"):
        await store.add(HOURLY | {"id": id}, now=NOON - 1)
    await store._redis.delete(store.keys.prompt("text"), store.keys.prompt("gone"))
    await store._redis.set(store.keys.prompt("text"), "hello")
    await store._redis.hset(store.keys.prompt("ended"), "status", "cancelled")

    report = await tick(store, clock)
    clock.advance(120)

    assert (report.extra["fired"], report.extra["dropped"], report.extra["invalid"]) == (1, 2, 1)
    assert (await tick(store, clock)).outcome == "noop"


async def test_a_queue_that_runs_ahead_of_its_record_is_put_right(store: PromptStore, clock: FrozenClock) -> None:
    """The record's next instant counts."""
    await store.add(HOURLY | {"id": "tea"}, now=NOON + 1)
    await store._redis.zadd(store.keys.queue("prompts").due, {"tea": NOON * 1000})
    report = await tick(store, clock)
    assert (report.extra["early"], report.created, await sent(store)) == (1, 0, [])
    assert (await tick(store, clock)).outcome == "noop"


async def test_a_run_out_of_time_leaves_the_rest_to_the_next(store: PromptStore, clock: FrozenClock) -> None:
    """Nothing stays claimed."""
    for id in ("a", "b", "c"):
        await store.add(HOURLY | {"id": id}, now=NOON - 1)
    report = await tick(store, PassingClock(NOON + 10), Params(claim_limit=1, run_s=3))

    assert (report.outcome, report.reason, report.extra["fired"]) == ("partial", "time", 2)
    assert await store._redis.zcard(store.keys.queue("prompts").inflight) == 0
    assert (await tick(store, clock)).extra["fired"] == 1


async def test_a_stream_of_another_type_is_an_error_and_loses_nothing(store: PromptStore, clock: FrozenClock) -> None:
    """The run fails; when the stream is one again the prompt fires."""
    await store.add(HOURLY | {"id": "tea"}, now=NOON - 1)
    await store._redis.set(store.keys.inbound, "not a stream")
    with pytest.raises(Unavailable, match="WRONGTYPE"):
        await tick(store, clock)

    await store._redis.delete(store.keys.inbound)
    clock.advance(60)

    assert (await tick(store, clock)).extra["fired"] == 1
