"""An outage of the ledger doubles nothing and invents no loss: what was not written yet counts."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from background_tasks.domain.model import Every, Fence, Interval, Missed, MissedPolicy, Outcome, Past, TaskUid
from background_tasks.domain.slots import slot_of
from background_tasks.engine.ledgering import LedgerWriter

IT = TaskUid("default/it")
SLOT = slot_of(None, IT, 16)


def gain(world: Any, epoch: int = 1) -> None:
    """Hold the slot, and tell the scheduler."""
    world.holder.fences[SLOT] = Fence(realm="r", slot=SLOT, epoch=epoch)
    world.scheduler.gained(SLOT, world.holder.fences[SLOT])


async def outage(world: Any, *, lost_after: float, back_after: float) -> None:
    """Have the ledger away; the slot is lost meanwhile, and gained anew when the ledger is back."""
    world.ledger.away = True
    await asyncio.sleep(lost_after)
    world.holder.fences.clear()
    world.scheduler.lost(SLOT, "renewal overdue")
    await world.scheduler.stopped(SLOT)
    await asyncio.sleep(back_after)
    world.ledger.away = False
    gain(world, epoch=2)


def test_a_run_that_ended_in_an_outage_is_neither_lost_nor_done_again(world: Any) -> None:
    """The worker that did it gains the slot anew: its own unwritten end counts more than what the ledger knows."""
    starts: list[float] = []

    async def body(ctx: Any) -> None:
        starts.append(world.now)
        await asyncio.sleep(2)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Interval(seconds=3600)))
        gain(w)
        await asyncio.sleep(1)
        await outage(w, lost_after=8, back_after=20)
        await asyncio.sleep(60)

    world.run(story, holdings=world.holder)
    assert (starts, [run.outcome for run in world.ledger.runs]) == ([0], [Outcome.SUCCEEDED])


def test_no_fire_time_is_served_twice_after_an_outage(world: Any) -> None:
    """What ran while nothing could be written is known; what was due while the slot was lost is caught up."""
    fires: list[float] = []

    async def body(ctx: Any) -> None:
        fires.append(ctx.scheduled_for - world.began_at)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Every(seconds=2), missed=Missed(policy=MissedPolicy.ALL, limit=20)))
        gain(w)
        await asyncio.sleep(5)
        await outage(w, lost_after=8, back_after=8)
        await asyncio.sleep(10.5)

    world.run(story, holdings=world.holder)
    assert Counter(fires) == Counter(range(0, 32, 2))


def test_a_slot_regained_under_a_run_waits_for_its_end(world: Any) -> None:
    """A run that cleans up is no run of a dead worker: the past is read when it has ended and is written."""
    starts: list[float] = []

    async def body(ctx: Any) -> None:
        starts.append(world.now)
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(5)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Interval(seconds=3600)))
        gain(w)
        await asyncio.sleep(10)
        w.scheduler.lost(SLOT, "renewal overdue")
        gain(w, epoch=2)
        await asyncio.sleep(10)
        assert [run.outcome for run in w.ledger.runs] == [Outcome.SUPERSEDED]

    world.run(story, holdings=world.holder)
    assert starts == [0, 15]


def test_a_slow_decision_does_not_undo_the_run_after_it(world: Any) -> None:
    """Decisions and runs of one task reach the ledger in their order."""
    starts: list[float] = []
    record, long_ago = world.ledger.record, world.began_at - 600

    async def body(ctx: Any) -> None:
        starts.append(world.now)
        await asyncio.sleep(1)

    async def slow(task: Any, past: Any, run: Any, **options: Any) -> None:
        await asyncio.sleep(3 if past.started_at == long_ago else 0)
        await record(task, past, run, **options)

    async def story(w: Any) -> None:
        w.ledger.record = slow
        w.ledger.pasts[IT] = Past(fired_at=long_ago, started_at=long_ago, ended_at=long_ago)
        w.scheduler.upsert(w.task(body, Every(seconds=60), missed=Missed(policy=MissedPolicy.ONCE)))
        gain(w)
        await asyncio.sleep(2)
        await w.scheduler.surrender(SLOT, 60)
        assert w.ledger.pasts[IT].fired_at == w.began_at
        gain(w, epoch=2)
        await asyncio.sleep(5)

    world.run(story, holdings=world.holder)
    assert starts == [0]


async def quick(ctx: Any) -> None:
    """Take a moment."""


@pytest.mark.parametrize("first", [False, True], ids=["it becomes weighty", "it becomes light"])
def test_the_notes_of_a_task_whose_weight_changes_keep_their_order(world: Any, first: bool) -> None:
    """Also when the older one is being written at that moment, and fails."""
    task = world.task(quick, Every(seconds=1))

    async def story() -> None:
        writer = LedgerWriter(world.ledger, world.clock, lambda *_: None)
        async with asyncio.TaskGroup() as group:
            works = [group.create_task(work()) for work in (writer.work_weighty, writer.work_light)]
            world.ledger.away = True
            writer.put(task, Past(failures=1), None, weighty=first)
            await asyncio.sleep(0.05)
            writer.put(task, Past(failures=2), None, weighty=not first)
            writer.put(world.task(quick, Every(seconds=1), name="a/b"), Past(), None, weighty=not first)
            world.ledger.away = False
            await writer.flush([IT])
            assert world.ledger.pasts[IT] == Past(failures=2)
            await writer.flush()
            for work in works:
                work.cancel()

    world.clock.run(story())
    assert world.ledger.pasts[IT] == Past(failures=2)


def test_runs_that_were_not_written_one_by_one_are_told(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    """With their number, once a minute at the most; the worker can show it too."""

    async def story(w: Any) -> None:
        for number in range(2000):
            w.scheduler.upsert(w.task(quick, Every(seconds=1), name=f"a/{number}"))
        await asyncio.sleep(100)
        assert w.scheduler.unwritten_runs > 100_000

    world.run(story)
    told = [line for line in caplog.messages if "not written to the ledger one by one" in line]
    assert len(told) == 2


def test_who_is_written_first_does_not_slow_the_others_down(world: Any) -> None:
    """Budgets do not hold until the last surrender and the drain are done."""

    async def story() -> None:
        writer = LedgerWriter(world.ledger, world.clock, lambda *_: None)
        for number in range(4000):
            writer.put(world.task(quick, Every(seconds=1), name=f"a/{number}"), Past(), None, weighty=False)
        async with asyncio.TaskGroup() as group:
            work = group.create_task(writer.work_light())
            group.create_task(writer.flush([TaskUid("a/0")]))
            await writer.flush()
            work.cancel()

    world.clock.run(story())
    assert (len(world.ledger.pasts), world.now < 1) == (4000, True)
