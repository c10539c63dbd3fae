"""What the leader runs: watches that tell, a queue that reconciles, in that order.

Not here: who leads (`app`).
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from background_tasks.errors import Unavailable
from background_tasks.ports import Clock
from background_tasks.services.kubernetes.client import Cluster
from background_tasks_operator.kube.api import ClusterApi
from background_tasks_operator.kube.kinds import DECLARED, OPTIONAL, RESOURCES
from background_tasks_operator.kube.watching import watch
from background_tasks_operator.reconcile.meter import Meter
from background_tasks_operator.reconcile.reconciler import Reconciler
from background_tasks_operator.settings import Settings

ASK_AGAIN_S = 2.0
QUIET_S = 1.0
"""So long after the last object of the first lists reconciling begins: sooner, much would be done twice."""
LONGEST_S = 20.0
LOOK_S = 0.1

log = structlog.get_logger("background_tasks.operator")


class Leading:
    """Watches and reconciles. `may_act` is asked before each write."""

    def __init__(
        self, cluster: Cluster, settings: Settings, *, clock: Clock, meter: Meter, may_act: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._meter = meter
        self._api = ClusterApi(cluster, namespaces=settings.watch_namespaces, may_act=may_act, meter=meter)

    async def run(self, *, started: Callable[[], None]) -> None:
        """Work until cancelled. `started`: the watches are set up, and have taken the signals of the process."""
        await self._until_defined()
        kinds = await self._kinds()
        reconciler = Reconciler(self._api, self._settings, clock=self._clock, meter=self._meter, kinds=kinds)

        def tell(event: str, body: dict[str, Any]) -> None:
            self._meter.watched(str(body.get("kind", "")))
            reconciler.memory.told(event, body)

        confirmed = asyncio.Event()

        async def watch_on() -> None:
            while True:
                try:
                    await watch(
                        tell, kinds=kinds, namespaces=self._settings.watch_namespaces, clock=self._clock,
                        started=started, confirmed=confirmed,
                    )  # fmt: skip
                except* Unavailable as errors:
                    log.warning("waiting", why="; ".join(str(error) for error in errors.exceptions))
                await asyncio.sleep(ASK_AGAIN_S)

        async with asyncio.TaskGroup() as group:
            group.create_task(self._reconcile(reconciler, confirmed), name="reconcile")
            group.create_task(watch_on(), name="watch")

    async def _until_defined(self) -> None:
        """Wait for the resource definitions: the operator may be there before them."""
        told = ""
        while True:
            try:
                missing = [kind for kind in DECLARED if not await self._api.serves(kind)]
                why = f"{' and '.join(missing)} cannot be listed: apply the definitions (manifests/crd), grant the role"
            except Unavailable as error:
                missing, why = list(DECLARED), str(error)
            if not missing:
                return
            if why != told:
                log.warning("waiting", why=why)
                told = why
            await self._rest()

    async def _kinds(self) -> tuple[str, ...]:
        """Ask what there is to watch; a server that cannot say (a definition is new, say) is asked again."""
        while True:
            try:
                served = await self._api.capabilities()
            except Unavailable as error:
                log.warning("waiting", why=str(error))
                await self._rest()
            else:
                return tuple(kind for kind in RESOURCES if kind not in OPTIONAL or OPTIONAL[kind] in served)

    async def _rest(self) -> None:
        await asyncio.sleep(ASK_AGAIN_S * (0.5 + 0.5 * self._clock.draw()))

    async def _reconcile(self, reconciler: Reconciler, confirmed: asyncio.Event) -> None:
        await confirmed.wait()
        began = self._clock.monotonic()
        while (now := self._clock.monotonic()) < began + LONGEST_S:
            if now - max(began, reconciler.memory.listed_at) >= QUIET_S:
                break
            await asyncio.sleep(LOOK_S)
        memory = reconciler.memory
        log.info("reconciling", pools=len(memory.objects), tasks=len(memory.tasks), keys=len(reconciler.queue))
        await reconciler.queue.run()
