"""What the operator costs at 10,000 tasks in 50 pools: how soon all is as declared, its memory, its writes at rest.

One operator process, for the whole of a control plane of the benchmark's own (it is filled, so nobody else's is used).
The first start finds everything applied and nothing made: each acceptance is a write of its own, so the figure is the
API server's as much as ours. The second start is what happens in a cluster's life: the operator was away, and meanwhile
every Deployment was scaled by hand, every Role deleted, and 500 tasks were added.
"""

import asyncio
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from background_tasks.api import names
from background_tasks.services.kubernetes.client import Cluster, open_cluster
from background_tasks.services.kubernetes.resources import (
    BACKGROUND_TASKS,
    DEPLOYMENTS,
    NAMESPACES,
    ROLES,
    WORKER_POOLS,
    Resource,
)
from tests.bench.figure import Figure, at_most
from tests.controlplane.operators import Operator, Place, wait_for
from tests.testbed import session

SPACES, POOLS_EACH, TASKS_EACH = 5, 10, 200
TASKS = SPACES * POOLS_EACH * TASKS_EACH
ADDED = 500
AT_ONCE = 16
OURS = "app.kubernetes.io/managed-by=background-tasks-operator"
CALM_S = 20.0
"""So long nothing may be written: beyond every pause between writes that the operator makes."""
LONG_S = 300.0


def figures() -> Iterator[Figure]:
    """Yield how soon all is as declared, the memory for it, and the writes at rest."""
    with session.own() as plane, tempfile.TemporaryDirectory() as folder:
        pools = asyncio.run(_fill(plane.kubeconfig))
        place = Place(plane, "default")
        operators: list[Operator] = []
        try:
            operators.append(_start(place, Path(folder), "first"))
            first, peak = _converge(plane.kubeconfig, operators[0], TASKS)
            yield at_most("operator_first_start_s", first, "s", 120)
            operators[0].end()
            asyncio.run(_meddle(plane.kubeconfig, pools))
            operators.append(_start(place, Path(folder), "second"))
            second, again = _converge(plane.kubeconfig, operators[1], ADDED)
            yield at_most("operator_converge_s", second, "s", 30)
            _calm(operators[1])
            yield at_most("operator_idle_writes", _written_in(operators[1], CALM_S), "writes", 0)
            yield at_most("operator_rss_mib", max(peak, again), "MiB", 250)
        finally:
            for operator in operators:
                operator.kill()


ACCEPTED = r'requests_total{[^}]*kind="BackgroundTask/status"[^}]*}'


def _start(place: Place, folder: Path, name: str) -> Operator:
    return Operator(place, folder, name, {"BGTASKS_OPERATOR_WATCH_NAMESPACES": "", "PYTHONWARNINGS": "default"})


def _converge(kubeconfig: Path, operator: Operator, accepted: int) -> tuple[float, float]:
    """Return the seconds until pools have what they declare and so many tasks were told, and the most memory (MiB)."""
    began, process, peak = time.perf_counter(), psutil.Process(operator.process.pid), 0.0

    def done() -> bool:
        nonlocal peak
        peak = max(peak, process.memory_info().rss / 2**20)
        return operator.metric(ACCEPTED) >= accepted and asyncio.run(_are_right(kubeconfig))

    wait_for(done, "all is as declared", LONG_S)
    return time.perf_counter() - began, peak


async def _are_right(kubeconfig: Path) -> bool:
    """Say whether every pool has its objects, and as many workers as it declares."""
    async with open_cluster(kubeconfig=kubeconfig, timeout_s=60) as cluster:
        roles = (await cluster.list(ROLES, label_selector=OURS))["items"]
        workers = (await cluster.list(DEPLOYMENTS, label_selector=OURS))["items"]
    wanted = [body["spec"]["replicas"] for body in workers]
    return len(roles) == len(workers) == SPACES * POOLS_EACH and set(wanted) == {1}


def _calm(operator: Operator) -> None:
    """Wait until the numbers of all Deployments have come to rest: as long as they change, they are told."""
    wait_for(lambda: operator.metric("queue_depth") == 0 and _written_in(operator, CALM_S) == 0, "calm", LONG_S)


def _written_in(operator: Operator, seconds: float) -> float:
    before = operator.writes()
    time.sleep(seconds)
    return operator.writes() - before


async def _fill(kubeconfig: Path) -> list[dict[str, Any]]:
    """Apply everything, while no operator is there; return the pools."""
    async with open_cluster(kubeconfig=kubeconfig, timeout_s=60) as cluster:
        spaces = [f"space-{number}-{uuid.uuid4().hex[:4]}" for number in range(SPACES)]
        for space in spaces:
            await cluster.create(NAMESPACES, {"metadata": {"name": space}})
        pools = [_declared(names.POOL_KIND, space, f"pool-{n}", {}) for space in spaces for n in range(POOLS_EACH)]
        await _create(cluster, WORKER_POOLS, pools)
        await _create(cluster, BACKGROUND_TASKS, [_task(pool, n) for pool in pools for n in range(TASKS_EACH)])
        return pools


async def _meddle(kubeconfig: Path, pools: list[dict[str, Any]]) -> None:
    """Change what the operator will have to put right."""
    async with open_cluster(kubeconfig=kubeconfig, timeout_s=60) as cluster:
        for pool in pools:
            space, name = pool["metadata"]["namespace"], names.workers_name(pool["metadata"]["name"])
            await cluster.merge(DEPLOYMENTS, name, {"spec": {"replicas": 7}}, namespace=space)
            await cluster.delete(ROLES, name, namespace=space)
        each = ADDED // len(pools)
        added = [_task(pool, TASKS_EACH + number) for pool in pools for number in range(each)]
        await _create(cluster, BACKGROUND_TASKS, added)


def _task(pool: dict[str, Any], number: int) -> dict[str, Any]:
    meta = pool["metadata"]
    spec = {"task": "kg_decay", "schedule": {"every": "5m"}, "poolRef": {"name": meta["name"]}}
    return _declared(names.TASK_KIND, meta["namespace"], f"{meta['name']}-task-{number}", spec)


def _declared(kind: str, namespace: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": names.API_VERSION, "kind": kind, "metadata": meta, "spec": spec}


async def _create(cluster: Cluster, resource: Resource, bodies: list[dict[str, Any]]) -> None:
    waiting = iter(bodies)

    async def some() -> None:
        for body in waiting:
            await cluster.create(resource, body)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(some())
