"""The status object, whole, and each reason for which a task is not ready."""

from dataclasses import replace

import pytest

from background_tasks.domain.gates import Gate
from background_tasks.domain.model import (
    NO_PAST,
    Breaker,
    Fence,
    Interval,
    Outcome,
    Past,
    Pause,
    Policy,
    RunRecord,
    Schedule,
    SkipReason,
    Switches,
    Task,
    TaskUid,
)
from background_tasks.domain.status import Condition, Observed, conditions, ready, status

T0 = 1_700_000_000.0
POLICY = Policy(
    coroutine="work",
    schedule=Schedule(cadence=Interval(seconds=60)),
    breaker=Breaker(failures=3, cooldown=300),
    max_lateness=5,
    history_limit=1,
)
TASK = Task(uid=TaskUid("uid"), name="default/work", policy=POLICY, generation=4)
SEEN = Observed(now=T0, worker="w1", next_start=T0 + 60)


def run(late: float, outcome: Outcome = Outcome.SUCCEEDED) -> RunRecord:
    """Record a run that began so late and took a quarter of a second."""
    return RunRecord(
        run_id="r1",
        uid=TASK.uid,
        task=TASK.name,
        scheduled_for=T0 - 10,
        started_at=T0 - 10 + late,
        ended_at=T0 - 10 + late + 0.25,
        outcome=outcome,
    )


SEEN_ALL = replace(
    SEEN,
    slot=3,
    fence=Fence(realm="ab", slot=3, epoch=7),
    history=(run(0.1, Outcome.FAILED), run(0.5)),
    succeeded=8,
    failed=1,
    skipped=2,
    last_skip=(T0 - 70, SkipReason.OVERLAP),
)
LAST = {
    "scheduledFor": "2023-11-14T22:13:10Z",
    "startedAt": "2023-11-14T22:13:10.500Z",
    "endedAt": "2023-11-14T22:13:10.750Z",
    "outcome": "Succeeded",
    "attempt": 1,
    "lateness": "500ms",
}
STAMP = {"observedGeneration": 4, "lastTransitionTime": "2023-11-14T22:13:20Z"}


def test_the_whole_status() -> None:
    """Everything that is known, as the resource spells it, and nothing else."""
    assert status(TASK, Past(success_at=T0 - 9), observed=SEEN_ALL) == {
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "Armed", "message": "", **STAMP},
            {"type": "ObjectiveMet", "status": "True", "reason": "OnTime", "message": "", **STAMP},
            {"type": "BreakerClosed", "status": "True", "reason": "Closed", "message": "", **STAMP},
        ],
        "observedGeneration": 4,
        "schedule": "interval 1m",
        "worker": "w1",
        "slot": 3,
        "fence": "ab/3/7",
        "lastRun": LAST,
        "nextRunTime": "2023-11-14T22:14:20Z",
        "lastSuccessTime": "2023-11-14T22:13:11Z",
        "consecutiveFailures": 0,
        "runs": {"succeeded": 8, "failed": 1, "skipped": 2},
        "history": [LAST],
        "lastSkip": {"reason": "Overlap", "at": "2023-11-14T22:12:10Z"},
    }


GATE = Gate(reason="MissingService", name="redis", message="add redis")
OBSTACLES = {
    "an unknown task": (TASK, SEEN, {"refusal": ("UnknownTask", "no such task")}, ("UnknownTask", "no such task")),
    "a missing service": (TASK, SEEN, {"gates": (GATE,)}, ("MissingService", "add redis")),
    "suspended": (
        replace(TASK, switches=Switches(suspend=True)),
        SEEN,
        {},
        ("Suspended", "spec.suspend is true; set it to false to go on"),
    ),
    "paused for ever": (
        replace(TASK, switches=Switches(pause=Pause(until=None))),
        SEEN,
        {},
        ("Paused", "paused until someone resumes it; resume it to go on sooner"),
    ),
    "paused by someone": (
        replace(TASK, switches=Switches(pause=Pause(until=T0 + 60, by="ann"))),
        SEEN,
        {},
        ("Paused", "paused by ann until 2023-11-14T22:14:20Z; resume it to go on sooner"),
    ),
    "without a worker": (
        TASK,
        SEEN,
        {"worker": ""},
        ("NoWorker", "no worker acts for this task; look at the pool's workers and slots"),
    ),
    "blocking the loop": (TASK, SEEN, {"quarantine": "it blocks"}, ("Quarantined", "it blocks")),
}


