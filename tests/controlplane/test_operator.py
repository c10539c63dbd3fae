"""The operator as a process on a real API server: what it makes, keeps, tells, and leaves alone."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.controlplane.operators import IMAGE, Operator, Place, wait_for

CHILDREN = "deployment,serviceaccount,role,rolebinding,configmap,service,poddisruptionbudget,networkpolicy"
EVERYTHING = f"{CHILDREN},backgroundtasks,workerpools"
OURS = ("-l", "app.kubernetes.io/managed-by=background-tasks-operator")
VACANT_S = 90.0
"""A pool that has no ready worker is settled once its tasks are told, which is after 30 s."""

type Operate = Callable[..., Operator]


def is_accepted(place: Place, task: str) -> Any:
    """Return a task's `Accepted`, once it is True."""
    found = place.condition("bgt", task, "Accepted")
    return found if found.get("status") == "True" else None


def versions(place: Place) -> dict[str, str]:
    """Return the version of every object of the namespace that the operator could have written."""
    return {f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["resourceVersion"]
            for one in place.all(EVERYTHING)
            if one["metadata"]["name"] != "background-tasks-operator-slots"}  # fmt: skip


def renewals(place: Place) -> str:
    """Return the version of the operator's own lease: it grows with every renewal."""
    return ",".join(lease["metadata"]["resourceVersion"] for lease in place.all("leases"))


def worker_tells(place: Place, task: str) -> None:
    """Apply a task's `Ready` as a worker of its pool does."""
    ready = {"type": "Ready", "status": "True", "reason": "Armed", "message": "", "observedGeneration": 1,
             "lastTransitionTime": "2026-01-01T00:00:00Z"}  # fmt: skip
    body = {"apiVersion": "background-tasks.dev/v1alpha1", "kind": "BackgroundTask", "metadata": {"name": task},
            "status": {"conditions": [ready], "worker": "p-workers-1.f0"}}  # fmt: skip
    options = ("--server-side", "--subresource=status", "--force-conflicts", "--field-manager=background-tasks-worker")
    place.kubectl("apply", *options, "-f", "-", stdin=json.dumps(body))


def wait_for_condition(place: Place, task: str, kind: str, **wanted: object) -> None:
    """Wait until a task's condition says what is wanted."""
    wait_for(lambda: wanted.items() <= place.condition("bgt", task, kind).items(), f"{task}: {kind} {wanted}", VACANT_S)


def lets_pass(place: Place, count: int) -> None:
    """Wait until so many renewals of the operator's lease went by, three seconds each."""
    for _ in range(count):
        before = renewals(place)
        wait_for(lambda seen=before: renewals(place) != seen, "a renewal of the operator's own lease")  # type: ignore[misc]


def test_one_task_on_a_fresh_cluster_ends_in_a_worker(place: Place, operate: Operate) -> None:
    """One `kubectl apply` of one task makes the pool `default`, its Deployment and all else, owned by the pool."""
    operate(place)
    place.task("first")
    deployment = place.deployment("default")
    pool = wait_for(lambda: place.get("bgp", "default"), "the pool")
    [owner] = deployment["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("WorkerPool", "default", pool["metadata"]["uid"])
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["args"]) == (IMAGE, ["worker", "--cluster"])
    wait_for(lambda: len(place.all(CHILDREN, *OURS)) == 8, "eight objects of the pool")
    wait_for(lambda: is_accepted(place, "first"), "the task is accepted")
    wait_for(lambda: place.condition("bgp", "default", "Available").get("reason") == "NoWorkerAvailable", "a status")
    wait_for(lambda: (place.get("bgp", "default") or {})["status"]["tasks"]["total"] == 1, "the task is counted")


@pytest.mark.parametrize("child", ["deployment", "role", "configmap"])
def test_what_somebody_deletes_comes_back(place: Place, operate: Operate, child: str) -> None:
    """A pool's object that is deleted is made again, with another uid."""
    operate(place)
    place.pool("p")
    place.deployment("p")
    name = "p-slots" if child == "configmap" else "p-workers"
    before = wait_for(lambda: place.get(child, name), f"the {child}")
    place.kubectl("delete", child, name)
    wait_for(
        lambda: (place.get(child, name) or before)["metadata"]["uid"] != before["metadata"]["uid"], f"a new {child}"
    )


