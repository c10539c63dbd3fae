"""`run_task`: one run as a worker would carry it out, and all that it told."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import Field

from background_tasks.authoring import RunContext, TaskParams, TaskReport, background_task, current_run
from background_tasks.domain.model import Fence, Outcome, Retry
from background_tasks.errors import NotLeader, Refused
from background_tasks.testing import VirtualTime, run_task

FENCE = Fence(realm="r", slot=3, epoch=7)


class Params(TaskParams):
    """Of the tasks below."""

    days: int = Field(7, gt=0)


@background_task(interval=3600, requires_redis=True, params=Params)
async def sweep(redis: list[str], ctx: RunContext[Params]) -> TaskReport:
    """Delete what the store holds, tell of it, and say when this was due."""
    ctx.report(TaskReport(items_in=len(redis)))
    deleted, redis[:] = len(redis), []
    return TaskReport(deleted=deleted, extra={"for": ctx.scheduled_for, "days": ctx.params.days})


async def test_a_run_gets_services_params_and_its_fire_time() -> None:
    """Arguments are found by name; the result holds outcome, report, progress and record."""
    store = ["a", "b"]
    result = await run_task(sweep, params={"days": 3}, services={"redis": store}, at=datetime(2026, 3, 1, tzinfo=UTC))
    assert (result.outcome, store) == (Outcome.SUCCEEDED, [])
    assert result.report == TaskReport(deleted=2, extra={"for": 1_772_323_200.0, "days": 3}) == result.value
    assert result.progress == (TaskReport(items_in=2),)
    assert (result.record.task, result.record.scheduled_for) == ("test/sweep", 1_772_323_200.0)
    assert result.or_raise() is result


async def test_params_may_be_the_model_itself() -> None:
    """What the test made is what the run gets."""
    result = await run_task(sweep, params=Params(days=1), services={"redis": []}, at=0)
    assert result.report is not None
    assert result.report.extra["days"] == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param({"params": {"days": 0}, "services": {"redis": []}}, "spec.params.days", id="params do not fit"),
        pytest.param({}, "no service 'redis'", id="a service is missing"),
    ],
)
async def test_what_a_worker_would_not_run_is_refused(arguments: dict[str, Any], sentence: str) -> None:
    """The same sentence as in the task's status."""
    with pytest.raises(Refused) as refused:
        await run_task(sweep, **arguments)
    assert sentence in str(refused.value)


async def test_what_a_run_raises_is_in_its_result() -> None:
    """A failure is an outcome; `or_raise` raises it for those who expected none."""

    async def fail() -> None:
        raise ValueError("no luck")

    result = await run_task(fail)
    assert (result.outcome, result.message, result.value) == (Outcome.FAILED, "ValueError: no luck", None)
    with pytest.raises(ValueError, match="no luck"):
        result.or_raise()


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ("ok", "Succeeded"),
        ("noop", "Succeeded"),
        ("deferred", "Skipped"),
        ("superseded", "Superseded"),
        ("error", "Failed"),
    ],
)
async def test_a_report_decides_the_outcome(said: Any, outcome: str) -> None:
    """As in a worker."""

    async def tell() -> TaskReport:
        return TaskReport(outcome=said)

    result = await run_task(tell)
    assert result.outcome == Outcome(outcome)
    if outcome != "Succeeded":
        with pytest.raises(AssertionError, match=outcome):
            result.or_raise()


def test_a_timeout_and_retries_take_virtual_time(virtual_time: VirtualTime) -> None:
    """The policy's fields apply; each attempt is told its number."""
    attempts: list[int] = []

    async def hang(ctx: RunContext[Any]) -> None:
        attempts.append(ctx.attempt)
        await asyncio.sleep(3600)

    result = virtual_time.run(run_task(hang, timeout=10.0, retry=Retry(attempts=3, initial_backoff=1.0)))
    assert (result.outcome, result.attempt, attempts) == (Outcome.TIMED_OUT, 3, [1, 2, 3])
    assert 30 <= virtual_time.now < 34


async def test_fence_and_leadership_are_the_tests_to_give() -> None:
    """A run under a fence may act until the test says that it may not."""

    async def act(ctx: RunContext[Any]) -> str:
        await ctx.verify_leadership()
        return str(ctx.fence)

    assert (await run_task(act, fence=FENCE)).value == "r/3/7"
    lost = await run_task(act, fence=FENCE, leading=False)
    assert lost.outcome is Outcome.SUPERSEDED
    assert isinstance(lost.error, NotLeader)


async def test_fixed_signatures_reach_the_run_by_its_context() -> None:
    """`current_run()` inside is the run; settings are those that the test gives, not the environment's."""

    async def read() -> Any:
        run = current_run()
        assert run is not None
        return run.settings, run.attempt

    assert (await run_task(read, settings={"A": "1"}, attempt=2)).value == ({"A": "1"}, 2)
    assert current_run() is None


def test_the_clock_of_a_run_is_the_virtual_one(virtual_time: VirtualTime) -> None:
    """Without `at` the run lives on the clock of the loop it runs on; with it the clock begins there."""

    async def wait(ctx: RunContext[Any]) -> float:
        began = ctx.clock.wall()
        await asyncio.sleep(600)
        return ctx.clock.wall() - began

    for at in (None, 1000.0):
        result = virtual_time.run(run_task(wait, at=at)).or_raise()
        assert result.value == pytest.approx(600)
        assert result.record.started_at == (at if at is not None else virtual_time.wall() - 600)
