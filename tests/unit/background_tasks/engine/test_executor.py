"""The executor: whatever a coroutine does ends as the outcome of its own run."""

import asyncio
from typing import Any

import pytest

from background_tasks.authoring import TaskReport, current_run
from background_tasks.domain.model import Interval, Outcome, Retry, TaskUid
from background_tasks.engine.binding import Binding
from background_tasks.engine.executor import GRACE_S
from background_tasks.engine.views import State
from background_tasks.errors import NotLeader, Refused, Superseded

IT = TaskUid("default/it")
ONCE = Interval(seconds=1e6)


def outcomes_of(world: Any, body: Any, *, seconds: float = 100, **policy: Any) -> list[tuple[Outcome, str]]:
    """Run a body for so many seconds beside a healthy neighbour; return how its runs ended."""

    async def healthy(ctx: Any) -> None:
        await asyncio.sleep(1)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, ONCE, **policy))
        w.scheduler.upsert(w.task(healthy, Interval(seconds=9), name="a/neighbour"))
        await asyncio.sleep(seconds)

    world.run(story)
    neighbour = [run.outcome for run in world.watcher.runs if run.task == "a/neighbour"]
    assert neighbour.count(Outcome.SUCCEEDED) == round(seconds / 10)
    return [(run.outcome, run.message) for run in world.watcher.runs if run.task == "default/it"]


