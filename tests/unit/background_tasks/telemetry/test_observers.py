"""Who is told what, how often."""

from dataclasses import replace
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from background_tasks.domain.model import Interval, Outcome, Policy, RunRecord, Schedule, SkipReason, Task, TaskUid
from background_tasks.telemetry.metrics import Metrics
from background_tasks.telemetry.observers import LogObserver, Observers
from background_tasks.testing.virtual_time import VirtualTime

TASK = Task(
    uid=TaskUid("u"),
    name="team/work",
    policy=Policy(coroutine="work", schedule=Schedule(cadence=Interval(seconds=1))),
)
RUN = RunRecord(
    run_id="r", uid=TASK.uid, task=TASK.name, scheduled_for=1.0, started_at=1.0, ended_at=1.5,
    outcome=Outcome.FAILED, message="ValueError: no",
)  # fmt: skip


class Told:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[object, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *news: self.calls.append((name, news))


def tell_all(observers: Observers) -> None:
    """Tell one of each."""
    observers.armed(3)
    observers.started(TASK, "r", 1.0, 0.1)
    observers.ended(TASK, RUN)
    observers.skipped(TASK, 1.0, SkipReason.OVERLAP)
    observers.blocked("team/work", 0.2, "stack")
    observers.slots_held(2)
    observers.lease_renewed(0.1, True)


def test_each_observer_is_told_everything() -> None:
    """The fan-out hands every piece of news on, unchanged."""
    first, second = Told(), Told()
    tell_all(Observers(first, second))

    assert first.calls == second.calls
    assert [name for name, _ in first.calls] == [
        "armed", "started", "ended", "skipped", "blocked", "slots_held", "lease_renewed",
    ]  # fmt: skip
    assert first.calls[2][1] == (TASK, RUN)


def test_an_observer_that_fails_disturbs_nobody() -> None:
    """The others are told, the engine does not notice, the log does."""

    class Broken(Metrics):
        def ended(self, task: Task, run: RunRecord) -> None:
            raise ValueError("observer's own fault")

    told = Told()
    with capture_logs() as logs:
        tell_all(Observers(Broken("night"), told))

    assert len(told.calls) == 7
    assert [(line["event"], line["log_level"]) for line in logs] == [("observer_failed", "error")]


@pytest.mark.parametrize(
    ("outcome", "level"),
    [
        (Outcome.SUCCEEDED, "debug"),
        (Outcome.SKIPPED, "info"),
        (Outcome.CANCELLED, "info"),
        (Outcome.FAILED, "warning"),
        (Outcome.TIMED_OUT, "warning"),
        (Outcome.LOST, "warning"),
        (Outcome.SUPERSEDED, "warning"),
    ],
)
def test_how_loud_an_end_is(virtual_time: VirtualTime, outcome: Outcome, level: str) -> None:
    """A success is quiet, trouble is a warning."""
    with capture_logs() as logs:
        LogObserver(virtual_time, structlog.get_logger()).ended(TASK, replace(RUN, outcome=outcome))

    assert [(line["log_level"], line["outcome"], line["duration_s"]) for line in logs] == [(level, str(outcome), 0.5)]


def test_a_task_that_fails_all_the_time_is_not_a_flood(virtual_time: VirtualTime) -> None:
    """Five lines at once, then one each ten seconds that says how many were left out; others are not affected."""
    observer = LogObserver(virtual_time, structlog.get_logger())
    with capture_logs() as logs:
        for _ in range(100):
            observer.ended(TASK, RUN)
        observer.ended(replace(TASK, name="team/other"), RUN)
        virtual_time.stall(10)
        observer.ended(TASK, RUN)

    assert [line["task"] for line in logs] == ["team/work"] * 5 + ["team/other", "team/work"]
    assert logs[-1]["not_logged"] == 95


def test_ten_thousand_failing_tasks_are_not_a_flood(virtual_time: VirtualTime) -> None:
    """All tasks together have a bound of their own."""
    observer = LogObserver(virtual_time, structlog.get_logger())
    with capture_logs() as logs:
        for number in range(10_000):
            observer.ended(replace(TASK, name=f"team/{number}"), RUN)

    assert len(logs) == 200


def test_a_lease_that_holds_again_is_told_once(virtual_time: VirtualTime) -> None:
    """Renewals are silent, a failed one and the recovery are not."""
    observer = LogObserver(virtual_time, structlog.get_logger())
    with capture_logs() as logs:
        for ok in (True, True, False, True, True):
            observer.lease_renewed(0.01, ok)
        for count in (4, 4, 5):
            observer.slots_held(count)

    assert [line["event"] for line in logs] == [
        "lease_renewal_failed", "lease_renewed_again", "slots_held", "slots_held",
    ]  # fmt: skip
