"""What people are shown, and how often: conditions at once, long runs each, short runs now and then."""

import asyncio
from typing import Any

import pytest

from background_tasks.domain.model import Breaker, Cadence, Every, Interval, Pause, Switches, TaskUid
from background_tasks.engine.publishing import QUIET_S

IT = TaskUid("default/it")


async def quick(ctx: Any) -> None:
    """Take a moment."""
    await asyncio.sleep(0.001)


def conditions(status: Any) -> dict[str, tuple[str, str]]:
    """Read conditions as type -> (status, reason)."""
    return {item["type"]: (item["status"], item["reason"]) for item in status["conditions"]}


def test_each_run_of_a_long_task_is_shown(world: Any) -> None:
    """The status has the run within the second."""

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(quick, Interval(seconds=60)))
        await asyncio.sleep(130)

    world.run(story)
    ends = [status["lastRun"]["endedAt"] for _, status in world.sink.shown if "lastRun" in status]
    assert len(ends) == len(set(ends)) == 3


def test_a_short_task_is_shown_now_and_then(world: Any) -> None:
    """A task that runs each second costs a write in thirty."""

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(quick, Every(seconds=1)))
        await asyncio.sleep(299)

    world.run(story)
    assert 9 <= len(world.sink.shown) <= 299 / QUIET_S + 3


def test_a_condition_that_changes_is_shown_at_once(world: Any) -> None:
    """A breaker that opens, and a suspension, do not wait for their turn."""
    seen: list[dict[str, tuple[str, str]]] = []

    async def fails(ctx: Any) -> None:
        raise ValueError("broken")

    async def story(w: Any) -> None:
        breaker = Breaker(failures=3, cooldown=600)
        w.scheduler.upsert(w.task(fails, Every(seconds=1), breaker=breaker))
        await asyncio.sleep(2.5)
        seen.append(conditions(w.sink.shown[-1][1]))
        w.scheduler.upsert(w.task(fails, Every(seconds=1), breaker=breaker, switches=Switches(suspend=True)))
        await asyncio.sleep(0.1)
        seen.append(conditions(w.sink.shown[-1][1]))

    world.run(story)
    assert seen[0] == {"Ready": ("False", "BreakerOpen"), "BreakerClosed": ("False", "Open")}
    assert seen[1]["Ready"] == ("False", "Suspended")


@pytest.mark.parametrize("cadence", [Interval(seconds=3600), Every(seconds=1)], ids=["rare", "frequent"])
def test_the_end_of_a_pause_is_shown_at_once(cadence: Cadence, world: Any) -> None:
    """A pause ends at its instant; nobody waits for the next run, or for its turn, to see that it did."""
    seen: list[tuple[str, str]] = []

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(quick, cadence))
        await asyncio.sleep(10)
        pause = Pause(until=w.clock.wall() + 20, by="ada")
        w.scheduler.upsert(w.task(quick, cadence, switches=Switches(pause=pause)))
        for seconds in (19, 1.1):
            await asyncio.sleep(seconds)
            seen.append(conditions(w.sink.shown[-1][1])["Ready"])

    world.run(story)
    assert seen == [("False", "Paused"), ("True", "Armed")]


def test_a_pause_that_ends_while_it_is_shown_is_shown_again(world: Any) -> None:
    """The status was built just before the end, and written just after it."""
    publish = world.sink.publish

    async def slowly(uid: TaskUid, status: Any) -> None:
        world.clock.step_wall(0.002)
        await publish(uid, status)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(quick, Interval(seconds=3600)))
        await asyncio.sleep(1)
        end = w.clock.wall() + 20
        w.scheduler.upsert(w.task(quick, Interval(seconds=3600), switches=Switches(pause=Pause(until=end))))
        await asyncio.sleep(19.999)
        w.sink.publish = slowly
        w.scheduler.upsert(w.task(quick, Interval(seconds=3600), switches=Switches(pause=Pause(until=end, by="ada"))))
        await asyncio.sleep(1)

    world.run(story)
    assert conditions(world.sink.shown[-1][1])["Ready"] == ("True", "Armed")


def test_a_paused_task_that_is_removed_stays_away(world: Any) -> None:
    """Nothing is shown of it when its pause would have ended."""

    async def story(w: Any) -> None:
        switches = Switches(pause=Pause(until=w.clock.wall() + 20))
        task = w.task(quick, Every(seconds=1), switches=switches)
        w.scheduler.upsert(task)
        await asyncio.sleep(5)
        w.scheduler.remove(task.uid)
        w.sink.shown.clear()
        await asyncio.sleep(60)

    world.run(story)
    assert world.sink.shown == []


def test_a_condition_keeps_the_time_of_its_last_change(world: Any) -> None:
    """A task that is ready stays ready since then, however often it is shown."""

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(quick, Interval(seconds=60)))
        await asyncio.sleep(200)

    world.run(story)
    times = {status["conditions"][0]["lastTransitionTime"] for _, status in world.sink.shown[1:]}
    assert len(times) == 1


def test_the_last_state_is_shown_when_the_sink_is_back(world: Any) -> None:
    """States in between may be lost, the last one not."""

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(quick, Interval(seconds=60)))
        await asyncio.sleep(30)
        w.sink.away = True
        await asyncio.sleep(300)
        w.sink.away = False
        await asyncio.sleep(15)

    world.run(story)
    assert world.sink.shown[-1][1]["runs"]["succeeded"] == len(world.watcher.runs) == 6


def test_only_who_acts_for_a_task_shows_it(world: Any) -> None:
    """A worker that does not hold the slot leaves the status to the one that does."""

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(quick, Interval(seconds=60)))
        await asyncio.sleep(100)

    world.run(story, holdings=world.holder)
    assert world.sink.shown == []
