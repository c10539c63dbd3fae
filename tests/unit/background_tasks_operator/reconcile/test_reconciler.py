"""What reconciling does to a cluster, and what it leaves alone. A cluster in memory, virtual time."""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from background_tasks.errors import Refused, Unavailable
from background_tasks_operator.plan.model import Capability
from background_tasks_operator.reconcile.keys import PoolKey
from background_tasks_operator.reconcile.pools import STATUS_GAP_S

if TYPE_CHECKING:
    from tests.unit.background_tasks_operator.reconcile.conftest import World


def test_a_first_task_brings_the_default_pool(world: "World") -> None:
    """The pool is made as the settings say, then its objects; the task is accepted in one write."""
    world.task("first")
    writes = world.run()
    assert world.get("WorkerPool", "default")["spec"] == {"replicas": 2}
    assert world.get("Deployment", "default-workers")["spec"]["replicas"] == 2
    assert world.condition("BackgroundTask", "first", "Accepted")["status"] == "True"
    assert Counter(writes)["status", "BackgroundTask first"] == 1
    assert Counter(verb for verb, _ in writes)["create"] == 1


def test_nothing_more_is_written_once_all_is_there(world: "World") -> None:
    """Neither time nor events that change nothing make a write."""
    world.task("first")
    world.pool("other", replicas=3)
    world.run(60)
    world.list_anew()
    assert world.run(300) == []


def test_a_hundred_tasks_make_one_pool(world: "World") -> None:
    """However many tasks ask for the default pool at once, it is asked for and made once."""
    for number in range(100):
        world.task(f"t{number}")
    writes = world.run()
    assert Counter(verb for verb, _ in writes)["create"] == 1
    assert world.reads.count("WorkerPool default") == 1
    assert world.get("WorkerPool", "default")["status"]["tasks"]["total"] == 100


def test_absence_is_asked_for_before_it_is_told(world: "World") -> None:
    """A pool that no watch told of may exist: the task is accepted, not refused."""
    world.is_watched = False
    world.pool("slow")
    world.is_watched = True
    world.task("early", pool="slow")
    world.run()
    assert world.condition("BackgroundTask", "early", "Accepted")["status"] == "True"
    assert Counter(world.requests)["status", "BackgroundTask early"] == 1


def test_a_task_follows_its_pool(world: "World") -> None:
    """PoolNotFound while there is none, accepted when it comes, PoolNotFound when it goes."""
    told = []
    world.task("t", pool="p")
    changes: list[Callable[[], None]] = [lambda: None, lambda: world.pool("p"), lambda: world.remove("WorkerPool", "p")]
    for change in changes:
        change()
        world.run()
        told.append(world.condition("BackgroundTask", "t", "Accepted")["reason"])
    assert told == ["PoolNotFound", "Accepted", "PoolNotFound"]


def test_no_default_pool_where_none_is_wanted(world_without_default: "World") -> None:
    """The task is told instead."""
    world = world_without_default
    world.task("first")
    world.run()
    assert world.condition("BackgroundTask", "first", "Accepted")["reason"] == "PoolNotFound"
    assert world.get("WorkerPool", "default") == {}


def test_a_default_pool_that_is_refused_is_tried_again(world: "World") -> None:
    """A quota that stands in the way is told as a missing pool; when it is lifted the pool comes."""
    world.spoil = lambda verb, what: Refused("quota exceeded") if verb == "create" else None
    world.task("first")
    world.run(10)
    assert world.condition("BackgroundTask", "first", "Accepted")["reason"] == "PoolNotFound"
    world.spoil = lambda verb, what: None
    world.run(90)
    assert world.condition("BackgroundTask", "first", "Accepted")["reason"] == "Accepted"


def test_a_task_that_cannot_be_read_is_told_and_spares_its_neighbours(world: "World") -> None:
    """A body that the definitions let through is refused in a sentence; a repaired one is accepted."""
    world.task("bad", schedule={"every": "5m", "interval": "1s"})
    world.task("good")
    world.run()
    assert world.condition("BackgroundTask", "bad", "Accepted")["reason"] == "Invalid"
    assert "schedule" in world.condition("BackgroundTask", "bad", "Accepted")["message"]
    assert world.condition("BackgroundTask", "good", "Accepted")["status"] == "True"
    world.task("bad")
    world.run()
    assert world.condition("BackgroundTask", "bad", "Accepted")["status"] == "True"


def test_a_pool_that_cannot_be_read_keeps_its_workers(world: "World") -> None:
    """It is told why, its objects stay as they were, and its neighbour is changed as asked."""
    world.pool("p", replicas=2)
    world.pool("q", replicas=2)
    world.run()
    world.pool("p", replicas="many")
    world.pool("q", replicas=4)
    writes = world.run()
    assert world.condition("WorkerPool", "p", "Degraded")["reason"] == "Invalid"
    assert world.get("Deployment", "p-workers")["spec"]["replicas"] == 2
    assert world.get("Deployment", "q-workers")["spec"]["replicas"] == 4
    assert not [what for verb, what in writes if verb == "apply" and what.endswith(" p-workers")]


