"""A pool without a ready worker: when its tasks are told, how often, and that a worker that comes back wins."""

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

import pytest

from background_tasks_operator.reconcile.reconciler import BURST, KEYS_PER_S

if TYPE_CHECKING:
    from tests.unit.background_tasks_operator.reconcile.conftest import World

TOLD = ("status", "BackgroundTask t")


def ready(world: "World", task: str = "t") -> tuple[Any, Any]:
    """Return status and reason of a task's `Ready`."""
    told = world.condition("BackgroundTask", task, "Ready")
    return told.get("status"), told.get("reason")


@pytest.fixture
def served(world: "World") -> "World":
    """Give a world in which a ready worker of the pool `p` serves the task `t`."""
    world.pool("p")
    world.task("t", pool="p")
    world.run(5)
    world.workers("p", ready=1)
    world.worker_tells("t")
    world.run(60)
    return world


def test_tasks_are_told_when_their_workers_are_gone(served: "World") -> None:
    """Not before 30 s, once, with what to do; the pool counts them as not ready; nothing more is written."""
    assert ready(served) == ("True", "Armed")
    served.workers("p", ready=0)
    assert TOLD not in served.run(29)
    assert served.run(5).count(TOLD) == 1
    assert ready(served) == ("False", "NoWorker")
    assert "kubectl -n here describe workerpool p" in served.condition("BackgroundTask", "t", "Ready")["message"]
    assert served.condition("BackgroundTask", "t", "Accepted")["status"] == "True"
    assert served.get("WorkerPool", "p")["status"]["tasks"]["ready"] == 0
    served.list_anew()
    assert served.run(600) == []


def test_a_pool_that_is_scaled_to_nothing_has_no_worker(served: "World") -> None:
    """What the Deployment wants counts, also while its last worker is still told as ready."""
    served.pool("p", replicas=0)
    served.run(40)
    assert ready(served) == ("False", "NoWorker")


def test_short_gaps_are_not_told(served: "World") -> None:
    """Each ready worker begins the 30 s anew."""
    for _ in range(4):
        served.workers("p", ready=0)
        assert TOLD not in served.run(20)
        served.workers("p", ready=1)
        assert TOLD not in served.run(20)
    assert ready(served) == ("True", "Armed")


def test_a_worker_that_comes_back_wins(served: "World") -> None:
    """It takes `Ready` back; the next `Accepted` leaves it alone."""
    served.workers("p", ready=0)
    served.run(40)
    served.workers("p", ready=1)
    assert TOLD not in served.run(5)
    served.worker_tells("t", reason="Running")
    served.task("t", pool="p", suspend=False)
    assert served.run(300).count(TOLD) == 1
    assert ready(served) == ("True", "Running")
    assert served.condition("BackgroundTask", "t", "Accepted")["observedGeneration"] == 2


def test_no_worker_stays_told_through_other_writes(served: "World") -> None:
    """An edit of the task brings one write that holds both conditions, with a worker on its way or not."""
    served.workers("p", ready=0)
    served.run(40)
    for edit, workers in enumerate((0, 1), start=1):
        served.workers("p", ready=workers)
        served.task("t", pool="p", historyLimit=edit)
        assert served.run(60).count(TOLD) == 1
        assert ready(served) == ("False", "NoWorker")


def test_a_worker_that_wrote_under_our_hands_wins(served: "World") -> None:
    """What was decided about an older version of the task is not written over the newer one."""
    served.workers("p", ready=0)
    served.run(25)
    served.is_watched = False
    served.worker_tells("t", reason="Running")
    assert TOLD in served.run(20)
    assert ready(served) == ("True", "Running")


def test_a_worker_that_lives_and_is_not_ready_is_not_fought(served: "World") -> None:
    """It shows its tasks every half minute, and is contradicted once at most; when it is silent for good, again."""
    served.workers("p", ready=0)
    writes = served.run(31)
    for _ in range(10):
        served.worker_tells("t")
        writes += served.run(31)
        assert ready(served) == ("True", "Armed")
    assert writes.count(TOLD) == 1
    served.run(90)
    assert ready(served) == ("False", "NoWorker")


def test_what_a_worker_refused_stays_refused(served: "World") -> None:
    """`Ready` that is False already has a better reason."""
    served.worker_tells("t", "False", "UnknownTask")
    served.workers("p", ready=0)
    assert TOLD not in served.run(120)
    assert ready(served) == ("False", "UnknownTask")


def test_a_pool_that_is_gone_has_no_worker(served: "World") -> None:
    """A task that was ready is told; one that never was has `PoolNotFound`, which says it all."""
    served.task("new", pool="nowhere")
    served.remove("WorkerPool", "p")
    served.run(29)
    assert ready(served) == ("True", "Armed")
    served.run(5)
    assert (ready(served), ready(served, "new")) == (("False", "NoWorker"), (None, None))
    assert served.condition("BackgroundTask", "t", "Accepted")["reason"] == "PoolNotFound"
    assert served.run(600) == []


def test_a_pool_that_is_made_anew_has_its_time(served: "World") -> None:
    """Its workers are starting: the 30 s begin with it."""
    served.remove("WorkerPool", "p")
    served.remove("Deployment", "p-workers")
    served.run(20)
    served.pool("p")
    served.run(25)
    assert ready(served) == ("True", "Armed")


def test_many_tasks_are_told_at_a_measured_pace(world: "World") -> None:
    """A large pool that loses its workers does not flood the API server; each of its tasks is told once."""
    count = 3 * BURST
    world.pool("p")
    world.run(5)
    world.workers("p", ready=1)
    for number in range(count):
        world.task(f"t{number}", pool="p")
    world.run(60)
    told: list[tuple[str, float]] = []
    world.spoil = lambda verb, what: told.append((what, world.time.monotonic()))
    world.workers("p", ready=0)
    world.run(60)
    at = sorted(instant for what, instant in told if what.startswith("BackgroundTask"))
    assert len(at) == len({what for what, _ in told if what.startswith("BackgroundTask")}) == count
    assert max(bisect_left(at, instant + 1) - number for number, instant in enumerate(at)) <= BURST + KEYS_PER_S + 1
    assert at[-1] - at[0] >= (count - BURST) / KEYS_PER_S - 0.1
