"""10,000 tasks due at one instant: when has the last one started, and how long did the loop not answer?"""

import asyncio
from collections.abc import Iterator
from typing import Any

from background_tasks.domain.model import Every, Policy, Schedule
from tests.bench.engine import Bench, living, measure
from tests.bench.figure import Figure, at_most

TASKS = 10_000
HERDS = 3
PERIOD_S = 3.0
RUN_S = 0.5
"""Each run waits so long for something: none ends while the others still start."""
PROBE_S = 0.001


class Probe:
    """Wakes every millisecond and keeps the longest time that it was not woken."""

    def __init__(self, bench: Bench) -> None:
        self.worst = 0.0
        self._loop = asyncio.get_running_loop()
        self._clock = bench.clock
        self._due = 0.0

    def wake(self) -> None:
        """Look at the clock and wake again."""
        now = self._clock.monotonic()
        self.worst = max(self.worst, now - self._due)
        self._due = now + PROBE_S
        self._loop.call_later(PROBE_S, self.wake)

    def start(self) -> None:
        """Begin."""
        self._due = self._clock.monotonic()
        self.wake()


async def _story() -> tuple[float, float]:
    starts: dict[float, list[float]] = {}

    async def work(ctx: Any) -> None:
        starts.setdefault(ctx.scheduled_for, []).append(bench.clock.wall())
        await asyncio.sleep(RUN_S)

    bench = Bench(work)
    policy = Policy(coroutine="work", schedule=Schedule(cadence=Every(seconds=PERIOD_S)))

    async def watch() -> tuple[float, float]:
        await bench.arm([policy] * TASKS, bench.clock.wall())
        starts.clear()
        probe = Probe(bench)
        probe.start()
        while len(whole := [herd for herd in starts.items() if len(herd[1]) == TASKS]) < HERDS:  # noqa: ASYNC110  # looks from outside
            await asyncio.sleep(0.1)
        return sorted(max(began) - fire for fire, began in whole)[len(whole) // 2] * 1000, probe.worst * 1000

    return await living(bench, watch)


def figures() -> Iterator[Figure]:
    """Take the median of three herds for the start, the worst of all for the loop."""
    started_ms, held_ms = measure(_story)
    yield at_most("herd_10k_ms", started_ms, "ms", 150.0)
    yield at_most("herd_loop_block_ms", held_ms, "ms", 50.0)
