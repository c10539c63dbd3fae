"""10,000 tasks, each every second, spread over it: how late do they start, and how much of a core does that cost?"""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from background_tasks.domain.model import Every, Policy, Schedule, Spread
from tests.bench.engine import Bench, living, measure
from tests.bench.figure import Figure, at_most, p99

TASKS = 10_000
WARM_S, MEASURED_S = 3.0, 10.0


async def _story() -> tuple[float, float, int]:
    lateness: list[float] = []

    async def work(ctx: Any) -> None:
        lateness.append(bench.clock.wall() - ctx.scheduled_for)
        await asyncio.sleep(0)

    bench = Bench(work)
    policy = Policy(coroutine="work", schedule=Schedule(cadence=Every(seconds=1.0), spread=Spread.HASH))

    async def watch() -> tuple[float, float, int]:
        await bench.arm([policy] * TASKS, bench.clock.wall())
        await asyncio.sleep(WARM_S)
        lateness.clear()
        used, began = time.process_time(), time.perf_counter()
        await asyncio.sleep(MEASURED_S)
        cpu = (time.process_time() - used) / (time.perf_counter() - began)
        return p99(lateness) * 1000, cpu, len(lateness)

    return await living(bench, watch)


def figures() -> Iterator[Figure]:
    """Measure for ten seconds after three."""
    late_ms, cpu, runs = measure(_story)
    if runs < TASKS * MEASURED_S * 0.99:
        raise RuntimeError(f"only {runs} runs in {MEASURED_S:g} s: the schedule was not kept")
    yield at_most("lateness_p99_ms_10k", late_ms, "ms", 5.0)
    yield at_most("cpu_core_10k", cpu, "cores", 0.5)
