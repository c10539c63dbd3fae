"""A worker in a cluster: how soon it hears of people, what it costs the API server, what it costs while it idles.

One worker process over a real API server (a control plane of the benchmark's own, or the cluster that
BGTASKS_TEST_KUBECONFIG names), with the shipped lease timings. An edit has arrived when its run begins: a new word in
`params` and one extra run asked for. A task is disarmed when the worker does not list it any more.
"""

import asyncio
import json
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from background_tasks.api import names
from background_tasks.services.kubernetes.client import Cluster, open_cluster
from background_tasks.services.kubernetes.resources import BACKGROUND_TASKS
from tests.bench.figure import Figure, at_most, p99
from tests.controlplane.workers import Pool, Worker, served, wait_for
from tests.testbed import session

TASKS = 2_000
EDITS = 500
PACE_S = 0.04
"""Between two edits: 25 a second, as a deployment of many tasks makes them."""
OFTEN = 50
"""Tasks that run once a second."""
IDLE_S = 30.0
SETTLE_S = 5.0
MANY_AT_ONCE = 16
LONG_S = 300.0
SHIPPED = {"lease": {"duration": "12s", "renewDeadline": "8s", "retryPeriod": "3s"}, "slots": 16}
RUN_NOW = names.RUN_NOW


def figures() -> Iterator[Figure]:
    """Yield what one worker costs and how soon it hears."""
    with session.shared() as plane, tempfile.TemporaryDirectory() as folder:
        namespace = f"bench-{uuid.uuid4().hex[:8]}"
        plane.kubectl("create", "namespace", namespace)
        try:
            for pool in served(plane, namespace, Path(folder)):
                (worker,) = pool.ready(spec=SHIPPED)
                yield from _idle(worker)
                yield _writes(pool, worker)
                yield from asyncio.run(_heard(pool, worker))
        finally:
            plane.kubectl("delete", "namespace", namespace, "--wait=false")


def _idle(worker: Worker) -> Iterator[Figure]:
    """Watch a worker that has nothing to do, once it has settled."""
    process = psutil.Process(worker.process.pid)
    time.sleep(SETTLE_S)
    began, before = time.perf_counter(), sum(process.cpu_times()[:2])
    time.sleep(IDLE_S)
    spent = (sum(process.cpu_times()[:2]) - before) / (time.perf_counter() - began)
    yield at_most("worker_rss_mib", process.memory_info().rss / 2**20, "MiB", 90)
    yield at_most("worker_idle_cpu", spent * 100, "% of a core", 1)


def _writes(pool: Pool, worker: Worker) -> Figure:
    """Count writes of statuses while tasks run once a second, after the first minute."""
    names_ = [f"often-{number}" for number in range(OFTEN)]
    asyncio.run(_create(pool, names_, {"every": "1s"}))
    wait_for(lambda: len(pool.runs("all")) > OFTEN * 60, "a minute of runs", LONG_S)
    before, began = _written(worker), time.perf_counter()
    count = len(pool.runs("all"))
    wait_for(lambda: len(pool.runs("all")) > count + OFTEN * 90, "a minute and a half of runs", LONG_S)
    per_30_s = (_written(worker) - before) / OFTEN / (time.perf_counter() - began) * 30
    pool.kubectl("delete", "bgt", "--all")
    return at_most("api_writes_per_task_30s", per_30_s, "writes", 1)


async def _heard(pool: Pool, worker: Worker) -> list[Figure]:
    """Edit some of many tasks, then delete some."""
    await _create(pool, [f"task-{number}" for number in range(TASKS)], {"interval": "12h"})
    await asyncio.to_thread(
        wait_for, lambda: len({run["word"] for run in pool.runs("all")}) >= TASKS, "all ran once", LONG_S
    )
    async with open_cluster(kubeconfig=pool.control_plane.kubeconfig) as cluster:
        edited = await _edit(pool, cluster)
        deleted = await _delete(pool, cluster, worker)
    return [
        at_most("apply_to_armed_p99_s", p99(edited), "s", 2),
        at_most("delete_to_disarmed_p99_s", p99(deleted), "s", 2),
    ]


async def _edit(pool: Pool, cluster: Cluster) -> list[float]:
    """Return how long each edit took, from before it was sent to the start of its run."""
    sent: dict[str, float] = {}

    async def edit(number: int) -> None:
        word = f"edit-{number}"
        patch = {
            "metadata": {"annotations": {RUN_NOW: word}},
            "spec": {"params": {"path": str(pool.path("all")), "word": word}},
        }
        sent[word] = time.time()
        await cluster.merge(BACKGROUND_TASKS, f"task-{number * 3}", patch, namespace=pool.namespace)

    async with asyncio.TaskGroup() as group:
        for number in range(EDITS):
            group.create_task(edit(number))
            await asyncio.sleep(PACE_S)

    def arrived() -> dict[str, float]:
        return {run["word"]: run["at"] for run in pool.runs("all") if run["word"] in sent}

    await asyncio.to_thread(wait_for, lambda: len(arrived()) == EDITS, "all edits ran", LONG_S)
    began = arrived()
    return [began[word] - at for word, at in sent.items()]


async def _delete(pool: Pool, cluster: Cluster, worker: Worker) -> list[float]:
    """Return how long each deletion took, from before it was sent."""
    took = []
    for number in range(EDITS):
        name = f"task-{number * 3 + 1}"
        began = time.perf_counter()
        await cluster.delete(BACKGROUND_TASKS, name, namespace=pool.namespace)
        while await asyncio.to_thread(_listed, worker, f"{pool.namespace}/{name}"):
            assert time.perf_counter() - began < LONG_S, f"{name} stays armed"
        took.append(time.perf_counter() - began)
    return took


async def _create(pool: Pool, wanted: list[str], schedule: dict[str, str]) -> None:
    """Create tasks, each with a word of its own."""
    async with open_cluster(kubeconfig=pool.control_plane.kubeconfig) as cluster:
        await _crowd([partial(cluster.create, BACKGROUND_TASKS, _body(pool, name, schedule)) for name in wanted])


async def _crowd(calls: list[Callable[[], Awaitable[Any]]]) -> None:
    room = asyncio.Semaphore(MANY_AT_ONCE)

    async def one(call: Callable[[], Awaitable[Any]]) -> None:
        async with room:
            await call()

    async with asyncio.TaskGroup() as group:
        for call in calls:
            group.create_task(one(call))


def _body(pool: Pool, name: str, schedule: dict[str, str]) -> dict[str, Any]:
    params = {"path": str(pool.path("all")), "word": name}
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.TASK_KIND,
        "metadata": {"name": name, "namespace": pool.namespace},
        "spec": {"task": "note", "schedule": schedule, "params": params},
    }


def _written(worker: Worker) -> float:
    """Return the writes of statuses so far."""
    lines = worker.probe("/metrics")[1].splitlines()
    (line,) = [line for line in lines if line.startswith("bgtasks_api_writes_total") and '"backgroundtasks"' in line]
    return float(line.rpartition(" ")[2])


def _listed(worker: Worker, name: str) -> bool:
    """Say whether the worker knows a task; its name may begin another's."""
    found = json.loads(worker.probe(f"/debug/tasks?name={name}")[1])["tasks"]
    return any(task["name"] == name for task in found)