def test_what_the_api_refuses_stands_in_the_status(world: "World") -> None:
    """The API's sentence is told, the other objects are made, and it is tried again."""
    world.spoil = lambda verb, what: Refused("no such volume") if what == "Deployment p-workers" else None
    world.pool("p")
    world.run(5)
    told = world.condition("WorkerPool", "p", "Degraded")
    assert (told["status"], told["reason"]) == ("True", "Refused")
    assert "Deployment p-workers: no such volume" in told["message"]
    assert world.get("Role", "p-workers")
    world.spoil = lambda verb, what: None
    world.run(90)
    assert world.condition("WorkerPool", "p", "Degraded")["status"] == "False"


def test_an_outage_is_waited_for(world: "World") -> None:
    """While nobody answers, requests become rare; afterwards everything is there."""
    world.spoil = lambda verb, what: Unavailable("down")
    world.pool("p")
    world.task("t", pool="p")
    assert len(world.run(600)) < 60
    world.spoil = lambda verb, what: None
    world.run(90)
    assert world.get("Deployment", "p-workers")
    assert world.condition("BackgroundTask", "t", "Accepted")["status"] == "True"


def test_what_somebody_deletes_or_changes_is_put_right(world: "World") -> None:
    """Only what differs is applied, once."""
    world.pool("p")
    world.run()
    world.remove("Role", "p-workers")
    assert ("apply", "Role p-workers") in world.run()
    changed = world.get("Deployment", "p-workers")
    world.put({**changed, "spec": {**changed["spec"], "replicas": 9}})
    assert world.run() == [("apply", "Deployment p-workers")]
    assert world.get("Deployment", "p-workers")["spec"]["replicas"] == 1


def test_what_must_not_be_is_deleted_only_where_it_is_ours(world: "World") -> None:
    """An HPA goes when autoscaling goes; one of another owner stays."""
    world.pool("p", autoscaling={"maxReplicas": 3})
    world.run()
    theirs = {**world.get("HorizontalPodAutoscaler", "p-workers")}
    world.pool("p")
    assert ("delete", "HorizontalPodAutoscaler p-workers") in world.run()
    world.put({**theirs, "metadata": {**theirs["metadata"], "uid": "other", "ownerReferences": []}}, "ADDED")
    assert world.run() == []


def test_numbers_are_written_at_most_every_few_seconds(world: "World") -> None:
    """A rollout that changes its numbers ten times a second costs a write every three."""
    world.pool("p", replicas=100)
    world.run()
    deployment = world.get("Deployment", "p-workers")
    writes = []
    for ready in range(100):
        deployment = world.put({**deployment, "status": {"readyReplicas": ready, "replicas": 100}})
        writes += world.run(0.1)
    writes += world.run(10)
    assert len(writes) <= 10 / STATUS_GAP_S + 2
    assert world.get("WorkerPool", "p")["status"]["readyReplicas"] == 99


def test_a_pool_that_goes_gets_nothing_new(world: "World") -> None:
    """While somebody's finalizer holds a deleted pool, its objects are not made again."""
    world.pool("p")
    world.run()
    pool = world.get("WorkerPool", "p")
    world.put({**pool, "metadata": {**pool["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}})
    world.remove("Deployment", "p-workers")
    assert world.run() == []


def test_a_task_that_is_made_again_is_another_one(world: "World") -> None:
    """A verdict for a deleted task does not fall on the one that has its name now."""
    world.pool("p")
    world.task("t", pool="p")
    world.run()
    old = world.get("BackgroundTask", "t")
    world.remove("BackgroundTask", "t")
    world.task("t", pool="nowhere")
    world.run()
    world.memory.told("DELETED", old)
    world.run()
    assert world.condition("BackgroundTask", "t", "Accepted")["reason"] == "PoolNotFound"
    assert world.memory.tasks.counts(PoolKey("here", "nowhere")).total == 1


@pytest.mark.parametrize("count", [3, 60])
def test_what_was_deleted_behind_our_back_is_found_after_a_new_list(world: "World", count: int) -> None:
    """A watch that begins again with a list says nothing of deletions: what it lacks is asked for, and forgotten."""
    world.pool("p")
    for number in range(count):
        world.task(f"t{number}", pool="p")
    world.run(60)
    world.is_watched = False
    for number in range(count):
        world.remove("BackgroundTask", f"t{number}")
    world.remove("Role", "p-workers")
    world.is_watched = True
    world.list_anew()
    world.run(60)
    assert world.get("WorkerPool", "p")["status"]["tasks"]["total"] == 0
    assert world.get("Role", "p-workers")
    assert ("all BackgroundTask" in world.reads) == (count > 20)


def test_a_kind_that_is_installed_later_is_used(world: "World") -> None:
    """A pool that asks for a ServiceMonitor is told that there is no such kind, and gets it once there is."""
    world.pool("p", monitoring={"serviceMonitor": True})
    world.run()
    assert world.condition("WorkerPool", "p", "Degraded")["status"] == "True"
    world.served = frozenset({Capability.SERVICE_MONITOR})
    world.run(700)
    assert world.get("ServiceMonitor", "p-workers")
    assert world.condition("WorkerPool", "p", "Degraded")["status"] == "False"
