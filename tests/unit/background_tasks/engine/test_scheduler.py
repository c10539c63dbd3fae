"""The scheduler: tasks run when they are due, change while others run on, and tell how they ended."""

import asyncio
from typing import Any

from background_tasks.domain.model import (
    Continuous,
    Cron,
    Every,
    Interval,
    OnStart,
    Outcome,
    Past,
    RunPolicy,
    SkipReason,
    Switches,
    TaskUid,
)
from background_tasks.engine.views import State
from background_tasks.ports import Refusal, RefusedDocument, Removed, SourceEvent, Synced, Upserted

IT = TaskUid("default/it")


class Body:
    """A coroutine that notes when it began and takes `seconds`; each result is an exception to raise or a value."""

    def __init__(self, world: Any, seconds: float = 0.0, results: tuple[object, ...] = ()) -> None:
        self.world, self.seconds, self.results = world, seconds, list(results)
        self.starts: list[float] = []

    async def __call__(self, ctx: Any) -> object:
        """Work."""
        self.starts.append(self.world.now)
        if self.seconds:
            await asyncio.sleep(self.seconds)
        result = self.results.pop(0) if self.results else None
        if isinstance(result, BaseException):
            raise result
        return result


def test_an_interval_counts_from_the_end_of_a_run(world: Any) -> None:
    """First after the initial delay from creation, then interval after each end."""
    body = Body(world, seconds=10)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Interval(seconds=60), initial_delay=5))
        await asyncio.sleep(300)

    world.run(story)
    assert body.starts == [5, 75, 145, 215, 285]


def test_a_grid_does_not_drift_however_long_a_run_takes(world: Any) -> None:
    """Fire times stay on multiples of the period since the epoch."""
    body = Body(world, seconds=3)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Every(seconds=20)))
        await asyncio.sleep(90)

    world.run(story)
    assert body.starts == [0, 20, 40, 60, 80]


def test_a_cron_fires_at_its_local_times(world: Any) -> None:
    """The virtual clock begins at midnight UTC, which is one o'clock in Berlin."""
    body = Body(world)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Cron(expression="30 1 * * *", zone="Europe/Berlin")))
        await asyncio.sleep(2 * 86400)

    world.run(story)
    assert body.starts == [1800, 1800 + 86400]


def test_a_continuous_task_starts_again_after_its_restart_delay(world: Any) -> None:
    """A long-lived coroutine that ends is started again."""
    body = Body(world, seconds=100)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Continuous(restart_delay=5)))
        await asyncio.sleep(250)

    world.run(story)
    assert body.starts == [0, 105, 210]


def test_an_on_start_task_runs_once(world: Any) -> None:
    """Once when the worker comes up, and not again while it is up."""
    body = Body(world)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, OnStart(cooldown=60), run_policy=RunPolicy.EVERY_WORKER))
        await asyncio.sleep(86400)

    world.run(story)
    assert body.starts == [0]


def test_a_failure_does_not_stop_the_schedule(world: Any) -> None:
    """The outcome is told, failures are counted, the next run comes at its time."""
    body = Body(world, results=(ValueError("broken"), ValueError("broken"), None))

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Interval(seconds=60)))
        await asyncio.sleep(100)
        assert w.scheduler.tasks()[0].failures == 2
        await asyncio.sleep(50)

    world.run(story)
    assert world.watcher.outcomes() == [Outcome.FAILED, Outcome.FAILED, Outcome.SUCCEEDED]
    assert world.watcher.runs[0].message == "ValueError: broken"
    assert world.scheduler.tasks()[0].failures == 0


def test_a_change_moves_one_task_and_no_neighbour(world: Any) -> None:
    """A new interval counts at once, from the end of the last run; neighbours keep their times."""
    changed, neighbour = Body(world), Body(world)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(changed, Interval(seconds=1000), name="a/changed"))
        w.scheduler.upsert(w.task(neighbour, Interval(seconds=70), name="a/neighbour"))
        await asyncio.sleep(50)
        w.scheduler.upsert(w.task(changed, Interval(seconds=60), name="a/changed"))
        await asyncio.sleep(100)

    world.run(story)
    assert (changed.starts, neighbour.starts) == ([0, 60, 120], [0, 70, 140])


def test_a_change_that_changes_nothing_moves_nothing(world: Any) -> None:
    """A source that tells a task again, as after a reconnect, does not disturb it."""
    body = Body(world)

    async def story(w: Any) -> None:
        for _ in range(10):
            w.scheduler.upsert(w.task(body, Interval(seconds=60)))
            await asyncio.sleep(10)

    world.run(story)
    assert body.starts == [0, 60]


def test_a_suspended_task_rests_and_goes_on_at_its_next_fire_time(world: Any) -> None:
    """Suspending takes it out of the timetable; resuming does not make up for what passed."""
    body = Body(world)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Every(seconds=100)))
        await asyncio.sleep(150)
        w.scheduler.upsert(w.task(body, Every(seconds=100), switches=Switches(suspend=True)))
        await asyncio.sleep(400)
        assert w.scheduler.tasks()[0].state is State.IDLE
        w.scheduler.upsert(w.task(body, Every(seconds=100)))
        await asyncio.sleep(200)

    world.run(story)
    assert body.starts == [0, 100, 600, 700]


