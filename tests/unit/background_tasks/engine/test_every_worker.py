"""Tasks that run on every worker: their past is the worker's own and begins with it; their runs are told to all."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from background_tasks.domain.model import Cadence, Every, Interval, Past, RunPolicy, Switches, Task, TaskUid
from background_tasks.ports import Synced, Upserted

IT = TaskUid("default/it")


class Lives:
    """Workers one after the other, 100 s each, with the task's declaration; starts are noted."""

    def __init__(self, world: Any, cadence: Cadence) -> None:
        self.world = world
        self.starts: list[float] = []
        self.task: Task = world.task(
            self, cadence, run_policy=RunPolicy.EVERY_WORKER, switches=Switches(run_now="before")
        )

    async def __call__(self, ctx: Any) -> None:
        """Work."""
        self.starts.append(self.world.now)

    async def live(self, *then: Task) -> None:
        """Follow a source that has the task, and tells these changes 10 s later."""
        scheduler = self.world.make()
        async with asyncio.TaskGroup() as group:
            group.create_task(scheduler.run())
            await scheduler.follow(self)
            await asyncio.sleep(10)
            for task in then:
                scheduler.upsert(task)
            await asyncio.sleep(90)
            await scheduler.drain(5)

    async def watch(self) -> Any:
        """Tell what exists."""
        yield Upserted(self.task)
        yield Synced()


@pytest.mark.parametrize("cadence", [Every(seconds=86400), Interval(seconds=86400)], ids=["every", "interval"])
def test_a_restarted_worker_repeats_no_extra_run(world: Any, cadence: Cadence) -> None:
    """A value that was there before it is served; grids are not caught up, an interval begins with each worker."""
    lives = Lives(world, cadence)

    async def story() -> None:
        for _ in range(3):
            await lives.live()

    world.clock.run(story())
    assert lives.starts == ([0] if isinstance(cadence, Every) else [0, 100, 200])


def test_a_value_that_changes_is_an_extra_run(world: Any) -> None:
    """On a worker that was there when it changed, also for a task that is new."""
    lives = Lives(world, Every(seconds=86400))
    changed = replace(lives.task, switches=Switches(run_now="after"))
    new = replace(lives.task, uid=TaskUid("default/new"), created_at=world.began_at + 10)
    world.clock.run(lives.live(changed, new))
    assert lives.starts == [0, 10, 10]


def test_runs_are_told_and_pasts_are_not_shared(world: Any) -> None:
    """Workers would overwrite one another's: neither starts, ends nor decisions change what the ledger remembers."""
    lives = Lives(world, Every(seconds=60))
    shared = world.ledger.pasts[IT] = Past(failures=7)
    paused = replace(lives.task, switches=Switches(run_now="before", suspend=True))
    world.clock.run(lives.live(paused, lives.task))
    assert len(world.ledger.runs) == len(lives.starts) > 1
    assert world.ledger.pasts == {IT: shared}
