"""A task that is moved, or removed and made again, while it runs is never run twice at once."""

import asyncio
from typing import Any

import pytest

from background_tasks.domain.model import Fence, Interval, Outcome, Past, Retry, RunPolicy, Task, TaskUid
from background_tasks.domain.slots import slot_of

IT = TaskUid("default/it")
OLD, NEW = slot_of(None, IT, 16), slot_of("g", IT, 16)


class Work:
    """A coroutine that takes 100 s, and 5 s to clean up."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.spans: list[tuple[float, float]] = []

    def task(self, **policy: Any) -> Task:
        """Declare it."""
        declared: Task = self.world.task(self, Interval(seconds=600), **policy)
        return declared

    async def __call__(self, ctx: Any) -> None:
        """Work."""
        began = self.world.now
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            await asyncio.sleep(5)
            raise
        finally:
            self.spans.append((began, self.world.now))


def gain(world: Any, *slots: int) -> None:
    """Hold slots, and tell the scheduler."""
    for slot in slots:
        world.holder.fences[slot] = Fence(realm="r", slot=slot, epoch=1)
        world.scheduler.gained(slot, world.holder.fences[slot])


@pytest.mark.parametrize(
    ("change", "spans"),
    [
        pytest.param({"group": "g"}, [(0, 8), (8, 108)], id="its group changed"),
        pytest.param({"run_policy": RunPolicy.EVERY_WORKER}, [(0, 8), (8, 108)], id="it runs on every worker now"),
    ],
)
def test_a_run_ends_when_its_task_moves_to_another_slot(
    world: Any, change: dict[str, Any], spans: list[tuple[float, float]]
) -> None:
    """The new slot is ours too: the run is cut short, told, and done again when it has ended."""
    work = Work(world)

    async def story(w: Any) -> None:
        w.scheduler.upsert(work.task())
        gain(w, OLD, NEW)
        await asyncio.sleep(3)
        w.scheduler.upsert(work.task(**change))
        await asyncio.sleep(150)

    world.run(story, holdings=world.holder)
    assert (work.spans, [run.outcome for run in world.ledger.runs]) == (spans, [Outcome.CANCELLED, Outcome.SUCCEEDED])


def test_a_run_ends_when_its_task_moves_to_a_slot_of_somebody_else(world: Any) -> None:
    """It is told, and what the other worker remembers of the task stays as it is; the old slot can be given up."""
    work = Work(world)

    async def story(w: Any) -> None:
        w.scheduler.upsert(work.task())
        gain(w, OLD)
        await asyncio.sleep(3)
        w.scheduler.upsert(work.task(group="g"))
        theirs = w.ledger.pasts[IT] = Past(failures=7)
        await w.scheduler.surrender(OLD, 60)
        assert (w.now, w.ledger.pasts[IT]) == (8, theirs)

    world.run(story, holdings=world.holder)
    assert (work.spans, [run.outcome for run in world.ledger.runs]) == ([(0, 8)], [Outcome.CANCELLED])


def test_a_lost_slot_stops_the_runs_that_began_under_it(world: Any) -> None:
    """Whatever slot their task belongs to by now."""
    work = Work(world)

    async def story(w: Any) -> None:
        w.scheduler.upsert(work.task())
        gain(w, OLD)
        await asyncio.sleep(3)
        w.scheduler.upsert(work.task(group="g"))
        w.scheduler.lost(OLD, "renewal overdue")
        await w.scheduler.stopped(OLD)

    world.run(story, holdings=world.holder)
    assert world.watcher.outcomes() == [Outcome.SUPERSEDED]


@pytest.mark.parametrize("policy", [{}, {"run_policy": RunPolicy.EVERY_WORKER}], ids=["singleton", "every worker"])
def test_a_task_that_is_removed_and_made_again_waits_for_its_old_run(world: Any, policy: dict[str, Any]) -> None:
    """One that cleans up still runs; and what was remembered of the old task is not the new one's."""
    work = Work(world)

    async def story(w: Any) -> None:
        w.scheduler.upsert(work.task(**policy))
        gain(w, OLD)
        await asyncio.sleep(3)
        for _ in range(2):
            w.scheduler.remove(IT)
            w.scheduler.upsert(work.task(**policy))
        gain(w, OLD)
        await asyncio.sleep(150)

    world.run(story, holdings=world.holder)
    assert work.spans == [(0, 8), (8, 108)]


def test_a_stuck_run_that_ends_at_last_begins_no_other_attempt(world: Any) -> None:
    """It was told as ended long before; nobody would record what follows."""
    starts: list[float] = []

    async def deaf(ctx: Any) -> None:
        starts.append(world.now)
        while world.now < 40:
            try:
                await asyncio.sleep(40 - world.now)
            except asyncio.CancelledError:
                continue
        raise ValueError("at last")

    async def story(w: Any) -> None:
        retry = Retry(attempts=3, initial_backoff=1.0)
        w.scheduler.upsert(w.task(deaf, Interval(seconds=600), timeout=5.0, retry=retry))
        await asyncio.sleep(120)

    world.run(story)
    assert (starts, world.watcher.outcomes()) == ([0], [Outcome.TIMED_OUT])