def test_what_somebody_changes_is_put_right(place: Place, operate: Operate) -> None:
    """Fields that are ours are corrected; fields and labels of other people stay."""
    operate(place)
    place.pool("p", replicas=2)
    place.deployment("p")
    place.kubectl("scale", "deployment", "p-workers", "--replicas=7")
    wait_for(lambda: place.replicas("p") == 2, "two workers again")
    rule = {"op": "add", "path": "/rules/-", "value": {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}}
    place.kubectl("patch", "role", "p-workers", "--type=json", "-p", json.dumps([rule]))
    wait_for(lambda: "secrets" not in json.dumps(place.get("role", "p-workers")), "a role without the foreign rule")
    place.kubectl("label", "deployment", "p-workers", "theirs=yes", "background-tasks.dev/pool-", "--overwrite")
    wait_for(
        lambda: (place.get("deployment", "p-workers") or {})["metadata"]["labels"].get("background-tasks.dev/pool"),
        "our label again",
    )
    assert (place.get("deployment", "p-workers") or {})["metadata"]["labels"]["theirs"] == "yes"


def test_an_autoscaler_owns_the_number_of_workers(place: Place, operate: Operate) -> None:
    """With autoscaling, `replicas` is left to the HPA: taking over keeps the number, later changes do not reset it."""
    operate(place)
    place.pool("p", replicas=3)
    wait_for(lambda: place.replicas("p") == 3, "three workers")
    place.pool("p", replicas=3, autoscaling={"minReplicas": 1, "maxReplicas": 8})
    wait_for(lambda: place.get("hpa", "p-workers"), "an HPA")
    assert place.replicas("p") == 3
    place.kubectl("scale", "deployment", "p-workers", "--replicas=5")
    place.pool("p", replicas=3, autoscaling={"minReplicas": 1, "maxReplicas": 8}, drainTimeout="7s")
    grace = wait_for(lambda: "37" in json.dumps(place.get("deployment", "p-workers")) and place.replicas("p"), "7s")
    assert grace == 5
    place.pool("p", replicas=2)
    wait_for(lambda: place.get("hpa", "p-workers") is None, "no HPA any more")
    wait_for(lambda: place.replicas("p") == 2, "the pool's own number again")


def test_a_pool_is_scaled_as_a_deployment_is(place: Place, operate: Operate) -> None:
    """`kubectl scale workerpool` ends in the Deployment, and `status.selector` finds the pods."""
    operate(place)
    place.pool("p")
    place.deployment("p")
    place.kubectl("scale", "workerpool", "p", "--replicas=4")
    wait_for(lambda: place.replicas("p") == 4, "four workers")
    status = wait_for(lambda: (place.get("bgp", "p") or {}).get("status"), "a status")
    assert "background-tasks.dev/pool=p" in status["selector"]


def test_a_task_without_a_pool_is_told_and_accepted_once_there_is_one(place: Place, operate: Operate) -> None:
    """`PoolNotFound` names the pool and the fix; it turns when the pool comes, and comes back when the pool goes."""
    operate(place)
    place.task("lost", pool="nowhere")
    found = wait_for(lambda: place.condition("bgt", "lost", "Accepted"), "a verdict")
    assert (found["status"], found["reason"]) == ("False", "PoolNotFound")
    assert "nowhere" in found["message"]
    assert "create it" in found["message"]
    assert place.all("workerpools") == []
    place.pool("nowhere")
    wait_for(lambda: is_accepted(place, "lost"), "the task is accepted")
    place.kubectl("delete", "bgp", "nowhere")
    wait_for(lambda: place.condition("bgt", "lost", "Accepted").get("reason") == "PoolNotFound", "a verdict again")


