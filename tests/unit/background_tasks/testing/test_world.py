"""The world: tasks as a worker runs them, an hour in a moment, and all that happened told in seconds."""

import asyncio
from typing import Any

import pytest
from pydantic import Field

from background_tasks.authoring import RunContext, TaskParams, background_task
from background_tasks.domain.model import Outcome, SkipReason
from background_tasks.engine.views import State
from background_tasks.errors import Refused
from background_tasks.testing import TaskWorld


class Params(TaskParams):
    """Of `digest`."""

    limit: int = Field(10, gt=0)


@background_task(interval=600, initial_delay=30, requires_redis=True, params=Params)
async def digest(redis: list[int], ctx: RunContext[Params]) -> None:
    """Note the limit."""
    redis.append(ctx.params.limit)


async def ten_seconds() -> None:
    """Take a while."""
    await asyncio.sleep(10)


def test_an_hour_holds_six_runs_of_a_task_of_ten_minutes(task_world: TaskWorld) -> None:
    """What a user of the package writes first."""
    noted: list[int] = []
    task_world.services["redis"] = noted
    task_world.register(digest, every="10m", params={"limit": 3})
    task_world.advance(3600)
    assert task_world.runs("digest") == 6
    assert noted == [3] * 6


def test_without_a_cadence_the_decorators_counts(task_world: TaskWorld) -> None:
    """Interval and initial delay are those of the code."""
    task_world.services["redis"] = []
    task_world.register(digest)
    task_world.advance(1300)
    assert task_world.starts("digest") == pytest.approx((30, 630, 1230))


def test_an_interval_counts_from_the_end_of_a_run(task_world: TaskWorld) -> None:
    """An undecorated coroutine needs a cadence and is named after its function."""
    task_world.register(ten_seconds, interval="60s")
    task_world.advance(200)
    assert task_world.starts("ten_seconds") == pytest.approx((0, 70, 140))
    assert [run.outcome for run in task_world.history("ten_seconds")] == [Outcome.SUCCEEDED] * 3


def test_two_tasks_may_run_one_coroutine(task_world: TaskWorld) -> None:
    """Each under its own name and schedule."""
    task_world.register(ten_seconds, name="slow", every="30m")
    task_world.register(ten_seconds, name="fast", every="10m")
    task_world.advance(3600)
    assert (task_world.runs("slow"), task_world.runs("fast")) == (2, 6)


def test_failures_timeouts_and_skips_are_told(task_world: TaskWorld) -> None:
    """History holds outcomes; fire times without a run have a reason."""

    async def fail() -> None:
        raise ValueError("no luck")

    async def hang() -> None:
        await asyncio.sleep(86400)

    task_world.register(fail, every="20m", breaker={"failures": 2, "cooldown": "12h"})
    task_world.register(hang, every="20m", overlap="Skip", timeout="50m")
    task_world.advance(2 * 3600)
    assert [run.outcome for run in task_world.history("fail")] == [Outcome.FAILED] * 2
    assert "BreakerOpen" in " ".join(task_world.why("fail"))
    assert [run.outcome for run in task_world.history("hang")] == [Outcome.TIMED_OUT]
    assert [(round(fire), reason) for fire, reason in task_world.skips("hang")][:1] == [(2399, SkipReason.OVERLAP)]


def test_missed_fire_times_follow_the_policy(task_world: TaskWorld) -> None:
    """After an outage of an hour `Once` catches up once, `Skip` waits, `All` runs each."""
    for policy in ("Once", "Skip", "All"):
        task_world.register(ten_seconds, name=policy, every="10m", missed={"policy": policy})
    task_world.advance(650)
    before = {name: task_world.runs(name) for name in task_world.tasks}
    task_world.outage(3600)
    task_world.advance(500)
    caught_up = {name: task_world.runs(name) - before[name] for name in task_world.tasks}
    assert caught_up == {"Once": 1, "Skip": 0, "All": 6}


def test_a_suspended_task_rests_until_it_is_resumed(task_world: TaskWorld) -> None:
    """And says so."""
    task_world.register(ten_seconds, every="10m")
    task_world.suspend("ten_seconds")
    task_world.advance(3600)
    assert (task_world.runs("ten_seconds"), task_world.view("ten_seconds").state) == (0, State.IDLE)
    assert "suspend" in " ".join(task_world.why("ten_seconds")).lower()
    task_world.resume("ten_seconds")
    task_world.advance(3600)
    assert task_world.runs("ten_seconds") == 6


def test_a_trigger_asks_for_one_run_more(task_world: TaskWorld) -> None:
    """At once, and the schedule goes on."""
    task_world.register(ten_seconds, every="10m")
    task_world.trigger("ten_seconds")
    task_world.advance(1)
    assert task_world.starts("ten_seconds") == pytest.approx((0,))


def test_a_removed_task_stops(task_world: TaskWorld) -> None:
    """Its run is cancelled."""
    cancelled: list[bool] = []

    async def hang() -> None:
        try:
            await asyncio.sleep(86400)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    task_world.register(hang, interval="1h")
    task_world.advance(10)
    task_world.remove("hang")
    task_world.advance(1)
    assert cancelled == [True]


def test_clocks_may_jump(task_world: TaskWorld) -> None:
    """A wall clock that steps back an hour does not serve an hour twice."""
    task_world.register(ten_seconds, cron="*/10 * * * *")
    task_world.advance(3600)
    task_world.step_wall(-3600)
    task_world.advance(3590)
    assert task_world.runs("ten_seconds") == 6
    task_world.advance(610)
    assert task_world.runs("ten_seconds") == 7


def test_status_is_what_people_would_see(task_world: TaskWorld) -> None:
    """The resource's own status object."""
    task_world.register(ten_seconds, every="10m")
    task_world.advance(3600)
    last: Any = task_world.status("ten_seconds")["lastRun"]
    assert last["outcome"] == "Succeeded"


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        pytest.param({"every": "10x"}, "schedule.every", id="a duration that is none"),
        pytest.param({"every": "10m", "interval": "5m"}, "exactly one of", id="two cadences"),
        pytest.param({"every": "10m", "polcy": 1}, "did you mean", id="an unknown field"),
        pytest.param({"every": "10m", "params": {"a": 1}}, "takes no params", id="params that nothing reads"),
    ],
)
def test_what_yaml_may_not_say_is_refused_here_too(task_world: TaskWorld, spec: dict[str, Any], sentence: str) -> None:
    """With the same sentence."""
    with pytest.raises(Refused) as refused:
        task_world.register(ten_seconds, **spec)
    assert sentence in str(refused.value)


def test_a_missing_service_is_refused(task_world: TaskWorld) -> None:
    """A world without a Redis has none to give."""
    with pytest.raises(Refused, match="no service 'redis'"):
        task_world.register(digest)
