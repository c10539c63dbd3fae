"""One writer at a time for each task: what failed to be written never comes after what is newer."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from background_tasks.domain.model import Past, TaskUid
from background_tasks.errors import Unavailable
from background_tasks.sinks.resource_status import News
from background_tasks.sinks.status_queue import StatusQueue
from background_tasks.sinks.turns import Rank, Turns
from background_tasks.testing.virtual_time import VirtualTime

A = TaskUid("a")


def news(fired_at: float) -> News:
    """Something to be written."""
    return News(past=Past(fired_at=fired_at), status={"n": fired_at})


def made(write: Callable[[TaskUid, News], Awaitable[None]], clock: VirtualTime) -> StatusQueue:
    """Make a queue whose refusals fail the test."""
    return StatusQueue(write, clock, turns=Turns(), too_late=lambda uid, error: None, report=pytest.fail)


def test_an_older_past_is_never_written_over_a_newer_one(virtual_time: VirtualTime) -> None:
    """The first write hangs and fails while the second one waits behind it: the older news is not tried again."""
    written: list[float | None] = []
    locked, failures = asyncio.Lock(), [Unavailable("no answer in time")]

    async def write(uid: TaskUid, what: News) -> None:
        async with locked:
            if failures:
                await asyncio.sleep(10)
                raise failures.pop()
            assert what.past is not None
            written.append(what.past.fired_at)

    async def story() -> None:
        queue = made(write, virtual_time)
        async with asyncio.TaskGroup() as group:
            work = group.create_task(queue.work())
            queue.put(A, news(1.0), Rank.CHANGED, 0.0)
            await asyncio.sleep(5)
            queue.put(A, news(2.0), Rank.CHANGED, 0.0)
            await asyncio.sleep(60)
            work.cancel()

    virtual_time.run(story())
    assert written[-1] == 2.0
    assert 1.0 not in written


def test_one_task_never_keeps_the_writer_from_the_others(virtual_time: VirtualTime) -> None:
    """News that come while a write of the same task hangs wait for it, and take up no place."""
    written: list[TaskUid] = []

    async def write(uid: TaskUid, what: News) -> None:
        if uid == A:
            await asyncio.sleep(30)
        written.append(uid)

    async def story() -> None:
        queue = made(write, virtual_time)
        async with asyncio.TaskGroup() as group:
            work = group.create_task(queue.work())
            for second in range(20):
                queue.put(A, news(second), Rank.CHANGED, 0.0)
                await asyncio.sleep(1)
            queue.put(TaskUid("b"), news(1.0), Rank.SHORT, 0.0)
            await asyncio.sleep(1)
            assert written == ["b"]
            await asyncio.sleep(60)
            work.cancel()

    virtual_time.run(story())
    assert written == ["b", A, A]


def test_what_failed_is_tried_again_by_itself(virtual_time: VirtualTime) -> None:
    """Also where nothing else happens in this worker; and soon, where somebody waits for all to be written."""
    at: list[float] = []

    async def write(uid: TaskUid, what: News) -> None:
        at.append(virtual_time.now)
        if len(at) % 2:
            raise Unavailable("no route")

    async def story() -> None:
        queue = made(write, virtual_time)
        async with asyncio.TaskGroup() as group:
            work = group.create_task(queue.work())
            await asyncio.sleep(1)
            queue.put(A, news(1.0), Rank.CHANGED, 0.0)
            await asyncio.sleep(60)
            assert len(at) == 2
            async with asyncio.timeout(10), queue.hurried([A]):
                queue.put(A, news(2.0), Rank.SHORT, virtual_time.now + 30)
            work.cancel()

    virtual_time.run(story())
    assert (len(at), at[1] < 7, at[3] - at[2] < 1) == (4, True, True)
