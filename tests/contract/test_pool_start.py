"""A pool comes up once: later workers find it up, however often its slots move."""

from redis.asyncio import Redis

from background_tasks.local.embedded import EmbeddedServer
from background_tasks.services.redis import connect
from background_tasks.testing import FrozenClock
from background_tasks.worker.pool_start import PoolStart


async def test_a_later_worker_finds_the_pool_up(redis: Redis, prefix: str) -> None:
    """The first worker's instant stands for all that come while the mark lives."""
    first = PoolStart(redis, prefix, FrozenClock(1_000.0), lease_duration=12)
    later = PoolStart(redis, prefix, FrozenClock(1_600.0), lease_duration=12)

    assert [await first.since(), await later.since(), await first.since()] == [1_000.0, 1_000.0, 1_000.0]
    assert 30_000 < await redis.pttl(f"bgt:{prefix}:up") <= 36_000


async def test_a_pool_whose_workers_are_gone_comes_up_anew(redis: Redis, prefix: str) -> None:
    """The mark ends some leases after the last worker."""
    await PoolStart(redis, prefix, FrozenClock(1_000.0), lease_duration=12).since()
    await redis.delete(f"bgt:{prefix}:up")

    assert await PoolStart(redis, prefix, FrozenClock(5_000.0), lease_duration=12).since() == 5_000.0


async def test_garbage_in_the_mark_is_replaced(redis: Redis, prefix: str) -> None:
    """What is no instant, or a key of another kind, is written over."""
    await redis.set(f"bgt:{prefix}:up", "soon")
    await redis.lpush(f"bgt:{prefix}-2:up", "x")

    assert await PoolStart(redis, prefix, FrozenClock(7.0), lease_duration=12).since() == 7.0
    assert await PoolStart(redis, f"{prefix}-2", FrozenClock(8.0), lease_duration=12).since() == 8.0


async def test_a_store_that_does_not_answer_holds_no_worker_up(embedded: EmbeddedServer, prefix: str) -> None:
    """Then the pool counts as up from now on; the worker starts."""
    nowhere = connect(f"unix://{embedded.folder}/nobody.sock")

    assert await PoolStart(nowhere, prefix, FrozenClock(9.0), lease_duration=12).since() == 9.0
    await nowhere.aclose()
