"""A pool changes its image, its size, its node: no fire time is missed, none doubled, no two runs at one time."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Shell
from tests.e2e.kubectl import Kubectl, until
from tests.e2e.node import OwnNode
from tests.e2e.place import API, EACH_SECOND, Place
from tests.testbed.imagebuild import NAME as IMAGE

pytestmark = pytest.mark.e2e
OWN_IMAGE = "shop-tasks:0.1.0"
"""Of examples/own-image, built as docs/image.md says."""
TASKS = [f"second-{number}" for number in range(12)]


@pytest.fixture(scope="module")
def rolling(shared_place: Place) -> Place:
    """Give a pool of two workers with tasks on all its slots, each due every second."""
    shared_place.pool("rolling", replicas=2)
    for task in TASKS:
        shared_place.task(task, poolRef={"name": "rolling"}, **EACH_SECOND)
    for task in TASKS:
        shared_place.wait_for_run(task)
    return shared_place


@pytest.fixture
def exact(rolling: Place) -> Iterator[Place]:
    """Give it to a test that moves its workers, and look afterwards what became of every fire time."""
    yield rolling
    last = {task: rolling.runs(task)[-1].begun for task in TASKS}
    for task in TASKS:
        rolling.wait_for_run(task, after=last[task])
        rolling.assert_exact(task)


def holders(place: Place) -> set[str]:
    """Name the pods that hold slots."""
    rows = json.loads(place.kube.read("configmap", "rolling-slots")["data"]["slots"])
    return {row.partition(":")[2].rpartition(".")[0] for row in rows}


def patch(place: Place, spec: str) -> None:
    """Change the pool's spec."""
    place.kube("patch", "workerpool", "rolling", "--type=merge", "-p", f'{{"spec": {spec}}}')


def test_a_pool_is_scaled_up_and_down(exact: Place) -> None:
    """`kubectl scale` makes workers that take their share of slots, and drains those that go."""
    exact.kube("scale", "workerpool", "rolling", "--replicas=3")
    exact.wait_for_pool("rolling", workers=3)
    pods = set(exact.kube.ready_pods("rolling"))
    until("a share of slots for each", lambda: holders(exact), lambda found: found == pods, seconds=20)
    exact.kube("scale", "workerpool", "rolling", "--replicas=1")
    exact.wait_for_pool("rolling", workers=1)
    assert holders(exact) == set(exact.kube.ready_pods("rolling"))
    patch(exact, '{"replicas": 2}')
    exact.wait_for_pool("rolling", workers=2)


def test_a_new_image_rolls_out(exact: Place) -> None:
    """The workers of the old image are replaced one by one, each after its successor is ready."""
    before = set(exact.kube.ready_pods("rolling"))
    patch(exact, f'{{"image": "{OWN_IMAGE}"}}')
    until("the new workers", lambda: set(exact.kube.ready_pods("rolling")), lambda pods: not pods & before)
    exact.wait_for_pool("rolling", workers=2)
    images = {pod["spec"]["containers"][0]["image"] for pod in exact.kube.pods("rolling")}
    assert images == {OWN_IMAGE}
    assert not holders(exact) & before


def test_a_rollout_that_cannot_succeed_stops_no_task(exact: Place) -> None:
    """An image that does not exist leaves the workers that run, and is told; the next good image mends it."""
    before = set(exact.kube.ready_pods("rolling"))
    patch(exact, '{"image": "no-such-image:1", "imagePullPolicy": "Never"}')
    told = until(
        "the rollout is told",
        lambda: exact.kube.shown("workerpool", "rolling"),
        lambda pool: pool.is_now("Progressing", "True") and pool.status["replicas"] == 3,
    )
    assert told.condition("Available")[0] == "True"
    assert set(exact.kube.ready_pods("rolling")) == before
    patch(exact, f'{{"image": "{IMAGE}", "imagePullPolicy": "IfNotPresent"}}')
    exact.wait_for_pool("rolling", workers=2)


def test_a_drain_leaves_one_worker(exact: Place, node: OwnNode) -> None:
    """The pool's budget holds a drain up that would take its last worker; tasks go on, and the drain can end later."""
    (machine,) = {pod["spec"]["nodeName"] for pod in exact.kube.pods("rolling")}
    drain = ("drain", machine, "--pod-selector=background-tasks.dev/pool=rolling", "--delete-emptydir-data")
    try:
        said = exact.kube.refused(*drain, "--ignore-daemonsets", "--timeout=10s")
        assert "Cannot evict pod as it would violate the pod's disruption budget" in said
        assert len(exact.kube.ready_pods("rolling")) == 1
    finally:
        exact.kube("uncordon", machine)
    exact.wait_for_pool("rolling", workers=2)


def test_an_autoscaler_decides_how_many_workers_there_are(shared_place: Place) -> None:
    """Its lower bound wins over `replicas`, and the operator leaves it alone."""
    shared_place.kube.apply(
        {
            "apiVersion": API,
            "kind": "WorkerPool",
            "metadata": {"name": "scaled"},
            "spec": {"replicas": 1, "autoscaling": {"minReplicas": 2, "maxReplicas": 3}},
        }
    )
    shared_place.wait_for_pool("scaled", workers=2)
    shown = shared_place.kube.read("hpa", "scaled-workers")
    assert (shown["spec"]["minReplicas"], shown["status"]["desiredReplicas"]) == (2, 2)


def test_the_example_image_runs_as_its_page_says(kube: Kubectl, shell: Shell, shared_place: Place) -> None:
    """`examples/own-image/shop.yaml` as it stands: a pool from the image, a task of the module in it."""
    here = shared_place.kube
    shell(f"kubectl --namespace {here.namespace} apply -f examples/own-image/shop.yaml")
    until("the stock is counted", lambda: here.task("count-stock"), lambda task: task.ready and task.runs)
    assert '"event": "counted"' in here("logs", "deployment/shop-workers")
