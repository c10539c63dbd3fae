"""What is wrong is told in one sentence that names field, value and fix, and takes no neighbour down."""

import json
from typing import Any

import pytest

from tests.e2e.kubectl import Shown, until
from tests.e2e.place import API, EACH_SECOND, Place

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def busy(shared_place: Place) -> Place:
    """Give a pool with one task that runs."""
    shared_place.pool()
    shared_place.task("neighbour", **EACH_SECOND)
    shared_place.wait_for_run("neighbour")
    return shared_place


def body(name: str, **spec: Any) -> dict[str, Any]:
    """Build a task."""
    declared = {"task": "record", "schedule": {"interval": "1h"}, **spec}
    return {"apiVersion": API, "kind": "BackgroundTask", "metadata": {"name": name}, "spec": declared}


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        pytest.param(
            {"schedule": {"interval": "1h", "every": "1h"}},
            "give exactly one of interval, every, cron, continuous, onStart; found interval and every",
            id="two schedules",
        ),
        pytest.param({"schedule": {"interval": "0s"}}, "spec.schedule.interval", id="an interval of nothing"),
        pytest.param({"overlap": "Queue"}, "goes with every and cron only", id="an overlap that cannot be"),
        pytest.param({"schedule": {"cron": "* * *"}}, "five fields", id="a cron of three fields"),
        pytest.param({"task": "not a name"}, "write a registered name (kg_decay) or module:attribute", id="no name"),
        pytest.param({"tsak": "record"}, 'unknown field "spec.tsak"', id="a field that does not exist"),
    ],
)
def test_the_api_server_refuses_what_it_can_judge(spec: dict[str, Any], told: str, busy: Place) -> None:
    """`kubectl apply` fails with the fix in its message, and nothing is stored."""
    said = busy.kube.refused("apply", "-f", "-", stdin=json.dumps(body("refused", **spec)))
    assert told in said
    assert busy.kube("get", "backgroundtask", "refused", "--ignore-not-found") == ""


@pytest.mark.parametrize(
    ("name", "spec", "reason", "told"),
    [
        pytest.param("no-such-task", {"task": "recrod"}, "UnknownTask", "record", id="a coroutine nobody has"),
        pytest.param("wrong-params", {"params": {"ulr": "x"}}, "InvalidParams", "spec.params", id="params of others"),
        pytest.param("no-service", {"task": "scheduled_prompt_tick"}, "MissingService", "redis", id="no Redis"),
        pytest.param(
            "no-module", {"task": "os:system"}, "UnknownTask", "taskModules", id="a module that is not allowed"
        ),
    ],
)
def test_a_worker_explains_what_only_it_can_judge(
    name: str, spec: dict[str, Any], reason: str, told: str, busy: Place
) -> None:
    """`Ready=False` has a reason for programs and a sentence for people; the task is accepted all the same."""
    busy.kube.apply(body(name, **spec))
    shown: Shown = until(f"{name} is judged", lambda: busy.kube.task(name), lambda t: t.is_now("Ready", "False"), 10)
    assert shown.condition("Ready")[1] == reason
    assert told in shown.condition("Ready")[2]
    until(f"{name} is accepted", lambda: busy.kube.task(name), lambda task: task.condition("Accepted")[0] == "True")


def test_a_task_without_a_pool_is_told_so(busy: Place) -> None:
    """`Accepted=False PoolNotFound` until the pool is there; then it runs."""
    busy.task("early", poolRef={"name": "late"}, schedule={"every": "1s"})
    shown = until("early is judged", lambda: busy.kube.task("early"), lambda task: task.condition("Accepted")[0], 10)
    assert shown.condition("Accepted")[:2] == ("False", "PoolNotFound")
    assert "there is no WorkerPool late" in shown.condition("Accepted")[2]
    busy.pool("late")
    busy.wait_for_run("early")
    until("early is accepted", lambda: busy.kube.task("early"), lambda task: task.condition("Accepted")[0] == "True")


def test_a_pool_whose_image_does_not_exist_is_told(busy: Place) -> None:
    """`Available=False` with the command that shows why; the pool's condition changes back with the image."""
    spec = {"image": "no-such-image:1", "imagePullPolicy": "Never", "slots": 4}
    busy.kube.apply({"apiVersion": API, "kind": "WorkerPool", "metadata": {"name": "broken"}, "spec": spec})
    shown = until(
        "broken is judged",
        lambda: busy.kube.shown("workerpool", "broken"),
        lambda pool: pool.is_now("Available", "False"),
    )
    assert "describe pods -l background-tasks.dev/pool=broken" in shown.condition("Available")[2]


def test_no_neighbour_noticed(busy: Place) -> None:
    """All of this beside a task that runs each second: none of its fire times was missed, none doubled."""
    busy.assert_exact("neighbour")
