"""The reference consumer of the inbound stream: acknowledged when handled, dropped when seen, buried when hopeless."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from background_tasks.errors import Unavailable
from background_tasks.knowledge.inbound import Consumed, InboundConsumer
from background_tasks.knowledge.keys import Keys
from background_tasks.knowledge.prompt_record import Envelope
from background_tasks.local.embedded import EmbeddedServer
from background_tasks.services.redis import connect

pytestmark = pytest.mark.contract


def envelope(occurrence: str) -> Envelope:
    """Build an envelope."""
    return Envelope(
        occurrence=occurrence, prompt="tea", owner="ann", channel="c", text="tea? ☕", scheduled_for=1.0, fired_at=2.0
    )


@pytest.fixture(params=[True, False], ids=["answers decoded", "answers as bytes"])
async def consumer(embedded: EmbeddedServer, redis: Redis, prefix: str, request: pytest.FixtureRequest) -> Any:
    """A consumer that takes over at once what another left, over either kind of client."""
    client = connect(embedded.url, decode=request.param)
    yield InboundConsumer(redis=client, name="one", keys=Keys(f"{prefix}:"), retry_idle_s=0)
    await client.aclose()


async def unneeded(one: Envelope) -> None:
    """Fail the test when it is called."""
    raise AssertionError(f"nothing to handle, but {one}")


async def send(consumer: InboundConsumer, *occurrences: str) -> None:
    """Put envelopes on the stream."""
    assert consumer.keys is not None
    for occurrence in occurrences:
        await consumer.redis.xadd(consumer.keys.inbound, dict(envelope(occurrence).entry().items()))


async def left(consumer: InboundConsumer) -> tuple[int, int]:
    """Count entries of the stream and dead letters."""
    assert consumer.keys is not None
    return (
        await consumer.redis.xlen(consumer.keys.inbound),
        await consumer.redis.xlen(consumer.keys.dead_letters("inbound")),
    )


async def test_each_occurrence_is_handled_once_though_it_was_sent_twice(consumer: InboundConsumer) -> None:
    """Also when the second copy comes in a later pass."""
    handled: list[Envelope] = []

    async def handler(one: Envelope) -> None:
        handled.append(one)

    await send(consumer, "a", "b", "a")
    first = await consumer.consume(handler, block_ms=0)
    await send(consumer, "b")
    second = await consumer.consume(handler, block_ms=0)

    assert handled == [envelope("a"), envelope("b")]
    assert (first, second) == (Consumed(handled=2, repeated=1), Consumed(repeated=1))
    assert await left(consumer) == (0, 0)


async def test_a_failing_handler_gets_an_entry_three_times_then_it_is_buried(consumer: InboundConsumer) -> None:
    """Its neighbours are handled meanwhile."""
    seen: list[str] = []

    async def handler(one: Envelope) -> None:
        seen.append(one.occurrence)
        if one.occurrence == "bad":
            raise ValueError("no")

    await send(consumer, "bad", "good")
    passes = [await consumer.consume(handler, block_ms=0) for _ in range(5)]

    assert seen == ["bad", "good", "bad", "bad"]
    assert [(one.failed, one.dead) for one in passes] == [(1, 0), (1, 0), (1, 0), (0, 1), (0, 0)]
    assert await left(consumer) == (0, 1)


async def test_what_is_no_envelope_is_buried_at_once(consumer: InboundConsumer) -> None:
    """With what it held and what is wrong with it."""
    assert consumer.keys is not None

    await consumer.redis.xadd(consumer.keys.inbound, {"envelope": "{"})
    await consumer.redis.xadd(consumer.keys.inbound, {"hello": "world"})

    assert await consumer.consume(unneeded, block_ms=0) == Consumed(dead=2)
    assert await left(consumer) == (0, 2)


async def test_what_a_crashed_consumer_held_is_handled_by_another(consumer: InboundConsumer) -> None:
    """A crash between handling and acknowledging hands it over again: at least once."""
    handled: list[str] = []

    async def dies(one: Envelope) -> None:
        raise asyncio.CancelledError

    async def handler(one: Envelope) -> None:
        handled.append(one.occurrence)

    await send(consumer, "a", "b")
    with pytest.raises(asyncio.CancelledError):
        await consumer.consume(dies, block_ms=0)

    other = replace(consumer, name="two")
    assert (await other.consume(handler, block_ms=0)).handled == 2
    assert (handled, await left(consumer)) == (["a", "b"], (0, 0))


async def test_consumers_of_one_group_share_the_work(consumer: InboundConsumer) -> None:
    """Each entry is with one of them."""
    handled: list[str] = []

    async def handler(one: Envelope) -> None:
        handled.append(one.occurrence)

    await send(consumer, *(str(number) for number in range(100)))
    several = [replace(consumer, name=name, batch=10, retry_idle_s=60) for name in ("one", "two", "three")]
    for _ in range(5):
        await asyncio.gather(*(one.consume(handler, block_ms=0) for one in several))

    assert sorted(handled, key=int) == [str(number) for number in range(100)]


async def test_a_stream_of_another_type_is_unavailable(consumer: InboundConsumer) -> None:
    """It is never taken for an empty one."""
    assert consumer.keys is not None
    await consumer.redis.set(consumer.keys.inbound, "no stream")
    with pytest.raises(Unavailable):
        await consumer.consume(unneeded, block_ms=0)
