"""What people do to a task that runs: edit, suspend, resume, ask for a run, pause, delete. No neighbour notices."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.kubectl import Shown, until
from tests.e2e.place import EACH_SECOND, Place

pytestmark = pytest.mark.e2e
ARMED_S = 2.0
"""What is promised after an edit."""
SLACK_S = 1.0
"""For a run to begin, and for its telling to reach the recorder's log."""


@pytest.fixture(scope="module")
def busy(shared_place: Place) -> Iterator[Place]:
    """Give a pool with a neighbour that runs each second, all the time, whatever happens to the others."""
    shared_place.pool()
    shared_place.task("neighbour", **EACH_SECOND)
    shared_place.wait_for_run("neighbour")
    yield shared_place
    shared_place.assert_exact("neighbour")


def annotate(place: Place, task: str, *annotations: str) -> None:
    """Set annotations of ours."""
    ours = [f"background-tasks.dev/{one}" for one in annotations]
    place.kube("annotate", "--overwrite", "backgroundtask", task, *ours)


def patch(place: Place, task: str, spec: str) -> float:
    """Change a task's spec, and return when that was said."""
    place.kube("patch", "backgroundtask", task, "--type=merge", "-p", f'{{"spec": {spec}}}')
    return time.time()


def stopped(place: Place, task: str, reason: str) -> str:
    """Wait until a task says why it does not run; return the sentence."""
    shown = until(
        f"{task} says {reason}",
        lambda: place.kube.task(task),
        lambda shown: shown.is_now("Ready", "False") and shown.condition("Ready")[1] == reason,
        seconds=ARMED_S + SLACK_S,
    )
    return shown.condition("Ready")[2]


def ready(place: Place, task: str) -> Shown:
    """Wait until a task says that it runs as declared now."""
    return until(f"{task} is ready", lambda: place.kube.task(task), lambda shown: shown.ready, ARMED_S + SLACK_S)


def assert_nothing_begins(place: Place, task: str, *, after: float) -> None:
    """No run begins later than is promised after an instant."""
    until("the time in which it would", time.time, lambda now: now > after + 2 * ARMED_S)
    assert [run for run in place.runs(task) if run.begun > after + ARMED_S] == []


def test_an_edited_interval_is_armed_at_once(busy: Place) -> None:
    """Less than 2 s after `kubectl` said so the new interval counts."""
    busy.task("edited", schedule={"interval": "6h", "initialDelay": "6h"})
    ready(busy, "edited")
    said = patch(busy, "edited", '{"schedule": {"interval": "1s", "initialDelay": "0s"}}')
    first = busy.wait_for_run("edited")
    assert first.begun - said < ARMED_S
    busy.wait_for_run("edited", after=first.begun, seconds=5)
    assert ready(busy, "edited").status["schedule"] == "interval 1s"


def test_a_suspended_task_stops_and_a_resumed_one_goes_on(busy: Place) -> None:
    """`spec.suspend` is obeyed both ways, and the status tells which."""
    busy.task("suspended", schedule={"every": "1s"})
    busy.wait_for_run("suspended")
    said = patch(busy, "suspended", '{"suspend": true}')
    assert "set it to false to go on" in stopped(busy, "suspended", "Suspended")
    assert_nothing_begins(busy, "suspended", after=said)
    said = patch(busy, "suspended", '{"suspend": false}')
    assert busy.wait_for_run("suspended", after=said, seconds=5).begun - said < ARMED_S
    ready(busy, "suspended")


def test_an_annotation_asks_for_one_run(busy: Place) -> None:
    """Each new value of `run-now` is one run more, of a suspended task too; the schedule does not move."""
    busy.task("asked", schedule={"interval": "6h", "initialDelay": "6h"})
    before = ready(busy, "asked").status["nextRunTime"]
    annotate(busy, "asked", "run-now=first")
    first = busy.wait_for_run("asked", seconds=5)
    patch(busy, "asked", '{"suspend": true}')
    stopped(busy, "asked", "Suspended")
    annotate(busy, "asked", "run-now=second")
    busy.wait_for_run("asked", after=first.begun, seconds=5)
    patch(busy, "asked", '{"suspend": false}')
    shown = ready(busy, "asked")
    assert (len(busy.runs("asked")), shown.status["runs"]["succeeded"]) == (2, 2)
    assert shown.status["nextRunTime"] >= before


def test_a_pause_by_annotation_ends_by_itself(busy: Place) -> None:
    """`paused-until` stops a task until then, says by whom, and GitOps finds its spec unchanged."""
    busy.task("paused", schedule={"every": "1s"})
    busy.wait_for_run("paused")
    generation = ready(busy, "paused").body["metadata"]["generation"]
    said, end = time.time(), datetime.now(UTC) + timedelta(seconds=6)
    annotate(busy, "paused", f"paused-until={end.isoformat()}", "paused-by=ada")
    assert "by ada" in stopped(busy, "paused", "Paused")
    assert busy.wait_for_run("paused", after=said + ARMED_S).begun >= end.timestamp()
    assert ready(busy, "paused").body["metadata"]["generation"] == generation


def test_a_deleted_task_stops_at_once(busy: Place) -> None:
    """Nothing holds the resource back, and no run begins 2 s later; the pool counts one task less."""
    busy.task("deleted", schedule={"every": "1s"})
    busy.wait_for_run("deleted")
    busy.kube("delete", "backgroundtask", "deleted", "--timeout=5s")
    assert_nothing_begins(busy, "deleted", after=time.time())
    left = len(busy.kube.tasks())
    until("the count", lambda: busy.kube.shown("workerpool", "default").status["tasks"]["total"], lambda n: n == left)
