"""Slots come and go: nothing of a slot runs here before its past was read, nor after it was given up."""

import asyncio
from typing import Any

import pytest

from background_tasks.authoring import current_run
from background_tasks.domain.model import Every, Fence, Guarantee, Interval, Outcome, Past, RunPolicy, TaskUid
from background_tasks.domain.slots import slot_of
from background_tasks.engine.views import State
from background_tasks.errors import NotLeader

IT = TaskUid("default/it")
SLOT = slot_of(None, IT, 16)


def fence(epoch: int = 1) -> Fence:
    """Give a fence of the task's slot."""
    return Fence(realm="r", slot=SLOT, epoch=epoch)


def gain(world: Any, epoch: int = 1) -> None:
    """Hold the slot, and tell the scheduler."""
    world.holder.fences[SLOT] = fence(epoch)
    world.scheduler.gained(SLOT, fence(epoch))


class Work:
    """A coroutine that takes ten seconds and notes its starts and fences."""

    def __init__(self, world: Any, seconds: float = 10) -> None:
        self.world, self.seconds = world, seconds
        self.starts: list[float] = []
        self.fences: list[Fence | None] = []

    async def __call__(self, ctx: Any) -> None:
        """Work."""
        self.starts.append(self.world.now)
        self.fences.append(ctx.fence)
        await asyncio.sleep(self.seconds)


def test_a_singleton_starts_only_while_its_slot_is_held(world: Any) -> None:
    """Before the slot is gained nothing runs; then it runs under the slot's fence, and says so in its record."""
    work = Work(world)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(work, Interval(seconds=60)))
        await asyncio.sleep(50)
        assert w.scheduler.tasks()[0].state is State.ELSEWHERE
        gain(w)
        await asyncio.sleep(20)

    world.run(story, holdings=world.holder)
    assert (work.starts, work.fences, world.ledger.runs[0].fence) == ([50], [fence()], fence())


def test_every_worker_needs_no_slot(world: Any) -> None:
    """EveryWorker tasks run without a slot, a fence, or anybody else's past."""
    work = Work(world)
    world.ledger.pasts[IT] = Past(ended_at=world.began_at, fired_at=world.began_at)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(work, Interval(seconds=60), run_policy=RunPolicy.EVERY_WORKER))
        await asyncio.sleep(50)

    world.run(story, holdings=world.holder)
    assert (work.starts, work.fences) == ([0], [None])


def test_a_slot_that_cannot_be_shown_to_be_held_starts_nothing(world: Any) -> None:
    """An overdue renewal holds starts back although the slot was never taken away; it goes on when it holds again."""
    work = Work(world)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(work, Interval(seconds=60), initial_delay=5))
        gain(w)
        del w.holder.fences[SLOT]
        await asyncio.sleep(20)
        assert work.starts == []
        w.holder.fences[SLOT] = fence()
        await asyncio.sleep(20)

    world.run(story, holdings=world.holder)
    assert len(work.starts) == 1


def test_nothing_starts_before_its_past_was_read(world: Any) -> None:
    """While the ledger is away a gained slot rests; nothing that was served is served again."""
    work = Work(world)
    world.ledger.pasts[IT] = Past(fired_at=world.began_at - 10, ended_at=world.began_at - 10)
    world.ledger.away = True

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(work, Interval(seconds=100)))
        gain(w)
        await asyncio.sleep(60)
        assert w.scheduler.tasks()[0].state is State.LOADING
        w.ledger.away = False
        await asyncio.sleep(60)

    world.run(story, holdings=world.holder)
    assert work.starts == [90]


def test_a_surrendered_slot_lets_its_runs_end_and_writes_them(world: Any) -> None:
    """Surrender returns when nothing runs any more and the past is in the ledger for the next holder."""
    work = Work(world)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(work, Interval(seconds=60)))
        gain(w)
        await asyncio.sleep(4)
        await w.scheduler.surrender(SLOT, timeout=30)
        assert (w.now, w.ledger.pasts[IT].ended_at) == (10, w.began_at + 10)
        await asyncio.sleep(200)

    world.run(story, holdings=world.holder)
    assert (work.starts, world.watcher.outcomes()) == ([0], [Outcome.SUCCEEDED])


def test_a_surrendered_slot_cancels_what_takes_too_long_and_leaves_its_fire_time_to_the_next(world: Any) -> None:
    """The run is cancelled at the timeout; the next holder finds the fire time unserved."""
    work = Work(world, seconds=1000)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(work, Interval(seconds=5000)))
        gain(w)
        await asyncio.sleep(4)
        await w.scheduler.surrender(SLOT, timeout=30)
        assert w.now == 34
        gain(w, epoch=3)
        await asyncio.sleep(1)

    world.run(story, holdings=world.holder)
    assert (work.starts, world.watcher.outcomes()[0]) == ([0, 34], Outcome.CANCELLED)


def test_an_at_most_once_run_that_was_cut_short_is_not_done_again(world: Any) -> None:
    """Its claim stands, whoever holds the slot."""
    work = Work(world, seconds=1000)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(work, Every(seconds=100), guarantee=Guarantee.AT_MOST_ONCE))
        gain(w)
        await asyncio.sleep(4)
        await w.scheduler.surrender(SLOT, timeout=0)
        gain(w, epoch=2)
        await asyncio.sleep(100)

    world.run(story, holdings=world.holder)
    assert work.starts == [0, 100]


