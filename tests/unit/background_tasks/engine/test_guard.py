"""The loop guard: a block names its task, a stopped process is no block, who blocks again and again is moved."""

import asyncio
import threading
from typing import Any

from background_tasks.domain.model import Interval, Outcome, TaskUid
from background_tasks.engine.binding import Binding
from background_tasks.engine.clock import steady

IT = TaskUid("default/it")


def hold(seconds: float) -> None:
    """Hold the thread, as a forgotten blocking call does."""
    until = steady() + seconds
    while steady() < until:
        sum(range(1000))


async def test_a_block_names_its_task_and_shows_its_stack(real_world: Any, until: Any) -> None:
    """Also when the code that blocks is in an asyncio task that the run created."""

    async def blocks(ctx: Any) -> None:
        async def inner() -> None:
            hold(0.4)

        async with asyncio.TaskGroup() as group:
            group.create_task(inner())

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(blocks, Interval(seconds=1000), name="a/blocks"))
        await until(lambda: w.watcher.blocks, "the block is told")

    await real_world.live(story, guard=True)
    task, seconds, stack = real_world.watcher.blocks[0]
    assert (task, seconds >= 0.1) == ("a/blocks", True)  # no upper bound: a busy machine adds to it
    assert "in hold" in stack


async def test_a_loop_that_answers_is_not_blocked(real_world: Any, until: Any) -> None:
    """Many short runs are no block."""
    runs: list[int] = []

    async def short(ctx: Any) -> None:
        hold(0.002)
        runs.append(1)

    async def story(w: Any) -> None:
        for number in range(20):
            w.scheduler.upsert(w.task(short, Interval(seconds=0.05), name=f"a/{number}"))
        await until(lambda: len(runs) >= 60, "sixty runs")

    await real_world.live(story, guard=True)
    assert [task for task, seconds, _ in real_world.watcher.blocks if task] == []


async def test_who_blocks_again_and_again_is_moved_to_a_thread(real_world: Any, until: Any) -> None:
    """After the third block a movable task runs in a thread, is shown as quarantined, and goes on."""
    threads: list[str] = []

    async def blocks(ctx: Any) -> None:
        threads.append(threading.current_thread().name)
        hold(0.3)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(Binding(call=blocks, movable=True), Interval(seconds=0.1)))
        await until(lambda: len(w.watcher.runs) >= 5, "five runs")
        (view,) = w.scheduler.tasks()
        assert "moved to a thread" in view.note

    await real_world.live(story, guard=True)
    assert threads[0] == threads[1] == threads[2] == threading.main_thread().name
    assert threads[-1].startswith("run w1-")
    assert set(real_world.watcher.outcomes()[:5]) == {Outcome.SUCCEEDED}


async def test_who_may_not_be_moved_is_only_told(real_world: Any, until: Any) -> None:
    """A task that uses what belongs to the loop stays there, and is counted."""
    threads: set[str] = set()

    async def blocks(ctx: Any) -> None:
        threads.add(threading.current_thread().name)
        hold(0.3)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(blocks, Interval(seconds=0.1)))
        await until(lambda: w.scheduler.tasks()[0].blocks >= 4, "four blocks are counted")

    await real_world.live(story, guard=True)
    assert threads == {threading.main_thread().name}
