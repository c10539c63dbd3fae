"""What a run's end means for what is remembered of a task.

Not here: whether to run again (`plan`), or the record people see (`model.RunRecord`).
"""

from typing import assert_never

from background_tasks.domain.model import Continuous, Outcome, Past, Task
from background_tasks.domain.retrying import HELD_S


def after_run(
    task: Task,
    past: Past,
    *,
    fire: float,
    started_at: float,
    ended_at: float,
    outcome: Outcome,
    run_now: str | None = None,
) -> Past:
    """Return the past after a run that served fire time `fire` ended.

    Give `run_now` (the annotation's value) for an extra run: it counts for failures and success, and leaves the
    schedule (`fired_at`, `started_at`, `ended_at`) alone; only a continuous task has no other schedule than its runs.
    Every outcome settles its fire time. With runs beside one another the latest fire time stays.
    """
    success_at, failures, opened_at = _counted(task, past, outcome, started_at, ended_at)
    moves = run_now is None or isinstance(task.policy.schedule.cadence, Continuous)
    fired_at = fire if past.fired_at is None else max(past.fired_at, fire)
    return Past(  # spelled out: `replace` takes three times as long, and this is done once per run
        fired_at=fired_at if moves else past.fired_at,
        started_at=started_at if moves else past.started_at,
        ended_at=ended_at if moves else past.ended_at,
        outcome=outcome,
        success_at=success_at,
        failures=failures,
        opened_at=opened_at,
        baseline=past.baseline,
        run_now=past.run_now if run_now is None else run_now,
        held_at=past.held_at,
        owed=past.owed,
    )


def served(past: Past, fire: float) -> Past:
    """Return the past in which fire time `fire` of a grid is taken care of, so that the next one can be planned."""
    if past.fired_at is not None and past.fired_at >= fire:
        return past
    return Past(
        fired_at=fire,
        started_at=past.started_at,
        ended_at=past.ended_at,
        outcome=past.outcome,
        success_at=past.success_at,
        failures=past.failures,
        opened_at=past.opened_at,
        baseline=past.baseline,
        run_now=past.run_now,
        held_at=past.held_at,
        owed=past.owed,
    )


def _counted(
    task: Task, past: Past, outcome: Outcome, started_at: float, ended_at: float
) -> tuple[float | None, int, float | None]:
    """Count failures in a row, close or open the breaker: the last success, failures, opened at."""
    match outcome:
        case Outcome.SUCCEEDED:
            return ended_at, 0, None
        case Outcome.FAILED | Outcome.TIMED_OUT | Outcome.LOST:
            held = isinstance(task.policy.schedule.cadence, Continuous) and ended_at - started_at >= HELD_S
            failures = 1 if held else past.failures + 1
            breaker = task.policy.breaker
            opens = breaker is not None and failures >= breaker.failures
            return past.success_at, failures, ended_at if opens else past.opened_at
        case Outcome.CANCELLED | Outcome.SKIPPED | Outcome.SUPERSEDED:
            return past.success_at, past.failures, past.opened_at
        case _:
            assert_never(outcome)
