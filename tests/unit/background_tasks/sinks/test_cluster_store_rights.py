"""Whose right something is written by: tenures that follow one another."""

import asyncio
from typing import Any

from background_tasks.domain.model import Fence, Past, TaskUid

A = TaskUid("a")
OURS = "realm-of-p"


def fence(epoch: int, realm: str = OURS) -> Fence:
    """A right to act."""
    return Fence(realm=realm, slot=3, epoch=epoch)


def shown(held: Fence) -> dict[str, Any]:
    """What the engine shows of a singleton."""
    ready = {"type": "Ready", "status": "True", "reason": "Armed", "lastTransitionTime": "t0"}
    return {"conditions": [ready], "slot": 3, "fence": str(held), "worker": "w"}


def test_a_past_of_an_earlier_tenure_is_not_written_by_the_right_of_a_later_one(cluster: Any) -> None:
    """A worker was cut off, another one ran the task, and the first holds its slot again: what it still had waits by
    the right under which it came to be, also when a status of the new tenure joins it."""
    task = cluster.task("a")

    async def story() -> None:
        await cluster.store.load([A])
        cluster.away()
        await cluster.store.record(task, Past(fired_at=10.0), None, fence=fence(1))
        await asyncio.sleep(60)
        cluster.api.touch("a", fence=str(fence(2)), ledger={"past": {"fired_at": 500.0}})
        await cluster.store.publish(A, shown(fence(3)))
        cluster.api.outage = None
        async with cluster.store.hurried([A]):
            pass
        assert await cluster.store.load([A]) == {A: Past(fired_at=500.0)}
        await cluster.store.record(task, Past(fired_at=501.0), None, fence=fence(3))

    cluster.run(story)


def test_a_past_of_an_earlier_tenure_is_written_where_nobody_came_between(cluster: Any) -> None:
    """The API server was away for all: the run that ended meanwhile is not run again."""
    task = cluster.task("a")

    async def story() -> None:
        await cluster.store.load([A])
        cluster.away()
        await cluster.store.record(task, Past(fired_at=10.0), None, fence=fence(1))
        await asyncio.sleep(60)
        await cluster.store.publish(A, shown(fence(2)))
        cluster.api.outage = None
        async with cluster.store.hurried([A]):
            pass
        assert await cluster.store.load([A]) == {A: Past(fired_at=10.0)}

    cluster.run(story)
