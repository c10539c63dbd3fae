"""What a run's end means for what is remembered of a task.

Not here: whether to run again (`plan`), or the record people see (`model.RunRecord`).
"""

from dataclasses import replace
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
    past = _counted(task, past, outcome, started_at, ended_at)
    if run_now is not None:
        past = replace(past, run_now=run_now)
        if not isinstance(task.policy.schedule.cadence, Continuous):
            return past
    fired = fire if past.fired_at is None else max(past.fired_at, fire)
    owed = past.owed if past.owed is not None and fired < past.owed else None
    return replace(past, fired_at=fired, started_at=started_at, ended_at=ended_at, owed=owed)


def _counted(task: Task, past: Past, outcome: Outcome, started_at: float, ended_at: float) -> Past:
    """Count failures in a row, close or open the breaker."""
    match outcome:
        case Outcome.SUCCEEDED:
            return replace(past, outcome=outcome, success_at=ended_at, failures=0, opened_at=None)
        case Outcome.FAILED | Outcome.TIMED_OUT | Outcome.LOST:
            held = isinstance(task.policy.schedule.cadence, Continuous) and ended_at - started_at >= HELD_S
            failures = 1 if held else past.failures + 1
            breaker = task.policy.breaker
            opens = breaker is not None and failures >= breaker.failures
            return replace(past, outcome=outcome, failures=failures, opened_at=ended_at if opens else past.opened_at)
        case Outcome.CANCELLED | Outcome.SKIPPED | Outcome.SUPERSEDED:
            return replace(past, outcome=outcome)
        case _:
            assert_never(outcome)
