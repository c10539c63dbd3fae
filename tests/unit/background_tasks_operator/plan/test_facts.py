"""What is read out of the bodies that a cluster sends."""

from dataclasses import replace
from typing import Any

import pytest

from background_tasks.api.pool import PoolSpec
from background_tasks.api.read import Unfit
from background_tasks_operator.plan.facts import deployment_state, pool_facts
from background_tasks_operator.plan.metadata import owned_by
from background_tasks_operator.plan.model import DeploymentState, PoolFacts

POOL: dict[str, Any] = {
    "apiVersion": "background-tasks.dev/v1alpha1",
    "kind": "WorkerPool",
    "metadata": {"name": "crawl", "namespace": "demo", "uid": "11aa", "generation": 4},
    "spec": {"replicas": 2},
}
FACTS = PoolFacts(namespace="demo", name="crawl", uid="11aa", generation=4, spec=PoolSpec(replicas=2))

DEPLOYMENT: dict[str, Any] = {
    "metadata": {
        "generation": 2,
        "managedFields": [
            {
                "manager": "background-tasks-operator",
                "operation": "Apply",
                "fieldsV1": {"f:spec": {"f:replicas": {}}},
            }
        ],
    },
    "spec": {"replicas": 3},
    "status": {
        "observedGeneration": 2,
        "replicas": 4,
        "readyReplicas": 2,
        "updatedReplicas": 1,
        "availableReplicas": 2,
        "unavailableReplicas": 2,
        "conditions": [
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too slow"},
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"},
        ],
    },
}


def test_a_pool_is_read() -> None:
    """Identity, generation and spec come from the body."""
    assert pool_facts(POOL) == FACTS


def test_a_pool_that_goes_is_known() -> None:
    """A deletion time says that it is going."""
    going = {**POOL, "metadata": {**POOL["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert pool_facts(going) == replace(FACTS, deleting=True)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({**POOL, "spec": {"replicas": -1}}, "spec.replicas: -1 is too small; write 0 or more"),
        ({**POOL, "kind": "BackgroundTask"}, "spec.task: is missing"),
        ({**POOL, "kind": "ConfigMap", "apiVersion": "v1"}, 'kind: "ConfigMap" is not a WorkerPool'),
        ({**POOL, "metadata": {"name": "crawl"}}, "metadata.uid: is missing"),
        (None, "is not a mapping; write apiVersion"),
    ],
)
def test_what_is_no_pool_is_refused(body: object, told: str) -> None:
    """The refusal names field and fix, whatever the cluster sent."""
    read = pool_facts(body)
    assert isinstance(read, Unfit)
    assert told in " ".join(refusal.message for refusal in read.refusals)


def test_a_deployment_is_read() -> None:
    """Counts, whether they are about the latest spec, who owns the number, and why it stands still."""
    assert deployment_state(DEPLOYMENT) == DeploymentState(
        replicas=4,
        ready=2,
        updated=1,
        available=2,
        unavailable=2,
        wanted=3,
        current=True,
        stalled="ProgressDeadlineExceeded: too slow",
        failure="FailedCreate: quota",
        replicas_ours=True,
    )


@pytest.mark.parametrize("body", [{}, {"metadata": None, "status": [], "spec": "x"}, {"status": {"replicas": "two"}}])
def test_what_a_deployment_does_not_say_is_nothing(body: dict[str, Any]) -> None:
    """Counts that are not there, or are none, are zero, and are not about the latest spec."""
    assert deployment_state(body) == DeploymentState()


@pytest.mark.parametrize(
    ("manager", "operation"), [("background-tasks-handover", "Apply"), ("background-tasks-operator", "Update")]
)
def test_the_number_is_ours_only_when_we_applied_it(manager: str, operation: str) -> None:
    """Another manager's field stays when we leave it out."""
    entry = {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    assert not deployment_state({"metadata": {"managedFields": [entry]}}).replicas_ours


@pytest.mark.parametrize(
    ("owners", "owned"),
    [
        ([{"uid": "11aa", "controller": True}], True),
        ([{"uid": "11aa"}], False),
        ([{"uid": "22bb", "controller": True}], False),
        ([], False),
        (None, False),
        (["11aa"], False),
    ],
)
def test_only_what_the_pool_controls_is_its_own(owners: object, owned: bool) -> None:
    """An object of the same name that somebody else made is not the pool's to delete."""
    assert owned_by(FACTS, {"metadata": {"ownerReferences": owners}}) is owned
