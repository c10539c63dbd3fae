"""What the operator costs at 10,000 tasks in 50 pools: how soon all is as declared, its memory, its writes at rest.

One operator process, for the whole of a control plane of the benchmark's own (it is filled, so nobody else's is used).
It starts when everything was applied and nothing was made: every object of every pool, and the acceptance of every
task, is its work. Then it is started anew on what it left.
"""

import asyncio
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from background_tasks.api import names
from background_tasks.services.kubernetes.client import Cluster, open_cluster
from background_tasks.services.kubernetes.resources import BACKGROUND_TASKS, NAMESPACES, Resource
from background_tasks.services.kubernetes.resources import WORKER_POOLS as POOLS
from tests.bench.figure import Figure, at_most
from tests.controlplane.operators import Operator, Place, wait_for
from tests.testbed import session

SPACES, POOLS_EACH, TASKS_EACH = 5, 10, 200
TASKS = SPACES * POOLS_EACH * TASKS_EACH
AT_ONCE = 16
CALM_S = 20.0
"""So long nothing may be written: beyond every pause between writes that the operator makes."""
LONG_S = 300.0


def figures() -> Iterator[Figure]:
    """Yield how soon all is as declared, the memory for it, the writes at rest, and how soon after a restart."""
    with session.own() as plane, tempfile.TemporaryDirectory() as folder:
        asyncio.run(_fill(plane.kubeconfig))
        place = Place(plane, "default")
        operators: list[Operator] = []
        try:
            operators.append(_start(place, Path(folder), "first"))
            converged, peak = _converge(operators[0], lambda: operators[0].metric(ACCEPTED) >= TASKS)
            yield at_most("operator_converge_s", converged, "s", 30)
            writes = operators[0].writes()
            time.sleep(CALM_S)
            yield at_most("operator_idle_writes", operators[0].writes() - writes, "writes", 0)
            yield at_most("operator_rss_mib", peak, "MiB", 250)
            operators[0].end()
            operators.append(_start(place, Path(folder), "second"))
            restarted, _ = _converge(operators[1], lambda: True)
            yield at_most("operator_restart_s", restarted, "s", 30)
            yield at_most("operator_restart_writes", operators[1].writes(), "writes", 0)
        finally:
            for operator in operators:
                operator.kill()


ACCEPTED = r'requests_total{[^}]*kind="BackgroundTask/status"[^}]*}'


def _start(place: Place, folder: Path, name: str) -> Operator:
    return Operator(place, folder, name, {"BGTASKS_OPERATOR_WATCH_NAMESPACES": "", "PYTHONWARNINGS": "default"})


def _converge(operator: Operator, is_done: Callable[[], bool]) -> tuple[float, float]:
    """Return the seconds until nothing is left to do, and the most memory seen (MiB)."""
    began, process, peak = time.perf_counter(), psutil.Process(operator.process.pid), 0.0

    def done() -> bool:
        nonlocal peak
        peak = max(peak, process.memory_info().rss / 2**20)
        return operator.is_settled() and operator.metric("tasks") >= TASKS and is_done()

    wait_for(done, "all is as declared", LONG_S)
    return time.perf_counter() - began, peak


async def _fill(kubeconfig: Path) -> None:
    """Apply everything, while no operator is there."""
    async with open_cluster(kubeconfig=kubeconfig, timeout_s=60) as cluster:
        spaces = [f"space-{number}-{uuid.uuid4().hex[:4]}" for number in range(SPACES)]
        for space in spaces:
            await cluster.create(NAMESPACES, {"metadata": {"name": space}})
        pools = [_declared(names.POOL_KIND, space, f"pool-{n}", {}) for space in spaces for n in range(POOLS_EACH)]
        await _create(cluster, POOLS, pools)
        await _create(cluster, BACKGROUND_TASKS, [_task(pool, n) for pool in pools for n in range(TASKS_EACH)])


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
