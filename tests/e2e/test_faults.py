"""What breaks around the tasks, and what they do meanwhile: they go on, or stop as promised; nothing is doubled."""

import itertools
import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import RELEASE
from tests.e2e.kubectl import Kubectl, until
from tests.e2e.node import OwnNode, Stores
from tests.e2e.place import EACH_SECOND, Place

pytestmark = pytest.mark.e2e
TASKS = [f"second-{number}" for number in range(6)]
OPERATOR = f"deployment/{RELEASE}-operator"
LEASE_S = 12.0
"""`lease.duration` of these pools: the default."""
CRASH_S = 15.0
"""What is promised for a handover after a crash."""
OUTAGE_S = 60.0
SLACK_S = 2.0
"""For a run that began to be told."""
REDIS = "over-redis"
KUBERNETES = "over-kubernetes"


@pytest.fixture(scope="module")
def pools(shared_place: Place, node: OwnNode, stores: Stores) -> Place:
    """Give two pools of two workers: leases and ledger of one over Kubernetes, of the other over Redis."""
    redis = {"services": {"redis": {"url": stores.url}}, "lease": {"backend": "Redis"}}
    shared_place.pool(KUBERNETES, replicas=2)
    shared_place.pool(REDIS, replicas=2, **redis)
    for pool in (KUBERNETES, REDIS):
        for task in TASKS:
            shared_place.task(f"{pool}-{task}", poolRef={"name": pool}, **EACH_SECOND)
        shared_place.task(f"{pool}-everywhere", poolRef={"name": pool}, runPolicy="EveryWorker", **EACH_SECOND)
        shared_place.task(
            f"{pool}-at-most-once", poolRef={"name": pool}, guarantee="AtMostOnce", schedule={"every": "2s"}
        )
        for task in TASKS:
            shared_place.wait_for_run(f"{pool}-{task}")
    return shared_place


def tasks_of(pool: str) -> list[str]:
    """Name the tasks of a pool whose every fire time counts."""
    return [f"{pool}-{task}" for task in TASKS]


def gap(place: Place, task: str, since: float) -> float:
    """Return the longest time without the beginning of a run, since an instant."""
    begun = [since, *(run.begun for run in place.runs(task) if run.begun > since)]
    return max(later - earlier for earlier, later in itertools.pairwise(begun))


def assert_exact(place: Place, since: float, *tasks: str) -> None:
    """Each task runs after now, and no fire time since an instant was missed, doubled or served by two."""
    now = time.time()
    for task in tasks:
        place.wait_for_run(task, after=now)
        place.assert_exact(task, since)


@pytest.fixture
def without_operator(kube: Kubectl) -> Iterator[None]:
    """Kill both replicas of the operator, and start none in their place until afterwards."""
    here = kube.within(RELEASE)
    here("scale", OPERATOR, "--replicas=0")
    here("delete", "pods", "-l", "app.kubernetes.io/name=background-tasks-operator", "--grace-period=0", "--force")
    yield
    here("scale", OPERATOR, "--replicas=2")
    here("rollout", "status", OPERATOR, "--timeout=60s")


def test_without_the_operator_tasks_go_on_and_edits_are_armed(pools: Place, without_operator: None) -> None:
    """Nobody is missed who runs no task: workers watch their tasks themselves."""
    since = time.time()
    pools.task("new", poolRef={"name": KUBERNETES}, schedule={"every": "1s"})
    pools.wait_for_run("new", seconds=5)
    pools.kube("delete", "backgroundtask", "new")
    assert_exact(pools, since, *tasks_of(KUBERNETES), *tasks_of(REDIS))


def test_a_killed_worker_is_replaced_within_its_lease(pools: Place, node: OwnNode) -> None:
    """SIGKILL: its slots pass on within 15 s; at least once, and at most once for the task that asks for it."""
    name = pools.runs(tasks_of(KUBERNETES)[0])[-1].pod
    victim = pools.kube.read("pod", name)
    victims = [task for task in tasks_of(KUBERNETES) if pools.runs(task)[-1].pod == name]
    killed = time.time()
    node.kill_container(victim)
    for task in victims:
        run = pools.wait_for_run(task, after=killed + SLACK_S)
        assert run.begun - killed < CRASH_S, f"{task} waited {run.begun - killed:.1f} s"
    pools.wait_for_pool(KUBERNETES, workers=2)
    for task in tasks_of(KUBERNETES):
        pools.assert_served(task, killed)
    fires = [run.fire for run in pools.runs(f"{KUBERNETES}-at-most-once")]
    assert len(fires) == len(set(fires))


def test_an_api_server_that_is_away_for_a_minute(pools: Place, node: OwnNode) -> None:
    """Leases over Kubernetes run out: its singletons stop, and catch up. All others go on as if nothing were."""
    since = time.time()
    node.api_server.stop()
    stopped = time.time()
    until("the end of the outage", time.time, lambda now: now > stopped + OUTAGE_S, seconds=OUTAGE_S + 5)
    node.api_server.start()
    back = time.time()
    for task in (*tasks_of(KUBERNETES), *tasks_of(REDIS)):
        pools.wait_for_run(task, after=back + SLACK_S)
    for task in tasks_of(KUBERNETES):
        in_vain = [run for run in pools.runs(task) if stopped + LEASE_S + SLACK_S < run.begun < back - SLACK_S]
        assert in_vain == []
        assert gap(pools, task, since) < OUTAGE_S + CRASH_S
        pools.assert_served(task, since)
    for task in tasks_of(REDIS):
        assert gap(pools, task, since) < LEASE_S
    # Where the ledger lies in the status, an heir may serve again what was not written in the last half minute.
    assert_exact(pools, since, *tasks_of(REDIS))


def test_a_redis_that_is_killed_and_comes_back(pools: Place, stores: Stores) -> None:
    """Singletons over it stop when their leases run out, and catch up; those over Kubernetes do not notice."""
    since = time.time()
    stores.kill()
    killed = time.time()
    until("the end of the outage", time.time, lambda now: now > killed + 2 * LEASE_S, seconds=3 * LEASE_S)
    stores.start()
    back = time.time()
    for task in tasks_of(REDIS):
        pools.wait_for_run(task, after=back)
        in_vain = [run for run in pools.runs(task) if killed + LEASE_S + SLACK_S < run.begun < back - SLACK_S]
        assert in_vain == []
        pools.assert_served(task, since)
    for task in tasks_of(KUBERNETES):
        assert gap(pools, task, since) < LEASE_S
    assert_exact(pools, since, *tasks_of(KUBERNETES))
