"""What is remembered after a run, and the breaker's life from closed to open to probe and back."""

from dataclasses import replace

import pytest

from background_tasks.domain.breaker import CLOSED, PROBE, Gate, Open, gate
from background_tasks.domain.model import (
    NO_PAST,
    Breaker,
    Cadence,
    Continuous,
    Every,
    Interval,
    Outcome,
    Past,
    Policy,
    Schedule,
    Task,
    TaskUid,
)
from background_tasks.domain.outcome import after_run

BREAKER = Breaker(failures=3, cooldown=60)


def task(cadence: Cadence | None = None, breaker: Breaker | None = BREAKER) -> Task:
    """Declare a task with a breaker."""
    policy = Policy(coroutine="work", schedule=Schedule(cadence=cadence or Every(seconds=10)), breaker=breaker)
    return Task(uid=TaskUid("uid"), name="default/work", policy=policy)


def ended(past: Past, at: float, outcome: Outcome, declared: Task | None = None) -> Past:
    """End a run of a second that served its fire time on the dot."""
    return after_run(declared or task(), past, fire=at - 1, started_at=at - 1, ended_at=at, outcome=outcome)


COUNTED = {
    Outcome.SUCCEEDED: Past(success_at=11.0),
    Outcome.FAILED: Past(success_at=5.0, failures=3, opened_at=11.0),
    Outcome.TIMED_OUT: Past(success_at=5.0, failures=3, opened_at=11.0),
    Outcome.LOST: Past(success_at=5.0, failures=3, opened_at=11.0),
    Outcome.CANCELLED: Past(success_at=5.0, failures=2),
    Outcome.SKIPPED: Past(success_at=5.0, failures=2),
    Outcome.SUPERSEDED: Past(success_at=5.0, failures=2),
}


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_is_remembered(outcome: Outcome) -> None:
    """Success forgives, a failure of the task counts, what others did to it does not; each settles its fire time."""
    past = ended(Past(success_at=5.0, failures=2), 11.0, outcome)

    assert past == replace(COUNTED[outcome], fired_at=10.0, started_at=10.0, ended_at=11.0, outcome=outcome)


def test_the_breakers_life() -> None:
    """Three failures open it, a failed probe opens it anew, a good one closes it."""
    past, told = NO_PAST, []
    story = [
        (1, Outcome.FAILED),
        (2, Outcome.FAILED),
        (3, Outcome.FAILED),
        (63, Outcome.FAILED),
        (200, Outcome.SUCCEEDED),
    ]

    for at, outcome in story:
        before: Gate = gate(BREAKER, past, at)
        past = ended(past, at, outcome)
        told.append((before, gate(BREAKER, past, at)))

    assert told == [
        (CLOSED, CLOSED),
        (CLOSED, CLOSED),
        (CLOSED, Open(63)),
        (PROBE, Open(123)),
        (PROBE, CLOSED),
    ]


@pytest.mark.parametrize(
    ("now", "expected"), [(3.0, Open(63.0)), (62.9, Open(63.0)), (63.0, PROBE), (1e9, PROBE), (-500.0, Open(-440.0))]
)
def test_an_open_breaker_lets_a_probe_through_after_its_cooldown(now: float, expected: Gate) -> None:
    """To the second; after the clock was set back the cooldown counts from now."""
    assert gate(BREAKER, Past(failures=3, opened_at=3.0), now) == expected


def test_without_a_breaker_nothing_opens() -> None:
    """Failures are counted all the same."""
    past = ended(Past(failures=99), 11.0, Outcome.FAILED, task(breaker=None))

    assert (past.failures, past.opened_at, gate(None, past, 11.0)) == (100, None, CLOSED)


def test_a_run_that_was_asked_for_counts_and_leaves_the_schedule_alone() -> None:
    """Its success closes the breaker; the instants of the schedule stay."""
    before = Past(fired_at=1.0, started_at=1.0, ended_at=2.0, failures=3, opened_at=2.0)

    past = after_run(
        task(Interval(seconds=5)), before, fire=30, started_at=30, ended_at=31, outcome=Outcome.SUCCEEDED, run_now="x"
    )

    assert past == Past(
        fired_at=1.0, started_at=1.0, ended_at=2.0, outcome=Outcome.SUCCEEDED, success_at=31, run_now="x"
    )


def test_runs_beside_one_another_leave_the_latest_fire_time() -> None:
    """An older run that ends later does not bring its fire time back."""
    past = ended(Past(fired_at=20.0), 30.0, Outcome.SUCCEEDED)
    assert past.fired_at == 29.0

    older = after_run(task(), past, fire=10, started_at=10, ended_at=31, outcome=Outcome.SUCCEEDED)
    assert older.fired_at == 29.0


def test_a_continuous_task_that_held_begins_to_count_anew() -> None:
    """Five minutes of health make its next failure the first."""
    declared = task(Continuous(restart_delay=1))
    failed = {"fire": 0.0, "started_at": 0.0, "outcome": Outcome.FAILED}

    short = after_run(declared, Past(failures=2), ended_at=299, **failed)  # type: ignore[arg-type]
    long = after_run(declared, Past(failures=2), ended_at=300, **failed)  # type: ignore[arg-type]

    assert (short.failures, long.failures) == (3, 1)
