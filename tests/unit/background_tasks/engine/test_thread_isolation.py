"""Thread isolation: a run on a loop of its own; cancellation reaches it there; what blocks is told, not lost."""

import asyncio
import threading
from typing import Any

from background_tasks.authoring import current_run
from background_tasks.domain.model import Interval, Isolation, Outcome, TaskUid
from background_tasks.engine.clock import steady
from background_tasks.engine.views import State

IT = TaskUid("default/it")
THREAD = {"isolation": Isolation.THREAD}


async def test_a_run_has_a_thread_and_a_loop_of_its_own(real_world: Any, until: Any) -> None:
    """It finds its context there, and its result and errors come back."""
    seen: list[Any] = []

    async def body(ctx: Any) -> dict[str, int]:
        seen.extend((threading.current_thread(), asyncio.get_running_loop(), current_run() is ctx))
        await asyncio.sleep(0.01)
        return {"rows": 3}

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Interval(seconds=1000), **THREAD))
        await until(lambda: w.watcher.runs, "a run ended")

    await real_world.live(story)
    assert seen[0] is not threading.main_thread()
    assert (seen[1] is not asyncio.get_running_loop(), seen[2]) == (True, True)
    assert (real_world.watcher.outcomes(), real_world.watcher.runs[0].report) == ([Outcome.SUCCEEDED], {"rows": 3})


async def test_blocking_code_does_not_hold_the_loop(real_world: Any, until: Any) -> None:
    """While the thread is blocked neighbours run on."""
    release = threading.Event()
    neighbours: list[int] = []

    async def blocks(ctx: Any) -> None:
        release.wait(10)

    async def neighbour(ctx: Any) -> None:
        neighbours.append(1)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(blocks, Interval(seconds=1000), **THREAD))
        w.scheduler.upsert(w.task(neighbour, Interval(seconds=0.01), name="a/neighbour"))
        await until(lambda: len(neighbours) >= 5, "the neighbour runs")
        release.set()

    await real_world.live(story)


async def test_whatever_is_raised_in_a_thread_fails_its_run_alone(real_world: Any, until: Any) -> None:
    """Errors and exits end as failures; the next run comes."""
    errors: list[BaseException] = [ValueError("broken"), SystemExit(2), KeyboardInterrupt(), asyncio.CancelledError()]

    async def body(ctx: Any) -> None:
        if errors:
            raise errors.pop(0)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Interval(seconds=0.01), **THREAD))
        await until(lambda: len(w.watcher.runs) >= 5, "five runs")

    await real_world.live(story)
    assert real_world.watcher.outcomes()[:5] == [Outcome.FAILED] * 4 + [Outcome.SUCCEEDED]
    messages = [run.message for run in real_world.watcher.runs[:3]]
    assert messages == ["ValueError: broken", "SystemExit: 2", "KeyboardInterrupt"]


async def test_a_timeout_is_delivered_to_the_loop_of_the_thread(real_world: Any, until: Any) -> None:
    """The coroutine is cancelled there, may clean up there, and the run ends as timed out."""
    cleaned: list[bool] = []

    async def body(ctx: Any) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0.01)
            cleaned.append(threading.current_thread() is not threading.main_thread())

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Interval(seconds=1000), timeout=0.05, **THREAD))
        await until(lambda: w.watcher.runs, "a run ended")

    await real_world.live(story)
    assert (real_world.watcher.outcomes(), cleaned) == ([Outcome.TIMED_OUT], [True])


async def test_a_blocked_thread_is_told_and_does_not_hold_the_end_up(real_world: Any, until: Any) -> None:
    """Nobody can stop it: its run is shown as stuck, and a drain names it."""
    release = threading.Event()

    async def blocks(ctx: Any) -> None:
        release.wait(20)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(blocks, Interval(seconds=1000), timeout=0.05, **THREAD))
        await until(lambda: w.scheduler.tasks()[0].state is State.STUCK, "the run is stuck")
        began = steady()
        assert await w.scheduler.drain(1) == ("w1-1",)
        assert steady() - began < 1
        release.set()

    await real_world.live(story, grace=0.1)
    assert real_world.watcher.outcomes() == [Outcome.TIMED_OUT]
