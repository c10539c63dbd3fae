"""What a pool says of itself."""

from collections.abc import Callable
from typing import Any

import pytest

from background_tasks.api.read import Unfit
from background_tasks.api.status import PoolStatus
from background_tasks_operator.plan.facts import pool_facts
from background_tasks_operator.plan.model import DeploymentState, Observed, PoolFacts, Problem, TaskCounts
from background_tasks_operator.plan.pool_status import pool_status, refused_pool_status

type PoolOf = Callable[..., PoolFacts]

NOW = 1_767_225_600.5
WHOLE = DeploymentState(replicas=2, ready=2, updated=2, available=2, wanted=2, current=True)
SLOW = "ProgressDeadlineExceeded: slow"
DESCRIBE = "kubectl -n demo describe pods -l background-tasks.dev/pool=crawl"


def told(status: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    """Return status, reason and message of each condition."""
    return {one["type"]: (one["status"], one["reason"], one["message"]) for one in status["conditions"]}


def test_a_whole_pool_says_so(pool_of: PoolOf) -> None:
    """Counts as they were seen, a selector for autoscalers, and three conditions about this generation."""
    observed = Observed(
        deployment=WHOLE, slots_held=16, slots_total=16, tasks=TaskCounts(total=9, ready=8, running=2, late=1)
    )
    status = pool_status(pool_of(), observed, None, NOW)
    assert PoolStatus.model_validate(status)
    assert {**status, "conditions": [one["type"] for one in status["conditions"]]} == {
        "observedGeneration": 3,
        "replicas": 2,
        "readyReplicas": 2,
        "selector": "app.kubernetes.io/name=background-tasks-worker,background-tasks.dev/pool=crawl",
        "slots": {"held": 16, "total": 16},
        "tasks": {"total": 9, "ready": 8, "running": 2, "late": 1},
        "conditions": ["Available", "Progressing", "Degraded"],
    }
    assert status["conditions"][0] == {
        "type": "Available",
        "status": "True",
        "reason": "WorkersAvailable",
        "message": "2 of 2 workers are available",
        "observedGeneration": 3,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    assert told(status) == {
        "Available": ("True", "WorkersAvailable", "2 of 2 workers are available"),
        "Progressing": ("False", "UpToDate", "2 of 2 workers are of the latest spec and available"),
        "Degraded": ("False", "AsDeclared", "all that the pool declares is there"),
    }


def test_of_slots_in_a_redis_only_their_number_is_told(pool_of: PoolOf) -> None:
    """Nobody here looks into that Redis; a table of the time before, when it was here, says nothing any more."""
    pool = pool_of(slots=8, lease={"backend": "Redis"}, services={"redis": {"url": "redis://redis"}})
    status = pool_status(pool, Observed(deployment=WHOLE, slots_held=0, slots_total=8), None, NOW)
    assert status["slots"] == {"total": 8}
    assert told(status)["Available"] == ("True", "WorkersAvailable", "2 of 2 workers are available")


def test_a_new_pool_is_being_made(pool_of: PoolOf) -> None:
    """Without a Deployment there is nothing yet; the slots that there will be are those of the spec."""
    status = pool_status(pool_of(slots=8), Observed(), None, NOW)
    assert (status["replicas"], status["slots"]) == (0, {"held": 0, "total": 8})
    assert told(status) == {
        "Available": ("False", "NotMade", "the Deployment crawl-workers does not exist yet"),
        "Progressing": ("True", "Making", "the workers are being made"),
        "Degraded": ("False", "AsDeclared", "all that the pool declares is there"),
    }


@pytest.mark.parametrize(
    ("state", "held", "expected"),
    [
        (WHOLE, 0, ("False", "NoSlotHeld", "2 of 2 workers are available and none holds a slot; if this stays, see ")),
        (WHOLE, 12, ("True", "WorkersAvailable", "2 of 2 workers are available; 4 of 16 slots wait for one, and so ")),
        (
            DeploymentState(wanted=1),
            0,
            ("False", "NoWorkerAvailable", "none of 1 worker is available; see why with: kubectl "),
        ),
        (DeploymentState(wanted=0), 0, ("False", "ScaledToZero", "spec.replicas: 0 means that no task of this pool ")),
        (
            DeploymentState(available=1, wanted=2),
            16,
            ("True", "WorkersAvailable", "1 of 2 workers is available"),
        ),
    ],
)
def test_availability_is_workers_that_hold_slots(
    pool_of: PoolOf, state: DeploymentState, held: int, expected: tuple[str, str, str]
) -> None:
    """A pool is available as long as tasks run somewhere; a message says what is missing."""
    observed = Observed(deployment=state, slots_held=held, slots_total=16)
    status, reason, message = told(pool_status(pool_of(), observed, None, NOW))["Available"]
    assert (status, reason, message[: len(expected[2])]) == expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (
            DeploymentState(replicas=2, updated=2, available=2, wanted=2),
            ("True", "RollingOut", "2 of 2 workers are of the latest spec; 2 in all"),
        ),
        (
            DeploymentState(replicas=3, updated=1, available=2, wanted=2, current=True),
            ("True", "RollingOut", "1 of 2 workers is of the latest spec; 3 in all"),
        ),
        (
            DeploymentState(replicas=3, updated=3, available=3, wanted=2, current=True),
            ("True", "RollingOut", "2 of 2 workers are of the latest spec; 3 in all"),
        ),
        (
            DeploymentState(replicas=2, updated=2, available=1, wanted=2, current=True),
            ("True", "WaitingForWorkers", "1 of 2 workers is available; the others are starting or failing"),
        ),
        (
            DeploymentState(replicas=2, updated=1, wanted=2, current=True, stalled=SLOW),
            ("False", "Stalled", f"{SLOW}; see why with: {DESCRIBE}"),
        ),
    ],
)
def test_progress_is_seen_not_assumed(pool_of: PoolOf, state: DeploymentState, expected: tuple[str, str, str]) -> None:
    """A rollout goes on until every worker is of the latest spec and available."""
    assert told(pool_status(pool_of(), Observed(deployment=state), None, NOW))["Progressing"] == expected


