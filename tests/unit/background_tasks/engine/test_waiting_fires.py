"""Fire times that wait, for a run or for a place in a group, are left to the next holder when they may not start."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from background_tasks.domain.model import Every, Fence, Missed, MissedPolicy, Overlap, Task, TaskUid
from background_tasks.domain.slots import slot_of
from background_tasks.ports import Refusal

IT = TaskUid("default/it")


class Work:
    """A task of 90 s, due each minute, that queues; its starts and fire times."""

    def __init__(self, world: Any, group: str | None = None) -> None:
        self.world, self.slot = world, slot_of(group, IT, 16)
        self.starts: list[tuple[float, float]] = []
        missed = Missed(policy=MissedPolicy.ALL, limit=10)
        self.task: Task = world.task(self, Every(seconds=60), overlap=Overlap.QUEUE, missed=missed, group=group)

    async def __call__(self, ctx: Any) -> None:
        """Work."""
        self.starts.append((self.world.now, ctx.scheduled_for - self.world.began_at))
        await asyncio.sleep(90)

    def gain(self, epoch: int) -> None:
        """Hold the slot, and tell the scheduler."""
        self.world.holder.fences[self.slot] = Fence(realm="r", slot=self.slot, epoch=epoch)
        self.world.scheduler.gained(self.slot, self.world.holder.fences[self.slot])


@pytest.mark.parametrize(
    ("patience", "starts"),
    [
        pytest.param(60, [(0, 0), (90, 60)], id="the run before it ended"),
        pytest.param(0, [(0, 0), (70, 0)], id="the run before it was cut short"),
    ],
)
def test_what_was_queued_is_served_by_the_next_holder(
    world: Any, patience: float, starts: list[tuple[float, float]]
) -> None:
    """It was not begun: the ledger says so."""
    work = Work(world)

    async def story(w: Any) -> None:
        w.scheduler.upsert(work.task)
        work.gain(1)
        await asyncio.sleep(70)
        await w.scheduler.surrender(work.slot, patience)
        work.gain(2)
        await asyncio.sleep(20)

    world.run(story, holdings=world.holder)
    assert work.starts == starts


def test_what_was_queued_is_left_by_a_drain(world: Any) -> None:
    """The next worker finds it unserved."""
    work = Work(world)

    async def story(w: Any) -> None:
        w.scheduler.upsert(work.task)
        await asyncio.sleep(70)
        await w.scheduler.drain(60)

    world.run(story)
    assert world.ledger.pasts[IT].fired_at == world.began_at


def test_what_waited_for_its_group_is_served_when_the_slot_is_regained(world: Any) -> None:
    """The place was taken until the slot was lost: this worker has to know that it did not begin."""
    work = Work(world, "g")

    async def long(ctx: Any) -> None:
        await asyncio.sleep(1000)

    other = world.task(long, Every(seconds=3600), name="a/other", group="g")

    async def story(w: Any) -> None:
        w.scheduler.upsert(other)
        w.scheduler.upsert(work.task)
        work.gain(1)
        await asyncio.sleep(10)
        w.scheduler.lost(work.slot, "renewal overdue")
        w.scheduler.remove(other.uid)
        work.gain(2)
        await asyncio.sleep(20)

    world.run(story, holdings=world.holder)
    assert work.starts == [(10, 0)]


def test_a_queued_fire_time_that_was_started_and_cut_short_is_served_again(world: Any) -> None:
    """Having waited changes nothing about that."""
    work = Work(world)

    async def story(w: Any) -> None:
        w.scheduler.upsert(work.task)
        work.gain(1)
        await asyncio.sleep(100)
        await w.scheduler.surrender(work.slot, 0)
        work.gain(2)
        await asyncio.sleep(10)

    world.run(story, holdings=world.holder)
    assert work.starts == [(0, 0), (90, 60), (100, 60)]


def test_a_queued_fire_time_of_a_task_that_is_refused_meanwhile_stays_unserved(world: Any) -> None:
    """The worker goes on, and so does the task once it can."""
    work = Work(world)
    refusal = Refusal(where="default/it", field="spec.task", value="it", message="no service", uid=IT)

    async def story(w: Any) -> None:
        w.scheduler.upsert(work.task)
        await asyncio.sleep(70)
        binding, w.bodies["default/it"] = w.bodies["default/it"], refusal
        w.scheduler.upsert(replace(work.task, generation=2))
        await asyncio.sleep(30)
        w.bodies["default/it"] = binding
        w.scheduler.upsert(work.task)
        await asyncio.sleep(10)

    world.run(story)
    assert work.starts == [(0, 0), (100, 60)]
