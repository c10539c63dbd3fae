"""One operator process: who leads, what the leader runs, and the order in which it all stops.

A standby is ready, watches nothing and writes nothing. Whoever loses the lead ends; a new process joins as a standby.
Not here: watching (`kube`), reconciling (`reconcile`).
"""

import asyncio
import os
import secrets
import signal
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

import structlog

from background_tasks.api import names
from background_tasks.domain.model import Fence, MemberId
from background_tasks.engine.clock import SystemClock
from background_tasks.engine.membership import Gained, Lost, Membership, SlotEvent, Store, Surrender
from background_tasks.leases.kubernetes import open_kubernetes
from background_tasks.services.kubernetes.client import open_cluster
from background_tasks.telemetry.logs import configure
from background_tasks.telemetry.probes import Health, Probes
from background_tasks_operator.kube.leading import Leading
from background_tasks_operator.reconcile.meter import Meter
from background_tasks_operator.settings import Settings

ANY_HOST = "0.0.0.0"
"""A kubelet and a Prometheus ask from outside."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
LEAVE_TIMEOUT_S = 5.0
"""For the last words to the lease store."""
FENCED = 70
"""Exit code where writing had to be stopped by force."""
SLOT = 0
"""The operator is a pool of one slot: its holder leads."""

log = structlog.get_logger("background_tasks.operator")


def start(env: Mapping[str, str]) -> int:
    """Run until told to stop (0), or until the lead was lost or a vital part broke (1). Raises `InvalidSettings`."""
    settings = Settings.from_env(env)
    configure({"BGTASKS_LOG_LEVEL": settings.log_level, **env})
    return asyncio.run(Operator(settings).run())


class Operator:
    """One process. Build it and run it once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = SystemClock()
        self._health = Health(self._clock.monotonic)
        self._meter = Meter()
        self._code = 0
        self._fence: Fence | None = None
        self._member = MemberId(f"{settings.pod_name}.{secrets.token_hex(3)}")

    async def run(self) -> int:
        """Live, and return the exit code."""
        self._loop = asyncio.get_running_loop()
        self._ended, self._leads = asyncio.Event(), asyncio.Event()
        self._membership = Membership(
            member=self._member,
            open_store=self._open_leases,
            slots=1,
            clock=self._clock,
            observer=self,
            on_event=self._hop,
            die=_die,
        )
        probes = Probes(
            self._health, metrics=self._meter.exposition, tasks=tuple, host=ANY_HOST, port=self._settings.port
        )
        self._take_signals()
        with probes:
            log.info("started", member=self._member, probes=probes.url, namespaces=self._settings.watch_namespaces)
            async with asyncio.TaskGroup() as group:
                beating = group.create_task(self._health.beat(), name="beat")
                leading = group.create_task(self._lead_when_chosen(), name="lead")
                self._membership.start()
                await self._ended.wait()
                await self._stop(leading)
                beating.cancel()
        log.info("stopped", code=self._code)
        return self._code

    # --- the membership's observer: called in its thread ---

    def slots_held(self, count: int) -> None:
        """We lead, or not."""
        self._meter.slots_held(count)

    def lease_renewed(self, seconds: float, ok: bool) -> None:
        """A renewal went out; the first that held shows that we may serve, if only as a standby."""
        self._meter.lease_renewed(seconds, ok)
        self._health.synced = self._health.synced or ok

    # --- inside ---

    def _open_leases(self) -> AbstractAsyncContextManager[Store]:
        return open_kubernetes(
            names.OPERATOR_APP,
            slots=1,
            clock=self._clock,
            namespace=self._settings.namespace,
            pod_name=self._settings.pod_name,
            pod_uid=self._settings.pod_uid,
        )

    def _take_signals(self) -> None:
        for number in STOP_SIGNALS:
            self._loop.add_signal_handler(number, self._end, 0, "told to stop")

    def _end(self, code: int, why: str) -> None:
        """Stop soon; what ends first names the code."""
        if not self._ended.is_set():
            log.info("stopping", why=why, code=code)
            self._code = code
        self._health.draining = True
        self._ended.set()

    def _hop(self, event: SlotEvent) -> None:
        """Carry an event from the membership's thread to the loop; a loop that is gone has nothing left to stop."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._hear, event)

    def _hear(self, event: SlotEvent) -> None:
        match event:
            case Gained(fence=fence):
                self._fence = fence
                self._leads.set()
            case Surrender():
                self._end(0, "the lead is given back")
            case Lost(reason=reason):
                self._end(1, f"the lead is lost: {reason}")

    async def _lead_when_chosen(self) -> None:
        await self._leads.wait()
        log.info("this replica leads", member=self._member, fence=str(self._fence))
        try:
            async with open_cluster() as cluster:
                self._leading = Leading(
                    cluster, self._settings, clock=self._clock, meter=self._meter, may_act=self._may_act
                )
                await self._leading.run(started=self._take_signals)
        except Exception as error:  # whatever it was, half an operator must not go on leading
            log.critical("a vital part broke; the operator stops", exc_info=error)
        self._end(1, "watching or reconciling ended")

    def _may_act(self) -> bool:
        """Look at the clock and say whether the lead is surely ours: one that was paused is fenced when it wakes up."""
        return self._membership.fence(SLOT) is not None

    async def _stop(self, leading: "asyncio.Task[None]") -> None:
        """Stop in order: nothing is written any more, then the lead is given back, then the lease."""
        self._membership.stand_down()
        leading.cancel()
        await asyncio.wait([leading])
        self._membership.stopped(SLOT, self._fence)
        await asyncio.to_thread(self._membership.stop, LEAVE_TIMEOUT_S)


def _die(reason: str) -> None:
    """End at once: others may lead now, and something of ours did not stop."""
    log.critical("fenced", reason=reason)
    os._exit(FENCED)
