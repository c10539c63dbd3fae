"""What one worker is made of, over Redis: connections, ledger, registry, scheduler, membership, telemetry, probes.

Not here: the order of a life (`app`). Each part is closed in the opposite order of its making.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from background_tasks.engine.clock import SystemClock
from background_tasks.engine.collector import keep_pauses_short
from background_tasks.engine.membership import Membership, SlotEvent
from background_tasks.engine.scheduler import Scheduler, TaskView
from background_tasks.leases.redis import open_redis
from background_tasks.ports import TaskSource
from background_tasks.services.log_sources import ProcessLog
from background_tasks.services.redis import connect
from background_tasks.sinks.redis import RedisLedger, RedisStatusSink
from background_tasks.telemetry.metrics import Metrics
from background_tasks.telemetry.observers import LogObserver, Observers
from background_tasks.telemetry.probes import Health, Probes
from background_tasks.telemetry.traces import span_observer
from background_tasks.worker.app import Worker
from background_tasks.worker.pool_start import PoolStart
from background_tasks.worker.registry import Registry
from background_tasks.worker.services import PoolServices, open_services
from background_tasks.worker.settings import WorkerSettings

if TYPE_CHECKING:
    from redis.asyncio import Redis

EXIT_FENCED = 70
"""A run outlived its lease: the only safe thing left is to be gone."""

log = structlog.get_logger("background_tasks.worker")


async def run_worker(settings: WorkerSettings, source: TaskSource, process_log: ProcessLog | None = None) -> None:
    """Run one worker until SIGTERM or SIGINT; a second signal cancels what still runs.

    `process_log` is the service of that name: this process's own log lines, for tasks that stream them.
    """
    metrics = Metrics(settings.pool)
    parts = Parts(settings, metrics)
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(settings, process_log))
        store = connect(settings.redis_url)
        stack.push_async_callback(store.aclose)
        registry = Registry.load(settings.task_modules, services=services, flags=settings.flags)
        health = Health(parts.clock.monotonic)
        start = PoolStart(store, settings.pool, parts.clock, settings.lease.duration)
        up_since = await start.since()
        worker = Worker(
            lambda membership: parts.scheduler(membership, registry, Stores(services, store, up_since)),
            parts.membership,
            drain_timeout=settings.drain_timeout,
            health=health,
            die=die,
            on_synced=keep_pauses_short,
        )
        probes = Probes(
            health,
            metrics=metrics.exposition,
            tasks=lambda: rows(worker.scheduler.tasks()),
            host=settings.host,
            port=settings.port,
        )
        stack.enter_context(probes)
        log.info("started", member=settings.member, pool=settings.pool, probes=probes.url, pid=os.getpid())
        await worker.run(source, registry.refusals, {"pool start": start.keep()})


@dataclass(frozen=True, slots=True)
class Stores:
    """What was opened, and what it said first."""

    services: PoolServices
    own: "Redis"
    """The worker's own connections: ledger and status."""
    up_since: float
    """When the pool came up."""


class Parts:
    """What a scheduler and a membership have in common, and how each of the two is made of it."""

    def __init__(self, settings: WorkerSettings, metrics: Metrics) -> None:
        self.clock = SystemClock()
        spans = span_observer()
        self._observer = Observers(metrics, LogObserver(self.clock), *([] if spans is None else [spans]))
        self._settings = settings

    def scheduler(self, membership: Membership, registry: Registry, stores: "Stores") -> Scheduler:
        """Make the engine, acting for the slots that the membership holds."""
        settings = self._settings
        return Scheduler(
            clock=self.clock,
            bind=registry.bind,
            ledger=RedisLedger(stores.own, settings.pool),
            sink=RedisStatusSink(stores.own, settings.pool),
            observer=self._observer,
            worker=settings.member,
            slots=settings.slots,
            holdings=membership,
            groups=settings.groups,
            settings=settings.env,
            services=stores.services,
            verify=membership.verify,
            refused=membership.refused,
            up_since=stores.up_since,
            guard=True,
        )

    def membership(self, hear: Callable[[SlotEvent], None]) -> Membership:
        """Make the member, with connections of its own."""
        settings = self._settings
        return Membership(
            member=settings.member,
            open_store=lambda: open_redis(settings.redis_url, settings.pool, slots=settings.slots),
            slots=settings.slots,
            clock=self.clock,
            observer=self._observer,
            on_event=hear,
            die=die,
            settings=settings.lease,
        )


def die(reason: str) -> None:
    """End this process without releasing anything: others take over when the lease has run out before their eyes."""
    log.critical("the process ends itself", reason=reason)
    os._exit(EXIT_FENCED)


def rows(views: Iterable[TaskView]) -> list[Mapping[str, object]]:
    """Show tasks for `/debug/tasks`."""
    return [
        {
            "name": view.task.name,
            "task": view.task.policy.coroutine,
            "state": view.state,
            "slot": view.slot,
            "nextStart": view.next_start,
            "running": list(view.running),
            "succeeded": view.succeeded,
            "failed": view.failed,
            "skipped": view.skipped,
            "lastOutcome": view.last.outcome if view.last else None,
            "message": view.refusal.message if view.refusal else view.note,
        }
        for view in views
    ]