@pytest.mark.parametrize(("task", "seen", "more", "expected"), OBSTACLES.values(), ids=OBSTACLES.keys())
def test_what_stands_in_the_way_is_named_with_its_fix(
    task: Task, seen: Observed, more: dict[str, object], expected: tuple[str, str]
) -> None:
    """Ready is False, with the reason and what to do."""
    observed = replace(seen, **more)  # type: ignore[arg-type]

    assert ready(task, NO_PAST, observed) == Condition(type="Ready", met=False, reason=expected[0], message=expected[1])


def test_a_pause_that_is_over_is_no_obstacle() -> None:
    """Its annotation may stay; running and idle tasks are ready, too."""
    task = replace(TASK, switches=Switches(pause=Pause(until=T0)))

    assert [
        ready(task, NO_PAST, observed).reason
        for observed in (SEEN, replace(SEEN, running=1), replace(SEEN, next_start=None))
    ] == ["Armed", "Running", "Idle"]


def test_an_open_breaker_is_told_in_both_conditions() -> None:
    """Until when, after how many failures; then that the next run is the probe."""
    past = Past(failures=3, opened_at=T0 - 10)

    cooling = {condition.type: condition for condition in conditions(TASK, past, SEEN)}
    probing = {condition.type: condition for condition in conditions(TASK, past, replace(SEEN, now=T0 + 600))}

    message = "3 failures in a row; one probe may run from 2023-11-14T22:18:10Z on; read the last run's message"
    assert cooling["Ready"] == Condition(type="Ready", met=False, reason="BreakerOpen", message=message)
    assert cooling["BreakerClosed"] == Condition(type="BreakerClosed", met=False, reason="Open", message=message)
    assert probing["BreakerClosed"].reason == "Probing"


OBJECTIVES = {
    "no run yet": (SEEN, None, "NoRunYet"),
    "in time": (replace(SEEN, history=(run(4.9),)), True, "OnTime"),
    "too late": (replace(SEEN, history=(run(5.1),)), False, "TooLate"),
    "due for just so long": (replace(SEEN, history=(run(1),), next_start=T0 - 5), True, "OnTime"),
    "due for long": (replace(SEEN, history=(run(1),), next_start=T0 - 6), False, "Overdue"),
    "running meanwhile": (replace(SEEN, history=(run(1),), next_start=T0 - 6, running=1), True, "OnTime"),
}


@pytest.mark.parametrize(("observed", "met", "reason"), OBJECTIVES.values(), ids=OBJECTIVES.keys())
def test_the_lateness_objective(observed: Observed, met: bool | None, reason: str) -> None:
    """Judged by the last run, and by a run that does not come."""
    objective = next(each for each in conditions(TASK, NO_PAST, observed) if each.type == "ObjectiveMet")

    assert (objective.met, objective.reason) == (met, reason)


def test_a_task_without_objective_and_breaker_has_one_condition() -> None:
    """Nobody is told of what was not asked for."""
    plain = replace(TASK, policy=replace(POLICY, breaker=None, max_lateness=None))

    assert [condition.type for condition in conditions(plain, NO_PAST, SEEN)] == ["Ready"]


def test_a_condition_keeps_the_time_of_its_last_change() -> None:
    """A new reason is no change; another status is."""
    first = status(TASK, NO_PAST, observed=SEEN)
    later = replace(SEEN, now=T0 + 100, running=1)
    suspended = replace(TASK, switches=Switches(suspend=True))

    same = status(TASK, NO_PAST, observed=later, previous=first)["conditions"]
    changed = status(suspended, NO_PAST, observed=later, previous=first)["conditions"]

    assert isinstance(same, list)
    assert isinstance(changed, list)
    assert (same[0]["reason"], same[0]["lastTransitionTime"]) == ("Running", "2023-11-14T22:13:20Z")
    assert changed[0]["lastTransitionTime"] == "2023-11-14T22:15:00Z"
