"""Prompts can be added, read, listed and cancelled, and each change moves the queue with the record."""

import asyncio

import pytest
from redis.asyncio import Redis

from background_tasks.errors import Refused
from background_tasks.knowledge.keys import Keys
from background_tasks.knowledge.prompt_record import Kind, Status
from background_tasks.knowledge.prompts import PromptStore

pytestmark = pytest.mark.contract
NOW = 1_700_000_000.0
TEA: dict[str, object] = {"owner": "ann", "channel": "kitchen", "text": "tea?", "kind": "cron", "expr": "*/5 * * * *"}


@pytest.fixture
def store(redis: Redis, prefix: str) -> PromptStore:
    """A store of the test's own."""
    return PromptStore(redis, Keys(f"{prefix}:"))


async def test_what_was_added_is_read_back_and_listed_by_when_it_is_due(store: PromptStore) -> None:
    """The first instant comes from the expression, in the owner's zone."""
    once = TEA | {"kind": "once", "expr": "2023-11-14T23:14:00", "tz": "Europe/Berlin", "owner": "bob"}
    late = await store.add(TEA | {"id": "a:b ☕"}, now=NOW)
    soon = await store.add(once, now=NOW)

    assert (soon.next_at, late.next_at) == (NOW + 40, NOW + 100)
    assert await store.get("a:b ☕") == late
    assert await store.list() == [soon, late]
    assert await store.list(owner="bob") == [soon]
    assert await store.list(status=Status.CANCELLED) == []
    assert await store.get("nobody") is None


async def test_an_id_is_active_once(store: PromptStore) -> None:
    """Adding it again is refused until it has ended; then it is a new prompt."""
    await store.add(TEA | {"id": "tea"}, now=NOW)
    with pytest.raises(Refused, match="active"):
        await store.add(TEA | {"id": "tea", "text": "coffee?"}, now=NOW)

    assert await store.cancel("tea", now=NOW + 1)
    again = await store.add(TEA | {"id": "tea", "text": "coffee?"}, now=NOW + 2)

    assert await store.list() == [again]


async def test_of_many_who_add_one_id_one_wins(store: PromptStore) -> None:
    """The check and the change are one step."""
    attempts = await asyncio.gather(
        *(store.add(TEA | {"id": "tea", "text": f"tea {n}"}, now=NOW) for n in range(20)), return_exceptions=True
    )
    assert sum(isinstance(attempt, Refused) for attempt in attempts) == 19


async def test_a_cancelled_prompt_leaves_the_queue_and_its_holders_hands(store: PromptStore) -> None:
    """What is about to fire is stopped as well; a second cancellation says that there was nothing."""
    await store.add(TEA | {"id": "tea"}, now=NOW)
    (claim,) = await store.queue.claim(now=NOW + 200)

    assert await store.cancel("tea", now=NOW + 200)

    assert not await store.queue.ack(claim.id, claim.token, NOW)
    assert await store.queue.claim(now=NOW + 10_000) == []
    prompt = await store.get("tea")
    assert prompt is not None
    assert (prompt.status, prompt.next_at, prompt.updated_at) == (Status.CANCELLED, None, NOW + 200)
    assert not await store.cancel("tea")
    assert not await store.cancel("nobody")


async def test_an_instant_that_passed_is_refused(store: PromptStore) -> None:
    """A few minutes are forgiven, by the prompt's own `max_lag_s`."""
    past = TEA | {"kind": "once", "expr": "2023-11-14T22:10:00"}
    with pytest.raises(Refused, match="passed 200 s ago"):
        await store.add(past | {"max_lag_s": 199}, now=NOW)
    assert (await store.add(past | {"max_lag_s": 200}, now=NOW)).next_at == NOW - 200


async def test_without_a_given_time_the_servers_clock_counts(store: PromptStore) -> None:
    """A prompt of every minute is due within one."""
    now = await store.queue.now()
    prompt = await store.add(TEA | {"expr": "* * * * *", "kind": Kind.CRON})
    assert now < (prompt.next_at or 0) < now + 70


async def test_a_record_that_is_garbage_is_refused_alone_and_left_out_of_lists(store: PromptStore) -> None:
    """One broken record does not hide the others."""
    tea = await store.add(TEA | {"id": "tea"}, now=NOW)
    await store.add(TEA | {"id": "bad"}, now=NOW)
    await store.add(TEA | {"id": "text"}, now=NOW)
    await store._redis.hset(store.keys.prompt("bad"), "expr", "whenever")
    await store._redis.delete(store.keys.prompt("text"))
    await store._redis.set(store.keys.prompt("text"), "hello")

    for broken in ("bad", "text"):
        with pytest.raises(Refused):
            await store.get(broken)
    assert await store.list() == [tea]
