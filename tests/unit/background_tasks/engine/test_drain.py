"""The end of a worker: nothing starts, runs end or are cancelled, everything is written, nothing is left."""

import asyncio
from typing import Any

import pytest

from background_tasks.domain.model import Every, Interval, Outcome, Overlap, TaskUid
from background_tasks.testing.virtual_time import VirtualTime

IT = TaskUid("default/it")


class Life:
    """A worker whose one run takes so long, and the time at which it had ended."""

    def __init__(self, world: Any, seconds: float) -> None:
        self.world, self.seconds = world, seconds
        self.starts: list[float] = []
        self.ended_at: float | None = None

    async def __call__(self, ctx: Any) -> None:
        """Work."""
        self.starts.append(self.world.now)
        await asyncio.sleep(self.seconds)

    def run(self, *drains: tuple[float, float]) -> tuple[str, ...]:
        """Drain at these times with these timeouts; return what was stuck."""
        return self.world.clock.run(self._run(drains))  # type: ignore[no-any-return]

    async def _run(self, drains: tuple[tuple[float, float], ...]) -> tuple[str, ...]:
        scheduler = self.world.make()
        stuck: list[tuple[str, ...]] = []

        async def drain(at: float, patience: float) -> None:
            await asyncio.sleep(at)
            stuck.append(await scheduler.drain(patience))

        async with asyncio.TaskGroup() as group:
            group.create_task(scheduler.run()).add_done_callback(self._done)
            scheduler.upsert(self.world.task(self, Every(seconds=30), overlap=Overlap.QUEUE))
            for at, patience in drains:
                group.create_task(drain(at, patience))
        return stuck[-1]

    def _done(self, _: object) -> None:
        self.ended_at = self.world.now


@pytest.mark.parametrize(
    ("seconds", "drains", "ended_at", "outcome"),
    [
        pytest.param(20, [(10, 60)], 20, Outcome.SUCCEEDED, id="runs may end"),
        pytest.param(1000, [(10, 60)], 70, Outcome.CANCELLED, id="what takes too long is cancelled"),
        pytest.param(1000, [(10, 60), (25, 60)], 25, Outcome.CANCELLED, id="a second call cancels at once"),
        pytest.param(1000, [(10, 0)], 10, Outcome.CANCELLED, id="no patience at all"),
    ],
)
def test_drain(
    world: Any, seconds: float, drains: list[tuple[float, float]], ended_at: float, outcome: Outcome
) -> None:
    """The worker ends when its runs have; queued and due fire times are left to others."""
    life = Life(world, seconds)
    stuck = life.run(*drains)
    assert (life.starts, life.ended_at, world.watcher.outcomes(), stuck) == ([0], ended_at, [outcome], ())


def test_a_drained_worker_has_written_what_it_knows(world: Any) -> None:
    """Ledger and status have the last run when the drain returns."""
    life = Life(world, 20)
    life.run((10, 60))
    assert [run.outcome for run in world.ledger.runs] == [Outcome.SUCCEEDED]
    assert world.sink.shown[-1][1]["lastRun"]["outcome"] == "Succeeded"


def test_a_ledger_that_stays_away_does_not_hold_the_end_up_for_ever(world: Any) -> None:
    """What cannot be written within a few seconds is left: it may be run again."""
    life = Life(world, 20)

    async def leave() -> None:
        await asyncio.sleep(5)
        world.ledger.away = True

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(leave())
            group.create_task(life._run(((10, 60),)))

    world.clock.run(both())
    assert (life.ended_at, world.ledger.runs) == (25, [])


def test_a_run_that_ignores_its_cancellation_is_named(world: Any) -> None:
    """The drain returns and names it; the worker then ends its process without releasing the slot."""

    async def story(w: Any) -> None:
        released = asyncio.Event()

        async def deaf(ctx: Any) -> None:
            while not released.is_set():
                try:
                    await released.wait()
                except asyncio.CancelledError:
                    continue

        w.scheduler.upsert(w.task(deaf, Interval(seconds=60)))
        await asyncio.sleep(1)
        assert await w.scheduler.drain(5) == ("w1-1",)
        released.set()

    world.run(story)
    assert world.watcher.outcomes() == [Outcome.CANCELLED]


def test_cancelling_the_scheduler_cancels_its_runs_and_waits_for_them(virtual_time: VirtualTime, world: Any) -> None:
    """No run outlives `run()`, not even by the time of its cleanup; it is told as cancelled."""
    ends: list[float] = []

    async def body(ctx: Any) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(3)
            ends.append(virtual_time.now)

    async def story() -> None:
        scheduler = world.make()
        async with asyncio.TaskGroup() as group:
            life = group.create_task(scheduler.run())
            scheduler.upsert(world.task(body, Interval(seconds=60)))
            await asyncio.sleep(10)
            life.cancel()
        assert (virtual_time.now, len(asyncio.all_tasks())) == (13, 1)

    virtual_time.run(story())
    assert (ends, world.watcher.outcomes()) == ([13], [Outcome.CANCELLED])


def test_an_error_of_the_engine_itself_ends_the_worker_loudly(world: Any) -> None:
    """A broken port is no task's failure: `run` raises instead of going quiet."""

    class Broken(Exception):
        """A bug."""

    def broken(*_: object) -> None:
        raise Broken

    async def body(ctx: Any) -> None:
        await asyncio.sleep(1)

    async def story() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        scheduler = world.make()
        world.watcher.ended = broken
        scheduler.upsert(world.task(body, Interval(seconds=60)))
        with pytest.raises(ExceptionGroup) as raised:
            await scheduler.run()
        assert raised.group_contains(Broken)

    world.clock.run(story())
