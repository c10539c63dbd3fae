"""The world behind the Kubernetes backend of member leases and slot tables: a real API server."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from background_tasks.engine.clock import SystemClock
from background_tasks.engine.membership import Store
from background_tasks.leases.kubernetes import KubernetesLeases, open_kubernetes
from background_tasks.services.kubernetes.client import Cluster, open_cluster
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
