"""One change among 100,000 tasks: how long until it is armed, and did any neighbour move?"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

from background_tasks.domain.model import Interval, Policy, Schedule, Task, TaskUid
from background_tasks.ports import SourceEvent, Upserted
from tests.bench.engine import Bench, living, measure
from tests.bench.figure import Figure, at_most

TASKS = 100_000
CHANGES = 200


class OneByOne:
    """A source that tells a change when it is given one."""

    def __init__(self) -> None:
        self.changes: asyncio.Queue[Task] = asyncio.Queue()

    async def watch(self) -> AsyncIterator[SourceEvent]:
        """Hand on what was given."""
        while True:
            yield Upserted(await self.changes.get())


def _policy(seconds: float) -> Policy:
    return Policy(coroutine="work", schedule=Schedule(cadence=Interval(seconds=3600.0), initial_delay=seconds))


async def _change(bench: Bench, source: OneByOne, task: Task, seconds: float) -> float:
    """Change one task and return the seconds until the engine says its new time."""
    changed = replace(task, policy=_policy(seconds))
    began = bench.clock.monotonic()
    source.changes.put_nowait(changed)
    due = task.created_at + seconds
    while (bench.scheduler.next_start(task.uid) or 0.0) - due not in _NEAR:  # noqa: ASYNC110  # looks from outside
        await asyncio.sleep(0)
    return bench.clock.monotonic() - began


class _Near:
    """The numbers that are zero to a millisecond."""

    def __contains__(self, number: float) -> bool:
        return abs(number) < 0.001


_NEAR = _Near()


async def _story() -> float:
    async def work(ctx: Any) -> None:
        await asyncio.sleep(0)

    bench = Bench(work)
    source = OneByOne()

    async def watch() -> float:
        tasks = await bench.arm([_policy(7200.0)] * TASKS, bench.clock.wall())
        following = asyncio.get_running_loop().create_task(bench.scheduler.follow(source))
        picked = tasks[:: TASKS // CHANGES]
        others: list[TaskUid] = [task.uid for task in tasks[1 :: TASKS // CHANGES]]
        before = [bench.scheduler.next_start(uid) for uid in others]
        took = [await _change(bench, source, task, 3000.0 + number) for number, task in enumerate(picked)]
        following.cancel()
        if [bench.scheduler.next_start(uid) for uid in others] != before:
            raise RuntimeError("a neighbour moved")
        return max(took) * 1000

    return await living(bench, watch)


def figures() -> Iterator[Figure]:
    """Change 200 of them, one after the other, and tell the slowest."""
    yield at_most("rearm_ms_100k", measure(_story), "ms", 5.0)