def test_a_pool_that_the_api_refuses_is_explained_and_spares_its_neighbour(place: Place, operate: Operate) -> None:
    """What the API server says to a part stands in `Degraded`; the rest is made, other pools too; a repair helps."""
    operate(place)
    place.pool("bad", template={"volumes": [{"name": "Not A Name", "emptyDir": {}}]})
    place.pool("good")
    place.deployment("good")
    told = wait_for(
        lambda: (
            place.condition("bgp", "bad", "Degraded").get("status") == "True"
            and place.condition("bgp", "bad", "Degraded")
        ),
        "an explanation",
    )
    assert told["reason"] == "Refused"
    assert "Deployment bad-workers" in told["message"]
    assert "Not A Name" in told["message"]
    assert place.get("role", "bad-workers")
    assert place.get("deployment", "bad-workers") is None
    place.pool("bad", template={"volumes": []})
    place.deployment("bad")
    wait_for(lambda: place.condition("bgp", "bad", "Degraded").get("status") == "False", "all is well")


def test_a_default_pool_is_as_the_settings_say_or_not_made(place: Place, operate: Operate) -> None:
    """The chart's defaults become the spec of the pool `default`; where none may be made the task is told so."""
    operate(place, BGTASKS_OPERATOR_DEFAULT_POOL='{"replicas": 3, "slots": 5}')
    place.task("first")
    wait_for(lambda: place.replicas("default") == 3, "three workers")
    assert (place.get("bgp", "default") or {})["spec"]["slots"] == 5


def test_without_a_default_the_task_is_told(place: Place, operate: Operate) -> None:
    """Where the settings say that none is made, a task that names `default` has no pool."""
    operate(place, BGTASKS_OPERATOR_DEFAULT_POOL="null")
    place.task("first")
    found = wait_for(lambda: place.condition("bgt", "first", "Accepted"), "a verdict")
    assert (found["status"], found["reason"]) == ("False", "PoolNotFound")


def test_tasks_of_a_pool_without_workers_are_told_until_a_worker_speaks(place: Place, operate: Operate) -> None:
    """`Ready` turns False after 30 s, also over a dead worker's word; a worker takes it back, and it stays its own."""
    operate(place)
    place.pool("p", replicas=0)
    place.task("t", pool="p")
    place.task("fresh", pool="p")
    worker_tells(place, "t")
    for task in ("t", "fresh"):
        wait_for_condition(place, task, "Ready", reason="NoWorker")
        assert place.condition("bgt", task, "Ready")["status"] == "False"
        assert is_accepted(place, task)
    worker_tells(place, "t")
    for task in ("t", "fresh"):
        place.kubectl("patch", "bgt", task, "--type=merge", "-p", '{"spec": {"historyLimit": 7}}')
        wait_for_condition(place, task, "Accepted", observedGeneration=2)
    assert place.condition("bgt", "t", "Ready")["reason"] == "Armed"
    assert place.condition("bgt", "fresh", "Ready")["reason"] == "NoWorker"


def test_deleting_a_pool_leaves_nothing(place: Place, operate: Operate) -> None:
    """All objects go by their owner references; nothing of ours holds them up."""
    operate(place)
    place.pool("p")
    wait_for(lambda: len(place.all(CHILDREN, *OURS)) == 8, "eight objects of the pool")
    assert not (place.get("bgp", "p") or {})["metadata"].get("finalizers")
    place.kubectl("delete", "bgp", "p")
    wait_for(lambda: place.all(CHILDREN, *OURS) == [], "nothing left")


def test_nothing_is_written_while_nothing_changes_nor_by_a_restart(place: Place, operate: Operate) -> None:
    """A settled operator asks for no write, and one that is started anew finds all as it should be."""
    operator = operate(place)
    place.task("first")
    place.pool("p", replicas=2, template={"resources": {"requests": {"cpu": "0.05"}}})
    place.deployment("p")
    wait_for(lambda: is_accepted(place, "first"), "the task is accepted")
    wait_for(lambda: place.condition("bgp", "p", "Progressing").get("reason") == "WaitingForWorkers", "p's status")
    lets_pass(place, 2)
    wait_for(operator.is_settled, "a settled operator", VACANT_S)
    before, writes = versions(place), operator.writes()
    lets_pass(place, 3)
    assert (versions(place), operator.writes()) == (before, writes)
    assert operator.end() == 0
    again = operate(place, "operator-b")
    wait_for(again.is_settled, "a settled operator", VACANT_S)
    lets_pass(place, 2)
    assert versions(place) == before
    assert again.writes() <= 1, "a quantity that the API spells in its own way is applied once"
