"""100,000 tasks that wait: what does one cost, and how large is the whole process?"""

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

from background_tasks.domain.model import Interval, Policy, Schedule
from tests.bench.engine import Bench, living, measure, rss_bytes
from tests.bench.figure import Figure, at_most

TASKS = 100_000


async def _story() -> tuple[float, float]:
    async def work(ctx: Any) -> None:
        await asyncio.sleep(0)

    bench = Bench(work)
    policy = Policy(coroutine="work", schedule=Schedule(cadence=Interval(seconds=3600.0), initial_delay=3600.0))

    async def watch() -> tuple[float, float]:
        gc.collect()
        base = rss_bytes()
        # The benchmark's own list of tasks is not kept: the records hold the tasks.
        await bench.arm([policy] * TASKS, bench.clock.wall())
        await bench.scheduler.shown()
        gc.collect()
        whole = rss_bytes()
        return (whole - base) / TASKS, whole / 2**20

    return await living(bench, watch)


def figures() -> Iterator[Figure]:
    """Arm them and look at the resident size."""
    each, whole = measure(_story)
    yield at_most("bytes_per_task_100k", each, "bytes", 500.0)
    yield at_most("rss_mib_100k", whole, "MiB", 256.0)
