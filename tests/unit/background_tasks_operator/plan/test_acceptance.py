"""Whether a task is accepted, and when that is written."""

from typing import Any

import pytest

from background_tasks_operator.plan.acceptance import (
    SILENT_AFTER_S,
    VACANT_AFTER_S,
    acceptance,
    accepted_status,
    needs_default_pool,
    no_worker,
    no_worker_from,
)
from background_tasks_operator.plan.conditions import MESSAGE_LENGTH, Condition
from background_tasks_operator.plan.default_pool import default_pool
from background_tasks_operator.settings import Settings

NOW = 1_767_225_600.0


def task(*, status: object = None, **spec: Any) -> dict[str, Any]:
    """Write a task as a cluster sends it."""
    return {
        "apiVersion": "background-tasks.dev/v1alpha1",
        "kind": "BackgroundTask",
        "metadata": {"name": "decay", "namespace": "demo", "uid": "33cc", "generation": 2},
        "spec": {"task": "kg_decay", "schedule": {"interval": "30s"}, **spec},
        "status": status or {},
    }


def condition(status: Any, reason: str, message: str) -> Condition:
    """Write what is to be told of the task's second generation."""
    return Condition(type="Accepted", status=status, reason=reason, message=message, observed_generation=2)


def test_a_task_with_a_pool_is_accepted() -> None:
    """It can be read and its pool exists: the rest is for a worker to say."""
    told = condition("True", "Accepted", "workers of the pool crawl run it")
    assert acceptance(task(poolRef={"name": "crawl"}), {"crawl"}) == told
    assert acceptance(task(), {"default"}).status == "True"


def test_a_task_without_a_pool_is_told_where_to_go() -> None:
    """The message names the field and three ways out."""
    message = (
        "spec.poolRef.name: there is no WorkerPool crawl in the namespace demo; "
        "create it, name one that exists, or remove poolRef to use the pool default"
    )
    told = condition("False", "PoolNotFound", message)
    assert acceptance(task(poolRef={"name": "crawl"}), {"default"}) == told


def test_a_default_pool_that_nobody_makes_is_missed_too() -> None:
    """Where none is made on demand, the message says so."""
    told = acceptance(task(), set())
    assert (told.reason, told.message.endswith("and none is made here; create it")) == ("PoolNotFound", True)


def test_a_task_that_cannot_be_read_is_told_why() -> None:
    """All that is wrong stands in one message, each with its fix."""
    told = acceptance(task(missed={"limit": 0}, overlap="Qeue"), {"default"})
    message = (
        'spec.missed.limit: 0 is too small; write 1 or more; spec.overlap: "Qeue" is not known; did you mean Queue?'
    )
    assert told == condition("False", "Invalid", message)


@pytest.mark.parametrize("body", [{}, {"kind": "ConfigMap", "metadata": {"name": "a"}}, {"metadata": "x", "spec": 1}])
def test_anything_can_be_judged(body: dict[str, Any]) -> None:
    """Whatever a cluster sends, there is an answer, and none about a thing without a name is written."""
    told = acceptance(body, {"default"})
    assert (told.status, told.reason) == ("False", "Invalid")
    assert (accepted_status(body, told, NOW) is None) == ("name" not in (body.get("metadata") or ()))


