"""AtMostOnce: nothing is done twice, whoever dies when, and nothing is left out that was never begun."""

import asyncio
from typing import Any

from background_tasks.domain.model import Every, Fence, Guarantee, Outcome, RunPolicy, Switches, TaskUid
from background_tasks.domain.slots import slot_of

IT = TaskUid("default/it")
SLOT = slot_of(None, IT, 16)


def gain(world: Any, epoch: int = 1) -> None:
    """Hold the slot, and tell the scheduler."""
    world.holder.fences[SLOT] = Fence(realm="r", slot=SLOT, epoch=epoch)
    world.scheduler.gained(SLOT, world.holder.fences[SLOT])


class Work:
    """A coroutine that takes so long and notes its starts."""

    def __init__(self, world: Any, seconds: float) -> None:
        self.world, self.seconds = world, seconds
        self.starts: list[float] = []

    async def __call__(self, ctx: Any) -> None:
        """Work."""
        self.starts.append(self.world.now)
        await asyncio.sleep(self.seconds)


def test_an_extra_run_is_not_done_again_after_a_crash(world: Any) -> None:
    """That it was asked for and begun is in the ledger before it starts."""
    work = Work(world, 50)
    task = world.task(
        work,
        Every(seconds=3600),
        guarantee=Guarantee.AT_MOST_ONCE,
        switches=Switches(run_now="please"),
        initial_delay=1000,
    )

    async def story() -> None:
        for epoch in (1, 2):
            scheduler = world.make(holdings=world.holder)
            async with asyncio.TaskGroup() as group:
                life = group.create_task(scheduler.run())
                scheduler.upsert(task)
                gain(world, epoch)
                await asyncio.sleep(10)
                as_a_crash_leaves_it = dict(world.ledger.pasts)
                life.cancel()
            world.ledger.pasts = as_a_crash_leaves_it

    world.clock.run(story())
    assert work.starts == [0]
    assert [run.outcome for run in world.ledger.runs] == [Outcome.LOST]


def test_an_extra_run_waits_until_it_is_written(world: Any) -> None:
    """Its claim names an instant, which another process would not find again: the past has to be written as well."""
    work = Work(world, 1)
    claim = world.ledger.claim

    async def claimed(*args: Any) -> bool:
        answer: bool = await claim(*args)
        world.ledger.away = True
        return answer

    async def story(w: Any) -> None:
        w.ledger.claim = claimed
        w.scheduler.upsert(w.task(work, Every(seconds=3600), guarantee=Guarantee.AT_MOST_ONCE, initial_delay=3000.0))
        gain(w)
        await asyncio.sleep(1)
        w.scheduler.trigger(IT)
        await asyncio.sleep(60)
        assert work.starts == []
        w.ledger.away = False
        await asyncio.sleep(15)

    world.run(story, holdings=world.holder)
    assert len(work.starts) == 1


def test_a_fire_time_that_was_never_claimed_is_served_after_the_outage(world: Any) -> None:
    """The slot was lost while the claim waited for the ledger: nothing was begun, so it may be begun."""
    work = Work(world, 1)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(work, Every(seconds=86400), guarantee=Guarantee.AT_MOST_ONCE, initial_delay=86400))
        gain(w)
        await asyncio.sleep(86390)
        w.ledger.away = True
        await asyncio.sleep(20)
        w.holder.fences.clear()
        w.scheduler.lost(SLOT, "renewal overdue")
        await asyncio.sleep(20)
        w.ledger.away = False
        gain(w, epoch=2)
        await asyncio.sleep(3600)

    world.run(story, holdings=world.holder)
    assert [86430 <= start < 86460 for start in work.starts] == [True]
    assert [run.outcome for run in world.watcher.runs] == [Outcome.SUPERSEDED, Outcome.SUCCEEDED]


def test_every_worker_runs_its_own(world: Any) -> None:
    """A task that runs on every worker claims nothing from the others."""
    starts: list[str] = []

    async def body(ctx: Any) -> None:
        starts.append(ctx.run_id.split("-")[0])

    async def story() -> None:
        task = world.task(body, Every(seconds=10), guarantee=Guarantee.AT_MOST_ONCE, run_policy=RunPolicy.EVERY_WORKER)
        async with asyncio.TaskGroup() as group:
            lives = []
            for name in ("w1", "w2"):
                scheduler = world.make(worker=name)
                lives.append(group.create_task(scheduler.run()))
                scheduler.upsert(task)
            await asyncio.sleep(15)
            for life in lives:
                life.cancel()

    world.clock.run(story())
    assert starts == ["w1", "w2"] * 2
    assert world.ledger.claims == set()
