"""The world behind the Kubernetes backends of leases, slot tables, ledger and status: a real API server."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from background_tasks.api import names
from background_tasks.domain.model import Interval, Policy, Schedule, Task, TaskUid
from background_tasks.engine.clock import SystemClock
from background_tasks.engine.membership import Store
from background_tasks.leases.kubernetes import KubernetesLeases, open_kubernetes
from background_tasks.services.kubernetes.client import Cluster, open_cluster
from background_tasks.sinks.kubernetes import StatusStore
from background_tasks.sinks.turns import Turns
from tests.contract.kubernetes_world import Meddler
from tests.contract.membership_world import Member, Open
from tests.testbed.session import ControlPlane


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[Cluster]:
    """Connect to the session's API server."""
    async with open_cluster(kubeconfig=control_plane.kubeconfig, timeout_s=5) as opened:
        yield opened


@pytest.fixture
def kubernetes_store(control_plane: ControlPlane, namespace: str) -> Callable[..., AbstractAsyncContextManager[Store]]:
    """Open a pool's store in a namespace of the test's own, with watches that follow it."""

    def open_store(slots: int, **options: object) -> AbstractAsyncContextManager[Store]:
        given = {"namespace": namespace, "clock": SystemClock(), "kubeconfig": control_plane.kubeconfig} | options
        return open_kubernetes("p", slots=slots, **given)  # type: ignore[arg-type]

    return open_store


@pytest.fixture
async def kubernetes_leases(
    kubernetes_store: Callable[..., AbstractAsyncContextManager[Store]],
) -> AsyncIterator[KubernetesLeases]:
    """One pool's leases and its table of four slots over a real API server."""
    async with kubernetes_store(4) as (leases, _):
        assert isinstance(leases, KubernetesLeases)
        yield leases


@pytest.fixture
async def status_store(cluster: Cluster, namespace: str) -> AsyncIterator[StatusStore]:
    """Keep ledger and statuses of a pool in its tasks' resources, without regard to a budget."""
    store = StatusStore(
        cluster, namespace=namespace, pool="default", worker="w", clock=SystemClock(), turns=Turns(burst=10_000)
    )
    async with asyncio.TaskGroup() as group:
        work = group.create_task(store.work())
        yield store
        work.cancel()


@pytest.fixture
def declare(control_plane: ControlPlane, namespace: str) -> Callable[..., Task]:
    """Apply a task as a person does, and return it as the engine knows it."""

    def declare(name: str, interval: float = 60.0) -> Task:
        metadata = {"name": name, "namespace": namespace}
        spec = {"task": "c", "schedule": {"interval": f"{interval:g}s"}}
        body = {"apiVersion": names.API_VERSION, "kind": names.TASK_KIND, "metadata": metadata, "spec": spec}
        made = json.loads(control_plane.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(body)))
        policy = Policy(coroutine="c", schedule=Schedule(cadence=Interval(seconds=interval)))
        return Task(uid=TaskUid(made["metadata"]["uid"]), name=f"{namespace}/{name}", policy=policy)

    return declare


@pytest.fixture
def meddler(cluster: Cluster) -> Meddler:
    """Stand between a backend and the session's API server."""
    return Meddler(cluster)


@pytest.fixture
async def follow() -> AsyncIterator[Callable[[KubernetesLeases], None]]:
    """Keep the watches of what is given, until the test ends."""
    async with asyncio.TaskGroup() as group:
        following: list[asyncio.Task[None]] = []
        yield lambda leases: following.append(group.create_task(leases.follow()))
        for one in following:
            one.cancel()


@pytest.fixture
def said() -> list[str]:
    """What was reported."""
    return []


@pytest.fixture
def make(meddler: Meddler, namespace: str, said: list[str]) -> Callable[..., KubernetesLeases]:
    """Make a backend of pool `p` without watches, in a namespace of the test's own."""

    def make(**options: Any) -> KubernetesLeases:
        given = {
            "namespace": namespace,
            "pool": "p",
            "slots": 4,
            "clock": SystemClock(),
            "report": said.append,
        } | options
        return KubernetesLeases(meddler, **given)  # type: ignore[arg-type]  # it stands before one

    return make


@pytest.fixture
def join() -> Iterator[Callable[..., Member]]:
    """Make members that are stopped when the test ends."""
    members: list[Member] = []

    def make(open_store: Open, **options: int) -> Member:
        members.append(Member(open_store, **options))  # type: ignore[arg-type]
        return members[-1]

    yield make
    for member in members:
        member.stubborn = False
        member.membership.stop(0.2)