def test_acceptance_is_written_once() -> None:
    """The write says only what is ours, about this very task; what is told already is not written again."""
    told = acceptance(task(), {"default"})
    write = accepted_status(task(), told, NOW)
    assert write == {
        "apiVersion": "background-tasks.dev/v1alpha1",
        "kind": "BackgroundTask",
        "metadata": {"name": "decay", "namespace": "demo", "uid": "33cc"},
        "status": {
            "conditions": [
                {
                    "type": "Accepted",
                    "status": "True",
                    "reason": "Accepted",
                    "message": "workers of the pool default run it",
                    "observedGeneration": 2,
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
            ]
        },
    }
    assert accepted_status(task(status=write["status"]), told, NOW + 60) is None


def test_a_change_is_written_with_its_time() -> None:
    """Another reason is written, and the time stays that of the last change between True and False."""
    first = accepted_status(task(), acceptance(task(), set()), NOW)
    assert first is not None
    changed = task(status=first["status"], missed={"limit": 0})
    second = accepted_status(changed, acceptance(changed, set()), NOW + 60)
    third = accepted_status(task(status=first["status"]), acceptance(task(), {"default"}), NOW + 60)
    assert [write and write["status"]["conditions"][0]["lastTransitionTime"] for write in (second, third)] == [
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:01:00Z",
    ]


def test_no_worker_is_told_with_the_fix() -> None:
    """Both conditions are one write, over the version that was seen; told, it is not written again."""
    body = task(status={"conditions": [{"type": "Ready", "status": "True", "reason": "Armed"}]})
    body["metadata"]["resourceVersion"] = "7"
    vacant = no_worker("demo", "default", 2, pool_exists=True)
    write = accepted_status(body, acceptance(body, {"default"}), NOW, ready=vacant)
    assert write is not None
    assert write["metadata"] == {"name": "decay", "namespace": "demo", "uid": "33cc", "resourceVersion": "7"}
    assert write["status"]["conditions"][1] == {
        "type": "Ready",
        "status": "False",
        "reason": "NoWorker",
        "message": "the pool default has no ready worker; scale it up, or see what is wrong with its pods: "
        "kubectl -n demo describe workerpool default",
        "observedGeneration": 2,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    assert accepted_status(task(status=write["status"]), acceptance(body, {"default"}), NOW + 9, ready=vacant) is None


@pytest.mark.parametrize(("reason", "stays"), [("NoWorker", True), ("UnknownTask", False)])
def test_no_worker_stays_until_a_worker_takes_it_back(reason: str, stays: bool) -> None:
    """Only what was told by us is applied again: a worker's verdict is the worker's."""
    ready = {"type": "Ready", "status": "False", "reason": reason}
    body = task(status={"conditions": [ready]})
    write = accepted_status(body, acceptance(body, {"default"}), NOW)
    assert write is not None
    assert write["status"]["conditions"][1:] == ([ready] if stays else [])


def test_a_worker_that_speaks_is_not_contradicted() -> None:
    """Last words of workers that went do not count; a word long after shows that one lives."""
    assert no_worker_from(vacant_since=100, changed_at=20) == 100 + VACANT_AFTER_S
    assert no_worker_from(vacant_since=100, changed_at=129) == 100 + VACANT_AFTER_S
    assert no_worker_from(vacant_since=100, changed_at=200) == 200 + SILENT_AFTER_S


def test_a_long_message_is_cut_and_still_known() -> None:
    """A message has an end, and cut it counts as told."""
    long = condition("False", "Invalid", "x" * (MESSAGE_LENGTH + 1))
    write = accepted_status(task(), long, NOW)
    assert write is not None
    assert len(write["status"]["conditions"][0]["message"]) == MESSAGE_LENGTH
    assert accepted_status(task(status=write["status"]), long, NOW) is None


def test_the_default_pool_is_made_on_demand(settings: Settings) -> None:
    """A task that names no pool, or names `default`, asks for it where there is none."""
    assert needs_default_pool(task(), set())
    assert needs_default_pool(task(poolRef={"name": "default"}), {"crawl"})
    assert not needs_default_pool(task(), {"default"})
    assert not needs_default_pool(task(poolRef={"name": "crawl"}), set())


def test_the_default_pool_is_the_charts() -> None:
    """Its spec is what the settings say, untouched; null makes none."""
    made = default_pool(Settings(image="i", default_pool={"replicas": 2}), "demo")
    assert made == {
        "apiVersion": "background-tasks.dev/v1alpha1",
        "kind": "WorkerPool",
        "metadata": {
            "name": "default",
            "namespace": "demo",
            "labels": {
                "app.kubernetes.io/managed-by": "background-tasks-operator",
                "app.kubernetes.io/part-of": "background-tasks",
            },
        },
        "spec": {"replicas": 2},
    }
    assert default_pool(Settings(image="i"), "demo") is None
