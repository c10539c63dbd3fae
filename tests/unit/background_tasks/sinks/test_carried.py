"""A pool is given a Redis, or loses it: the next worker knows what ran, wherever it looks."""

from typing import Any

from background_tasks.domain.model import Fence, Past, TaskUid
from background_tasks.sinks.carried import CarriedLedger
from background_tasks.sinks.memory import MemoryLedger

A = TaskUid("a")
SHOWN = {"conditions": [{"type": "Ready", "status": "True", "reason": "Armed"}], "slot": 3, "worker": "w"}


def fence(epoch: int) -> Fence:
    """A right to act."""
    return Fence(realm="r1", slot=3, epoch=epoch)


def with_redis(cluster: Any, ledger: MemoryLedger) -> CarriedLedger:
    """Give the world a worker with a Redis instead of the one without."""
    cluster.store = cluster.another(ledger=False)
    return CarriedLedger(ledger, cluster.store, report=cluster.said.append)


def another(cluster: Any, ledger: MemoryLedger) -> CarriedLedger:
    """Make the ledger of the worker that comes next."""
    return CarriedLedger(ledger, cluster.another(ledger=False), report=cluster.said.append)


def test_what_ran_before_the_redis_counts(cluster: Any) -> None:
    """It stands in the status as the ledger's own word, and stays there until the Redis has a newer one."""
    task, ledger = cluster.task("a", 3600), MemoryLedger()
    cluster.api.touch("a", ledger={"past": {"ended_at": 50.0}})
    carried = with_redis(cluster, ledger)

    async def story() -> None:
        assert await carried.load([A]) == {A: Past(ended_at=50.0)}
        async with cluster.store.hurried():
            await cluster.store.publish(A, {**SHOWN, "fence": str(fence(1))})
        assert await another(cluster, ledger).load([A]) == {A: Past(ended_at=50.0)}
        await ledger.record(task, Past(ended_at=90.0), None, fence=fence(1))
        assert await carried.load([A]) == {A: Past(ended_at=90.0)}

    cluster.run(story)


def test_a_copy_goes_along_and_counts_where_there_is_no_redis(cluster: Any) -> None:
    """It costs no write of its own; a worker without a Redis goes on from it."""
    task = cluster.task("a", 3600)
    carried = with_redis(cluster, MemoryLedger())

    async def story() -> None:
        async with cluster.store.hurried():
            await carried.record(task, Past(ended_at=50.0), None, fence=fence(1))
            await cluster.store.publish(A, {**SHOWN, "fence": str(fence(1))})
        assert len(cluster.api.writes) == 1
        assert await cluster.another().load([A]) == {A: Past(ended_at=50.0)}

    cluster.run(story)


def test_a_copy_never_counts_where_there_is_a_redis(cluster: Any) -> None:
    """A Redis that lost everything is a new beginning: a copy may be half a minute old."""
    task = cluster.task("a", 3600)
    carried = with_redis(cluster, MemoryLedger())

    async def story() -> None:
        async with cluster.store.hurried():
            await carried.record(task, Past(ended_at=50.0), None, fence=fence(1))
        assert await another(cluster, MemoryLedger()).load([A]) == {}

    cluster.run(story)


def test_without_the_api_server_the_redis_is_enough(cluster: Any) -> None:
    """Workers whose leases lie in a Redis take slots over while the API server is away."""
    task, ledger = cluster.task("a", 3600), MemoryLedger()

    async def story() -> None:
        await ledger.record(task, Past(ended_at=50.0), None, fence=fence(1))
        cluster.away()
        assert await another(cluster, ledger).load([A]) == {A: Past(ended_at=50.0)}

    cluster.run(story)
    assert "before the pool had its Redis" in cluster.said[0]
