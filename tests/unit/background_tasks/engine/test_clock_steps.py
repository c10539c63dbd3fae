"""When somebody sets the clock: what hangs on it follows, what counts from the end of a run does not."""

import asyncio
from typing import Any

import pytest

from background_tasks.domain.model import Cron, Every, Interval
from background_tasks.engine.dispatch import CLOCK_CHECK_S


def starts_of(world: Any, cadence: Any, steps: list[tuple[float, float]], seconds: float) -> list[float]:
    """Run a task while the clock steps: (at, by); return loop times of its starts."""
    starts: list[float] = []

    async def body(ctx: Any) -> None:
        starts.append(world.now)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, cadence, initial_delay=1))
        for at, by in steps:
            await asyncio.sleep(at - w.now)
            w.clock.step_wall(by)
        await asyncio.sleep(seconds - w.now)

    world.run(story)
    return starts


@pytest.mark.parametrize("by", [-7200, -5, 5, 7200, 864000])
def test_an_interval_does_not_notice(world: Any, by: float) -> None:
    """Its runs are as far apart as ever, whichever way the clock goes, and so are those after them."""
    assert starts_of(world, Interval(seconds=100), [(50, by)], 350) == pytest.approx([1, 101, 201, 301], abs=1e-3)


def test_an_interval_is_not_late_because_the_clock_moved(world: Any) -> None:
    """Fire times are told in the new time of day."""
    starts_of(world, Interval(seconds=100), [(50, 7200)], 350)
    assert [round(run.lateness, 3) for run in world.watcher.runs] == [0, 0, 0, 0]


def test_a_grid_follows_the_clock_forward(world: Any) -> None:
    """After a step of 250 s the grid of 100 s has one run for what passed, at once, then keeps to the new time."""
    starts = starts_of(world, Every(seconds=100), [(50, 250)], 240)
    assert 50 <= starts[0] <= 50 + CLOCK_CHECK_S
    assert starts[1:] == pytest.approx([150])


def test_a_grid_does_not_serve_a_fire_time_twice_when_the_clock_goes_back(world: Any) -> None:
    """The fire times that come again were served."""
    starts = starts_of(world, Every(seconds=100), [(250, -120)], 600)
    assert starts == pytest.approx([100, 200, 420, 520])


def test_a_cron_follows_the_clock(world: Any) -> None:
    """A step to five minutes before its time brings the run forward."""
    starts = starts_of(world, Cron(expression="0 12 * * *"), [(10, 12 * 3600 - 310)], 600)
    assert starts == pytest.approx([310])


def test_two_steps_in_a_row_are_both_followed(world: Any) -> None:
    """The second comes before the first was worked off."""
    starts = starts_of(world, Cron(expression="0 12 * * *"), [(10, 3600), (10.001, 11 * 3600 - 310)], 600)
    assert starts == pytest.approx([310])


@pytest.mark.parametrize("by", [-0.01, 0.01])
def test_a_clock_that_only_drifts_makes_nothing_early(world: Any, by: float) -> None:
    """Small corrections are not steps; a fire time is still never served before it."""
    steps = [(float(at), by) for at in range(5, 45)]
    starts = starts_of(world, Every(seconds=100), steps, 250)
    assert starts == pytest.approx([100, 200], abs=0.5)
    assert all(-0.001 <= run.lateness < 0.5 for run in world.watcher.runs)
