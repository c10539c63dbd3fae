"""A worker in a cluster: tasks by a watch, status in the tasks, leases and ledger where the pool has them.

Not here: what all workers are made of (`parts`), what the pod's environment says (`cluster_settings`).
An API server that is away at the start is waited for: the process lives, and is not ready.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog

from background_tasks.engine.membership import Store
from background_tasks.leases.kubernetes import KubernetesLeases, open_kubernetes
from background_tasks.leases.redis import open_redis
from background_tasks.services.kubernetes.client import Cluster, open_cluster
from background_tasks.services.log_sources import ProcessLog
from background_tasks.services.redis import connect
from background_tasks.sinks.carried import CarriedLedger
from background_tasks.sinks.kubernetes import StatusStore
from background_tasks.sinks.redis import RedisLedger
from background_tasks.sources.kubernetes import ClusterSource
from background_tasks.telemetry.probes import Health
from background_tasks.worker.app import STOP_SIGNALS
from background_tasks.worker.cluster_settings import ClusterSettings
from background_tasks.worker.parts import Ground, Living, Parts
from background_tasks.worker.pool_start import PoolStart, pool_up_since
from background_tasks.worker.services import PoolServices, open_services

if TYPE_CHECKING:
    from redis.asyncio import Redis

FLUSH_S = 15.0
"""How long a release, or the end, waits for what is to be written; an API server takes some hundred tasks a second."""

log = structlog.get_logger("background_tasks.worker")


async def run_cluster_worker(settings: ClusterSettings, process_log: ProcessLog | None = None) -> None:
    """Run one worker until SIGTERM or SIGINT; a second signal cancels what still runs."""
    parts = Parts(settings.worker)
    async with AsyncExitStack() as stack:
        stack.enter_context(parts.probes)
        services = await stack.enter_async_context(open_services(settings.worker, process_log))
        cluster = await stack.enter_async_context(
            open_cluster(kubeconfig=settings.kubeconfig, on_write=parts.metrics.api_written)
        )
        redis = await stack.enter_async_context(_redis(settings.worker.redis_url))
        source = ClusterSource(cluster, namespace=settings.namespace, pool=settings.worker.pool, clock=parts.clock)
        made = _Made(settings, parts, cluster=cluster, redis=redis, source=source)
        up_since = await _alive(parts.health, made.up_since())
        if up_since is None:
            log.info("stopped", why="told to, before the API server answered")
            return
        await parts.live(made.ground(services, up_since), source)


class _Made:
    """What was opened for one worker, and what it stands on because of that."""

    def __init__(
        self, settings: ClusterSettings, parts: Parts, *, cluster: Cluster, redis: "Redis | None", source: ClusterSource
    ) -> None:
        self._settings = settings
        self._parts = parts
        self._cluster = cluster
        self._redis = redis
        self._source = source
        self._start: PoolStart | None = None
        if redis is not None and settings.leases_in_redis:
            worker = settings.worker
            self._start = PoolStart(redis, worker.key, parts.clock, worker.lease.duration)

    async def up_since(self) -> float:
        """Ask since when the pool is up, where its leases are."""
        if self._start is not None:
            return await self._start.since()
        settings, clock = self._settings, self._parts.clock
        leases = KubernetesLeases(
            self._cluster,
            namespace=settings.namespace,
            pool=settings.worker.pool,
            slots=settings.worker.slots,
            clock=clock,
        )
        return await pool_up_since(leases.up_since, clock)

    def ground(self, services: PoolServices, up_since: float) -> Ground:
        """Say what the worker stands on."""
        settings, worker = self._settings, self._settings.worker
        store = StatusStore(
            self._cluster,
            namespace=settings.namespace,
            pool=worker.pool,
            worker=worker.member,
            clock=self._parts.clock,
            address=self._source.address,
            ledger=self._redis is None,
            verify=self._parts.verify,
        )
        living: dict[str, Living] = {"status": store.work}
        if self._start is not None:
            living["pool start"] = self._start.keep
        return Ground(
            services=services,
            ledger=store if self._redis is None else CarriedLedger(RedisLedger(self._redis, worker.key), store),
            sink=store,
            open_leases=self._leases(),
            up_since=up_since,
            living=living,
            patience=FLUSH_S,
        )

    def _leases(self) -> Callable[[], AbstractAsyncContextManager[Store]]:
        settings, worker = self._settings, self._settings.worker
        url = worker.redis_url
        if url is not None and settings.leases_in_redis:
            return lambda: open_redis(url, worker.key, slots=worker.slots)
        return lambda: open_kubernetes(
            worker.pool,
            slots=worker.slots,
            clock=self._parts.clock,
            namespace=settings.namespace,
            kubeconfig=settings.kubeconfig,
            pod_uid=settings.pod_uid,
            pod_name=settings.pod_name,
            may_create=settings.pod_uid is None,  # in a pod the operator makes the table, and owns it
            on_write=self._parts.metrics.api_written,
        )


@asynccontextmanager
async def _redis(url: str | None) -> "AsyncIterator[Redis | None]":
    """Open the worker's own connections, where the pool has a Redis."""
    if url is None:
        yield None
        return
    redis = connect(url)
    try:
        yield redis
    finally:
        await redis.aclose()


async def _alive[T](health: Health, answer: Coroutine[Any, Any, T]) -> T | None:
    """Wait for an answer, and show meanwhile that the process lives. None: it was told to stop.

    Signals are taken from here on: in a pod this is process 1, which one that nobody handles does not end.
    """
    async with asyncio.TaskGroup() as group:
        beat = group.create_task(health.beat())
        asking = group.create_task(answer)
        for number in STOP_SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, asking.cancel)
        await asyncio.wait([asking])
        beat.cancel()
    return None if asking.cancelled() else asking.result()