def test_a_lost_slot_cancels_its_runs_at_once(world: Any) -> None:
    """They end as superseded; `stopped` returns when they have stopped; a verification fails meanwhile."""
    verified: list[str] = []

    async def body(ctx: Any) -> None:
        await ctx.verify_leadership()
        try:
            await asyncio.sleep(1000)
        finally:
            with pytest.raises(NotLeader):
                await ctx.verify_leadership()
            verified.append("refused")
            await asyncio.sleep(3)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Interval(seconds=60)))
        gain(w)
        await asyncio.sleep(4)
        w.scheduler.lost(SLOT, "renewal overdue")
        await w.scheduler.stopped(SLOT)
        assert w.now == 7
        await asyncio.sleep(100)

    world.run(story, holdings=world.holder)
    (run,) = world.watcher.runs
    assert (run.outcome, run.message, verified) == (Outcome.SUPERSEDED, "renewal overdue", ["refused"])
    assert current_run() is None


def test_a_newer_fence_in_the_ledger_stops_the_slot(world: Any) -> None:
    """Whoever learns from the ledger that it was replaced tells so, and starts nothing until it gains the slot anew."""
    work = Work(world, seconds=1)
    refused: list[Fence] = []

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(work, Interval(seconds=60)))
        gain(w)
        await asyncio.sleep(61.5)
        w.ledger.newest_epoch = 2
        await asyncio.sleep(300)
        gain(w, epoch=3)
        await asyncio.sleep(1)

    world.run(story, holdings=world.holder, refused=refused.append)
    assert (work.starts, refused) == ([0, 61, 361.5], [fence()])


def test_a_run_that_a_dead_worker_left_is_told_as_lost_and_done_again(world: Any) -> None:
    """The next holder finds a start without an end: the run counts as a failure and its fire time is served."""
    work = Work(world)
    begun = world.began_at - 500
    world.ledger.pasts[IT] = Past(fired_at=begun - 3600, ended_at=begun - 3600, started_at=begun)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(work, Interval(seconds=3600)))
        gain(w)
        await asyncio.sleep(15)

    world.run(story, holdings=world.holder)
    assert [(run.outcome, run.scheduled_for) for run in world.ledger.runs] == [
        (Outcome.LOST, begun),
        (Outcome.SUCCEEDED, begun),
    ]
    assert (work.starts, world.ledger.runs[0].started_at) == ([0], begun)


def test_an_answer_for_an_earlier_hold_is_not_believed(world: Any) -> None:
    """A slot that was lost and gained again waits for what was read under its new fence."""
    work = Work(world)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(work, Interval(seconds=100)))
        gain(w)
        w.scheduler.lost(SLOT, "gone")
        w.ledger.pasts[IT] = Past(fired_at=w.began_at - 40, ended_at=w.began_at - 40)
        gain(w, epoch=3)
        await asyncio.sleep(70)

    world.run(story, holdings=world.holder)
    assert work.starts == [60]


def renew(world: Any, number: int = 1) -> None:
    """Lose the slot and gain it in a new realm, with a ledger that knows nothing any more."""
    world.scheduler.lost(SLOT, "a new realm")
    world.ledger.pasts.clear()
    world.holder.fences[SLOT] = Fence(realm=f"realm {number}", slot=SLOT, epoch=1)
    world.scheduler.gained(SLOT, world.holder.fences[SLOT])


def test_a_ledger_that_was_lost_makes_no_fire_time_due_again(world: Any) -> None:
    """Who served a task itself goes on from what it knows; the grid's last fire time is not served twice."""
    work = Work(world, seconds=1)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(work, Every(seconds=100)))
        gain(w)
        await asyncio.sleep(150)
        renew(w)
        await asyncio.sleep(60)

    world.run(story, holdings=world.holder)
    assert work.starts == [0, 100, 200]


def test_what_another_worker_served_before_the_ledger_was_lost_is_not_due_again(world: Any) -> None:
    """A worker that gave the task away takes what was due before the loss for served."""
    work = Work(world, seconds=1)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(work, Every(seconds=100)))
        gain(w)
        await asyncio.sleep(50)
        await w.scheduler.surrender(SLOT, 0)
        other = SLOT + 1 if SLOT < 15 else 0
        w.scheduler.gained(other, Fence(realm="r", slot=other, epoch=1))
        await asyncio.sleep(100)
        w.scheduler.lost(other, "a new realm")
        await asyncio.sleep(40)
        renew(w)
        await asyncio.sleep(60)

    world.run(story, holdings=world.holder)
    assert work.starts == [0, 200]


def test_a_run_cut_short_when_the_ledger_was_lost_is_done_again(world: Any) -> None:
    """Its fire time was not served, and the worker that was cut short knows it."""
    work = Work(world, seconds=10)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(work, Every(seconds=100)))
        gain(w)
        await asyncio.sleep(105)
        w.scheduler.lost(SLOT, "a new realm")
        await w.scheduler.stopped(SLOT)
        renew(w)
        await asyncio.sleep(20)

    world.run(story, holdings=world.holder)
    assert work.starts == [0, 100, 105]