@pytest.mark.parametrize(
    ("state", "problems", "expected"),
    [
        (
            DeploymentState(failure="FailedCreate: exceeded quota"),
            (),
            ("True", "PodsRefused", "pods cannot be made: FailedCreate: exceeded quota"),
        ),
        (
            DeploymentState(stalled=SLOW),
            (),
            (
                "True",
                "Stalled",
                f"the rollout does not go on: ProgressDeadlineExceeded: slow; see why with: {DESCRIBE}",
            ),
        ),
        (
            WHOLE,
            (Problem(reason="A", message="a: one; do so"), Problem(reason="B", message="b: two; do so")),
            ("True", "A", "a: one; do so; b: two; do so"),
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_fix(
    pool_of: PoolOf, state: DeploymentState, problems: tuple[Problem, ...], expected: tuple[str, str, str]
) -> None:
    """All problems stand in one message, the first gives the reason; then what the Deployment complains of."""
    status = pool_status(pool_of(), Observed(deployment=state), None, NOW, problems=problems)
    assert told(status)["Degraded"] == expected


def test_a_condition_keeps_its_time(pool_of: PoolOf) -> None:
    """Only a change of True or False is a transition; a status about which nothing changed is equal."""
    pool = pool_of()
    before = pool_status(pool, Observed(deployment=WHOLE), None, NOW - 3600)
    same = pool_status(pool, Observed(deployment=WHOLE), before, NOW)
    worse = pool_status(pool, Observed(deployment=DeploymentState(wanted=2)), before, NOW)
    assert same == before
    assert [one["lastTransitionTime"] for one in worse["conditions"]] == [
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z",
        "2025-12-31T23:00:00Z",
    ]


@pytest.mark.parametrize("previous", [None, "x", {"conditions": "x"}, {"conditions": [1, {"type": 2}]}])
def test_an_odd_status_is_written_anew(pool_of: PoolOf, previous: object) -> None:
    """What stands there may be anybody's: it stops nothing."""
    assert pool_status(pool_of(), Observed(), previous, NOW) == pool_status(pool_of(), Observed(), None, NOW)


def test_a_refused_pool_keeps_its_workers_and_says_why(pool_of: PoolOf) -> None:
    """Counts and the other conditions stay; Degraded names the field and the fix."""
    before = pool_status(pool_of(), Observed(deployment=WHOLE), None, NOW - 3600)
    body = {
        "apiVersion": "background-tasks.dev/v1alpha1",
        "kind": "WorkerPool",
        "metadata": {"name": "crawl", "namespace": "demo", "uid": "11aa"},
        "spec": {"slots": 0},
    }
    unfit = pool_facts(body)
    assert isinstance(unfit, Unfit)
    after = refused_pool_status(unfit, 4, before, NOW)
    message = "spec.slots: 0 is too small; write 1 or more; the workers stay as they are until this is changed"
    assert told(after) == {**told(before), "Degraded": ("True", "Invalid", message)}
    assert {**after, "conditions": [], "observedGeneration": 3} == {**before, "conditions": []}
    assert after["observedGeneration"] == 4
