"""The budget in front of a status sink: fewer writes, never a lost last word."""

import asyncio
from collections.abc import Mapping

import pytest

from background_tasks.domain.model import TaskUid
from background_tasks.errors import Unavailable
from background_tasks.sinks.budgeted import BudgetedSink
from background_tasks.sinks.memory import MemoryStatusSink
from background_tasks.testing.virtual_time import VirtualTime

A, B = TaskUid("a"), TaskUid("b")


class Recorder(MemoryStatusSink):
    """A sink that remembers when what was written."""

    def __init__(self, clock: VirtualTime) -> None:
        super().__init__()
        self.clock = clock
        self.writes: list[tuple[float, TaskUid, object]] = []

    async def publish(self, uid: TaskUid, status: Mapping[str, object]) -> None:
        """Show the status."""
        await super().publish(uid, status)
        self.writes.append((round(self.clock.now, 2), uid, status["n"]))


def tell(virtual_time: VirtualTime, sink: BudgetedSink, *, seconds: float, every: float) -> None:
    """Publish ever new statuses of two tasks while the sink works."""

    async def story() -> None:
        async with asyncio.TaskGroup() as group:
            work = group.create_task(sink.work())
            for number in range(int(seconds / every)):
                await sink.publish(A, {"n": number})
                await sink.publish(B, {"n": number})
                await asyncio.sleep(every)
            work.cancel()

    virtual_time.run(story())


def test_writes_keep_to_the_budget_and_the_latest_wins(virtual_time: VirtualTime) -> None:
    """Two tasks that change a hundred times a second make two writes a second, in turn."""
    recorder = Recorder(virtual_time)
    tell(virtual_time, BudgetedSink(recorder, virtual_time, writes_per_s=2), seconds=1.9, every=0.01)
    assert [uid for _, uid, _ in recorder.writes] == [A, B, A, B]
    assert [time for time, _, _ in recorder.writes] == [0.0, 0.5, 1.0, 1.5]


def test_a_flush_writes_the_last_word_of_everybody(virtual_time: VirtualTime) -> None:
    """What waited is not lost when the worker ends; a withdrawal is a last word too."""
    recorder = Recorder(virtual_time)
    sink = BudgetedSink(recorder, virtual_time, writes_per_s=0.01)
    tell(virtual_time, sink, seconds=1, every=0.1)

    async def end() -> None:
        await sink.withdraw(B)
        await sink.flush()

    virtual_time.run(end())
    assert (recorder.statuses, sink.waiting) == ({A: {"n": 9}}, 0)


def test_a_sink_that_is_away_loses_nothing(virtual_time: VirtualTime) -> None:
    """All wait, the latest wins, and writing goes on by itself when it is back; a flush meanwhile says so."""
    recorder = Recorder(virtual_time)
    sink = BudgetedSink(recorder, virtual_time, writes_per_s=10)
    recorder.outage = "no route"
    tell(virtual_time, sink, seconds=5, every=0.1)
    with pytest.raises(Unavailable, match="no route"):
        virtual_time.run(sink.flush())
    assert (sink.waiting, recorder.writes) == (2, [])
    recorder.outage = ""
    tell(virtual_time, sink, seconds=60, every=1)
    assert recorder.statuses.keys() == {A, B}