class Odd(BaseException):
    """An error that `except Exception` does not see."""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("broken"), "ValueError: broken"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (GeneratorExit(), "GeneratorExit"),
        (Odd("odd"), f"{Odd.__module__}.Odd: odd"),
        (asyncio.CancelledError(), "it raised CancelledError, and nobody had cancelled it"),
        (TimeoutError("its own"), "TimeoutError: its own"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_whatever_is_raised_fails_its_run_alone(world: Any, error: BaseException, message: str) -> None:
    """Not even an exit ends the worker, or touches a neighbour."""

    async def body(ctx: Any) -> None:
        await asyncio.sleep(1)
        raise error

    assert outcomes_of(world, body) == [(Outcome.FAILED, message)]


def test_an_error_that_cannot_be_told_is_told_all_the_same(world: Any) -> None:
    """An exception whose text raises does not break the engine."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    async def body(ctx: Any) -> None:
        raise Mute

    ((outcome, message),) = outcomes_of(world, body)
    assert outcome is Outcome.FAILED
    assert "Mute" in message


@pytest.mark.parametrize("error", [Superseded("newer fence"), NotLeader("lease lost")], ids=["Superseded", "NotLeader"])
def test_a_run_that_may_not_act_is_superseded(world: Any, error: Exception) -> None:
    """A store that refuses an old fence, or a failed verification, is no failure of the task."""

    async def body(ctx: Any) -> None:
        raise error

    ((outcome, _),) = outcomes_of(world, body)
    assert outcome is Outcome.SUPERSEDED


@pytest.mark.parametrize(
    ("report", "outcome"),
    [
        (TaskReport(outcome="ok", created=2), Outcome.SUCCEEDED),
        (TaskReport(outcome="noop"), Outcome.SUCCEEDED),
        (TaskReport(outcome="deferred", reason="budget"), Outcome.SKIPPED),
        (TaskReport(outcome="superseded"), Outcome.SUPERSEDED),
        (TaskReport(outcome="error", errors=["no answer"]), Outcome.FAILED),
        ({"rows": 3}, Outcome.SUCCEEDED),
        ("anything else", Outcome.SUCCEEDED),
    ],
)
def test_a_report_decides_the_outcome(world: Any, report: object, outcome: Outcome) -> None:
    """What a run says of itself counts, and its numbers are kept."""

    async def body(ctx: Any) -> object:
        return report

    assert [found for found, _ in outcomes_of(world, body)] == [outcome]
    kept = next(run.report for run in world.watcher.runs if run.task == "default/it")
    assert kept == (
        report.model_dump(exclude_defaults=True)
        if isinstance(report, TaskReport)
        else report
        if isinstance(report, dict)
        else {}
    )


def test_a_run_past_its_timeout_is_cancelled(world: Any) -> None:
    """It ends as timed out, at the timeout, after its cleanup."""
    ends: list[float] = []

    async def body(ctx: Any) -> None:
        try:
            await asyncio.sleep(50)
        finally:
            await asyncio.sleep(2)
            ends.append(world.now)

    assert outcomes_of(world, body, timeout=10) == [(Outcome.TIMED_OUT, "it passed its timeout of 10 s")]
    assert ends == [12]


def test_attempts_follow_one_another_within_a_run(world: Any) -> None:
    """Backoff with full jitter between them; the outcome is that of the last; the context counts."""
    attempts: list[tuple[int, float]] = []

    async def body(ctx: Any) -> None:
        attempts.append((ctx.attempt, world.now))
        if ctx.attempt < 3:
            raise ValueError("not yet")

    retry = Retry(attempts=5, initial_backoff=4, factor=3, max_backoff=100)
    assert outcomes_of(world, body, retry=retry) == [(Outcome.SUCCEEDED, "")]
    assert [number for number, _ in attempts] == [1, 2, 3]
    first, second = attempts[1][1] - attempts[0][1], attempts[2][1] - attempts[1][1]
    assert (0 <= first <= 4, 0 <= second <= 12) == (True, True)


def test_a_timeout_counts_per_attempt_and_is_forgotten_by_the_next(world: Any) -> None:
    """The attempt after a timeout begins without a cancellation on its neck."""
    cancelling: list[int] = []

    async def body(ctx: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        cancelling.append(task.cancelling())
        async with asyncio.timeout(1000):
            await asyncio.sleep(50 if ctx.attempt == 1 else 5)

    found = outcomes_of(world, body, timeout=10, retry=Retry(attempts=2))
    assert (found, cancelling) == ([(Outcome.SUCCEEDED, "")], [0, 0])


def test_the_last_attempt_gives_the_outcome(world: Any) -> None:
    """When all attempts fail the run has failed once."""

    async def body(ctx: Any) -> None:
        raise ValueError(f"attempt {ctx.attempt}")

    assert outcomes_of(world, body, retry=Retry(attempts=3)) == [(Outcome.FAILED, "ValueError: attempt 3")]
    assert world.scheduler.tasks()[0].failures == 1


def test_an_exit_is_not_tried_again(world: Any) -> None:
    """Who raises SystemExit means it."""

    async def body(ctx: Any) -> None:
        raise SystemExit(1)

    assert outcomes_of(world, body, retry=Retry(attempts=3)) == [(Outcome.FAILED, "SystemExit: 1")]


def test_a_swallowed_cancellation_is_repeated(world: Any) -> None:
    """A coroutine that shrugs off the first cancellation stops at the second, when its grace is over."""
    ends: list[float] = []

    async def body(ctx: Any) -> None:
        for _ in range(2):
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                ends.append(world.now)

    assert outcomes_of(world, body, timeout=10) == [(Outcome.TIMED_OUT, "it passed its timeout of 10 s")]
    assert ends == [10, 10 + GRACE_S]


def test_a_run_that_ignores_its_cancellation_is_told_and_not_started_again(world: Any) -> None:
    """Past the grace its outcome is recorded and it is shown as stuck; once it ends, the schedule goes on."""
    release = asyncio.Event()
    starts: list[float] = []

    async def body(ctx: Any) -> None:
        starts.append(world.now)
        while len(starts) == 1 and not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Interval(seconds=60), timeout=10))
        await asyncio.sleep(200)
        view = w.scheduler.tasks()[0]
        assert (view.state, w.watcher.outcomes(), starts) == (State.STUCK, [Outcome.TIMED_OUT], [0])
        assert f"ignored its cancellation for {GRACE_S:g} s" in view.last.message
        assert w.sink.shown[-1][1]["conditions"][0]["reason"] == "Quarantined"
        release.set()
        await asyncio.sleep(100)

    world.run(story)
    assert (starts[1:], world.watcher.outcomes()[:2]) == ([200, 260], [Outcome.TIMED_OUT, Outcome.SUCCEEDED])


def test_a_coroutine_finds_its_run(world: Any) -> None:
    """Context, params, fire time and logger are at hand, in subtasks as well."""
    seen: list[Any] = []

    async def body(ctx: Any) -> None:
        async def inner() -> None:
            seen.append(current_run())

        async with asyncio.TaskGroup() as group:
            group.create_task(inner())
        seen.extend((ctx, ctx.params, ctx.scheduled_for, ctx.fence, ctx.task.name, ctx.logger.info is not None))

    outcomes_of(world, Binding(call=body, params={"keep": 3}))
    assert seen[0] is seen[1]
    assert seen[2:] == [{"keep": 3}, world.began_at, None, "default/it", True]
    assert current_run() is None


def test_progress_is_kept_with_the_run(world: Any) -> None:
    """What a run reported before it failed is not lost."""

    async def body(ctx: Any) -> None:
        ctx.report(TaskReport(created=7))
        raise ValueError("broken")

    outcomes_of(world, body)
    assert next(run.report for run in world.watcher.runs if run.task == "default/it") == {"created": 7}


def test_a_function_that_is_not_async_is_refused(world: Any) -> None:
    """It is refused when it is bound, in a sentence that says what to do."""

    def plain(ctx: Any) -> None:
        return None

    with pytest.raises(Refused, match="declare it with `async def`"):
        Binding(call=plain)  # type: ignore[arg-type]  # the point


def test_what_a_task_creates_is_not_started_eagerly(world: Any) -> None:
    """The engine starts runs eagerly; asyncio tasks of a run are made as ever."""
    order: list[str] = []

    async def body(ctx: Any) -> None:
        async def inner() -> None:
            order.append("inner")

        async with asyncio.TaskGroup() as group:
            group.create_task(inner())
            order.append("outer")

    outcomes_of(world, body)
    assert order == ["outer", "inner"]