def test_a_removed_task_is_cancelled_and_forgotten(world: Any) -> None:
    """Its run ends as cancelled, and nothing of it stays in ledger or status."""
    body = Body(world, seconds=1000)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Interval(seconds=60)))
        await asyncio.sleep(10)
        w.scheduler.remove(IT)
        await asyncio.sleep(100)

    world.run(story)
    assert (body.starts, world.watcher.outcomes()) == ([0], [Outcome.CANCELLED])
    assert (world.scheduler.tasks(), world.ledger.pasts, world.sink.withdrawn) == ([], {}, [IT])


def test_run_now_is_one_extra_run_that_moves_no_schedule(world: Any) -> None:
    """A new value of the annotation runs the task once more, also while it is suspended."""
    body = Body(world)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Every(seconds=100)))
        await asyncio.sleep(130)
        w.scheduler.upsert(w.task(body, Every(seconds=100), switches=Switches(run_now="a")))
        await asyncio.sleep(100)
        w.scheduler.upsert(w.task(body, Every(seconds=100), switches=Switches(run_now="a", suspend=True)))
        await asyncio.sleep(100)
        w.scheduler.trigger(IT)
        await asyncio.sleep(100)

    world.run(story)
    assert body.starts == [0, 100, 130, 200, 330]


def test_run_now_while_a_run_goes_on_follows_it(world: Any) -> None:
    """One after the other: the extra run begins when the running one has ended."""
    body = Body(world, seconds=50)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Interval(seconds=1000)))
        await asyncio.sleep(10)
        w.scheduler.trigger(IT)
        await asyncio.sleep(100)

    world.run(story)
    assert body.starts == [0, 50]


def test_a_task_that_cannot_be_bound_is_shown_with_its_reason(world: Any) -> None:
    """It never runs, it stays in the list, and its status says why."""
    refusal = Refusal(
        where="x", field="spec.task", value="nope", message="no such task; see `bgtasks get`", reason="UnknownTask"
    )

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(refusal, Interval(seconds=60)))
        await asyncio.sleep(100)

    world.run(story)
    assert [(view.state, view.refusal) for view in world.scheduler.tasks()] == [(State.REFUSED, refusal)]
    condition = world.sink.shown[-1][1]["conditions"][0]
    assert (condition["status"], condition["reason"], condition["message"]) == ("False", "UnknownTask", refusal.message)


def test_a_source_is_followed(world: Any) -> None:
    """What a source tells is done; what it refuses is kept for people; the end of its list is known."""
    body = Body(world)

    class Source:
        async def watch(self) -> Any:
            events: list[SourceEvent] = [
                Upserted(world.task(body, Interval(seconds=10))),
                Upserted(world.task(body, Interval(seconds=10), name="a/removed")),
                Removed(TaskUid("a/removed")),
                RefusedDocument(Refusal(where="f.yaml:3", field="spec", value="", message="no schedule")),
                Synced(),
            ]
            for event in events:
                yield event

    async def story(w: Any) -> None:
        await w.scheduler.follow(Source())
        await asyncio.sleep(15)

    world.run(story)
    assert (body.starts, world.scheduler.synced.is_set()) == ([0, 10], True)
    assert [refusal.where for refusal in world.scheduler.refusals()] == ["f.yaml:3"]


def test_a_past_outlives_its_worker(world: Any) -> None:
    """A daily task that ran an hour ago does not run again because the worker restarted."""
    body = Body(world)
    day = 86400.0
    world.ledger.pasts[IT] = Past(fired_at=world.began_at - 3600, ended_at=world.began_at - 3600)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Interval(seconds=day)))
        await asyncio.sleep(2 * day)

    world.run(story)
    assert body.starts == [day - 3600, 2 * day - 3600]


def test_skipped_fire_times_are_told(world: Any) -> None:
    """A grid that skips says when and why, in numbers, to the observer and in the list."""
    body = Body(world, seconds=25)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Every(seconds=10)))
        await asyncio.sleep(59)

    world.run(story)
    assert body.starts == [0, 30]
    assert world.watcher.skips == [("default/it", at, SkipReason.OVERLAP) for at in world.at(10, 20, 40, 50)]
    assert world.scheduler.tasks()[0].skipped == 4


def test_explain_says_when_and_why(world: Any) -> None:
    """The engine's own explanation of a task that waits for its interval."""
    body = Body(world)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Interval(seconds=60)))
        await asyncio.sleep(30)
        assert w.scheduler.explain(IT).sentences[0] == "The next run begins at 2026-01-01T00:01:00Z, in 30s."
        assert w.scheduler.explain(TaskUid("nobody")) is None

    world.run(story)
