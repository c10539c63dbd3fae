"""The worker that the engine's figures are taken of: uvloop, metrics on, a ledger and a status sink that only count.

Not a benchmark itself.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import uvloop

from background_tasks.domain.model import Fence, Past, Policy, RunRecord, Task, TaskUid
from background_tasks.engine.clock import SystemClock
from background_tasks.engine.collector import keep_pauses_short
from background_tasks.engine.scheduler import Binding, Scheduler
from background_tasks.telemetry.logs import configure
from background_tasks.telemetry.metrics import Metrics
from background_tasks.telemetry.observers import LogObserver, Observers

PAGE_BYTES = 4096


class CountingLedger:
    """A ledger that knows nothing and counts what it is told."""

    def __init__(self) -> None:
        self.records = 0

    async def load(self, uids: Iterable[TaskUid]) -> Mapping[TaskUid, Past]:
        """Nothing ran before."""
        return {}

    async def claim(self, task: Task, scheduled_for: float, fence: Fence | None) -> bool:
        """Nobody claimed before."""
        return True

    async def record(self, task: Task, past: Past | None, run: RunRecord | None, *, fence: Fence | None = None) -> None:
        """Count."""
        self.records += 1

    async def forget(self, uid: TaskUid) -> None:
        """Nothing to drop."""


class CountingSink:
    """A status sink that counts."""

    def __init__(self) -> None:
        self.shown = 0

    async def publish(self, uid: TaskUid, status: Mapping[str, object]) -> None:
        """Count."""
        self.shown += 1

    async def withdraw(self, uid: TaskUid) -> None:
        """Nothing to drop."""


class Bench:
    """One scheduler whose tasks all run `call`."""

    def __init__(self, call: Callable[[Any], Awaitable[object]]) -> None:
        self._lines = Path("/dev/null").open("w")  # noqa: SIM115  # lines are made and written, and nobody reads them
        configure({}, stream=self._lines)
        self.clock = SystemClock()
        self.sink = CountingSink()
        self.metrics = Metrics("bench")
        binding = Binding(call=call)
        self.scheduler = Scheduler(
            clock=self.clock,
            bind=lambda task: binding,
            ledger=CountingLedger(),
            sink=self.sink,
            observer=Observers(self.metrics, LogObserver(self.clock)),
            worker="bench",
            guard=True,
        )

    async def arm(self, policies: Iterable[Policy], created_at: float) -> list[Task]:
        """Hand a task per policy over, as a source would, and wait until all are filed."""
        tasks = []
        for number, policy in enumerate(policies):
            uid = TaskUid(str(uuid.UUID(int=number << 64 | 0xBE9C)))
            task = Task(uid=uid, name=f"default/task-{number:06d}", policy=policy, created_at=created_at)
            self.scheduler.upsert(task)
            tasks.append(task)
            if not number % 500:
                await asyncio.sleep(0)
        while self.scheduler.next_start(tasks[-1].uid) is None:  # noqa: ASYNC110  # looks from outside
            await asyncio.sleep(0.01)
        keep_pauses_short()
        return tasks


def rss_bytes() -> int:
    """Return the resident size of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def measure[T](story: Callable[[], Awaitable[T]]) -> T:
    """Run a story on the loop that workers use."""

    async def told() -> T:
        return await story()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(told())


async def living[T](bench: Bench, story: Callable[[], Awaitable[T]]) -> T:
    """Tell a story while the scheduler runs."""
    async with asyncio.TaskGroup() as group:
        life = group.create_task(bench.scheduler.run())
        result = await story()
        life.cancel()
    return result
