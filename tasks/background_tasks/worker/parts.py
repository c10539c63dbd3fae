"""What every worker is made of, whatever it stands on: registry, scheduler, membership, telemetry, probes.

Not here: connections and stores (`compose` over Redis, `cluster` over Kubernetes), the order of a life (`app`).
"""

import os
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import structlog

from background_tasks.domain.model import Fence
from background_tasks.engine.clock import SystemClock
from background_tasks.engine.collector import keep_pauses_short
from background_tasks.engine.membership import Membership, SlotEvent, Store
from background_tasks.engine.scheduler import FLUSH_S, Scheduler, TaskView
from background_tasks.errors import NotLeader
from background_tasks.ports import RunLedger, StatusSink, TaskSource
from background_tasks.telemetry.metrics import Metrics
from background_tasks.telemetry.observers import LogObserver, Observers
from background_tasks.telemetry.probes import Health, Probes
from background_tasks.telemetry.traces import span_observer
from background_tasks.worker.app import Worker
from background_tasks.worker.registry import Registry
from background_tasks.worker.services import PoolServices
from background_tasks.worker.settings import WorkerSettings

EXIT_FENCED = 70
"""A run outlived its lease: the only safe thing left is to be gone."""

log = structlog.get_logger("background_tasks.worker")

type Living = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a worker stands on."""

    services: PoolServices
    ledger: RunLedger
    sink: StatusSink
    open_leases: Callable[[], AbstractAsyncContextManager[Store]]
    """Called in the membership's own thread: connections of its own."""
    up_since: float
    """When the pool came up."""
    living: Mapping[str, Living] = field(default_factory=dict)
    """Parts by name that live as long as the worker."""
    patience: float = FLUSH_S
    """Seconds that a release or the end waits for ledger and sink."""


class Parts:
    """The parts of one worker. Make it on the loop that runs the worker."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.clock = SystemClock()
        self.metrics = Metrics(settings.pool)
        self.health = Health(self.clock.monotonic)
        spans = span_observer()
        self._observer = Observers(self.metrics, LogObserver(self.clock), *([] if spans is None else [spans]))
        self._settings = settings
        self._worker: Worker | None = None
        self.probes = Probes(
            self.health,
            metrics=self.metrics.exposition,
            tasks=self._rows,
            host=settings.host,
            port=settings.port,
        )

    async def live(self, ground: Ground, source: TaskSource) -> None:
        """Live until SIGTERM or SIGINT; a second signal cancels what still runs."""
        settings = self._settings
        registry = Registry.load(settings.task_modules, services=ground.services, flags=settings.flags)
        worker = self._worker = Worker(
            lambda membership: self._scheduler(membership, registry, ground),
            lambda hear: self._membership(hear, ground),
            drain_timeout=settings.drain_timeout,
            health=self.health,
            die=die,
            on_synced=keep_pauses_short,
        )
        log.info("started", member=settings.member, pool=settings.pool, probes=self.probes.url, pid=os.getpid())
        await worker.run(source, registry.refusals, {name: part() for name, part in ground.living.items()})

    async def verify(self, fence: Fence) -> None:
        """Return if a fence still holds by the slot table's word of now. Raises `NotLeader`."""
        if self._worker is None:
            raise NotLeader(f"slot {fence.slot}: this worker has not joined yet")
        await self._worker.membership.verify(fence)

    def _scheduler(self, membership: Membership, registry: Registry, ground: Ground) -> Scheduler:
        """Make the engine, acting for the slots that the membership holds."""
        settings = self._settings
        return Scheduler(
            clock=self.clock,
            bind=registry.bind,
            ledger=ground.ledger,
            sink=ground.sink,
            observer=self._observer,
            worker=settings.member,
            slots=settings.slots,
            holdings=membership,
            groups=settings.groups,
            settings=settings.env,
            services=ground.services,
            verify=membership.verify,
            refused=membership.refused,
            up_since=ground.up_since,
            guard=True,
            patience=ground.patience,
        )

    def _membership(self, hear: Callable[[SlotEvent], None], ground: Ground) -> Membership:
        """Make the member, with connections of its own."""
        settings = self._settings
        return Membership(
            member=settings.member,
            open_store=ground.open_leases,
            slots=settings.slots,
            clock=self.clock,
            observer=self._observer,
            on_event=hear,
            die=die,
            settings=settings.lease,
        )

    def _rows(self) -> list[Mapping[str, object]]:
        return [] if self._worker is None else rows(self._worker.scheduler.tasks())


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
