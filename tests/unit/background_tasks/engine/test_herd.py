"""Many tasks due at one instant, and many things kept of them: in order, in chunks, and small."""

import asyncio
import gc
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from background_tasks.domain.herd import CHUNK
from background_tasks.domain.model import Every, Interval, Outcome
from background_tasks.engine.collector import keep_pauses_short
from background_tasks.engine.records import Armed


def test_a_herd_starts_in_order_and_in_chunks(world: Any) -> None:
    """The loop gets air after five hundred starts at the most, and nobody overtakes."""
    count = 1700
    started: list[str] = []
    turns: list[int] = []

    def turn(number: int) -> None:
        turns.append(len(started))
        if len(started) < count:
            asyncio.get_running_loop().call_soon(turn, number + 1)

    async def body(ctx: Any) -> None:
        started.append(ctx.task.name)
        if len(started) == 1:
            turn(0)
        await asyncio.sleep(1)

    async def story(w: Any) -> None:
        for number in range(count):
            w.scheduler.upsert(w.task(body, Interval(seconds=1000), name=f"a/{number}", initial_delay=50))
        await asyncio.sleep(55)

    world.run(story)
    assert started == [f"a/{number}" for number in range(count)]
    assert 0 < max(later - sooner for sooner, later in itertools.pairwise(turns)) <= CHUNK


def test_the_next_fire_times_of_a_herd_are_kept(world: Any) -> None:
    """However many are due at once, each runs at each of its fire times, once."""
    count = 600

    async def body(ctx: Any) -> None:
        await asyncio.sleep(3)

    async def story(w: Any) -> None:
        for number in range(count):
            w.scheduler.upsert(w.task(body, Every(seconds=10), name=f"a/{number}"))
        await asyncio.sleep(35)

    world.run(story)
    served = {(run.task, run.scheduled_for - world.began_at) for run in world.watcher.runs}
    assert len(world.watcher.runs) == len(served) == 4 * count
    assert {fire for _, fire in served} == {0, 10, 20, 30}


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_nothing_starts_early_on_a_real_loop(real_world: Any, until: Any, factory: Callable[[], Any]) -> None:
    """Loops round to milliseconds, one up, the other down; a start is late by a little or by nothing."""

    async def body(ctx: Any) -> None:
        await asyncio.sleep(0)

    async def story(w: Any) -> None:
        for number in range(30):
            w.scheduler.upsert(w.task(body, Every(seconds=0.0507 + number / 1000), name=f"a/{number}"))
        await until(lambda: len(w.watcher.runs) > 200, "two hundred runs")

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(real_world.live(story))
    assert min(run.lateness for run in real_world.watcher.runs) >= -0.0001


@pytest.mark.parametrize("limit", [0, 1, 5])
def test_history_is_bounded(world: Any, limit: int) -> None:
    """The last runs are kept, the newest first in the status, as many as the task says."""

    async def body(ctx: Any) -> None:
        if ctx.scheduled_for % 40:
            raise ValueError(f"broken at {world.now:g}")

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Every(seconds=20), history_limit=limit))
        await asyncio.sleep(190)
        await w.scheduler.drain(0)

    world.run(story)
    history = world.sink.shown[-1][1]["history"]
    newest_first = ["Failed", "Succeeded", "Failed", "Succeeded", "Failed"][:limit]
    assert [run["outcome"] for run in history] == newest_first
    assert [run.get("message") for run in history[:1]] == ["ValueError: broken at 180"][:limit]


def test_a_run_leaves_nothing_for_the_garbage_collector(world: Any) -> None:
    """Ten thousand runs a second must not make work for it: what ended is freed at once."""

    async def body(ctx: Any) -> None:
        await asyncio.sleep(0.001)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Every(seconds=1)))
        await asyncio.sleep(10)
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        await asyncio.sleep(50)
        gc.collect()

    try:
        world.run(story)
    finally:
        gc.set_debug(0)
        gc.enable()
        left = [thing for thing in gc.garbage if type(thing).__module__.startswith("background_tasks")]
        gc.garbage.clear()
    assert (left, world.watcher.outcomes().count(Outcome.SUCCEEDED)) == ([], 60)


def test_a_waiting_task_is_small() -> None:
    """A record has room for what it needs, and none for more."""
    assert Armed.__dictoffset__ == 0
    assert len(Armed.__slots__) <= 8


def test_the_collector_is_told_to_come_less_often() -> None:
    """A worker that knows its tasks freezes them and spaces out full visits."""
    before = gc.get_threshold()
    try:
        keep_pauses_short()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[2] > before[2]
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
