"""All of reconciling, put together: what watches tell goes in, keys are worked off, a cluster comes to be as declared.

Not here: watches and the wire (`kube`), leadership (`app`).
"""

from collections.abc import Iterable

from background_tasks.ports import Clock
from background_tasks_operator.reconcile.acceptances import Acceptances
from background_tasks_operator.reconcile.keys import Key, PoolKey, Recheck, TaskKey
from background_tasks_operator.reconcile.memory import Memory
from background_tasks_operator.reconcile.meter import Meter
from background_tasks_operator.reconcile.pools import Pools
from background_tasks_operator.reconcile.ports import Api
from background_tasks_operator.reconcile.queue import Again, Pace, WorkQueue
from background_tasks_operator.reconcile.rechecks import Rechecks
from background_tasks_operator.settings import Settings

KEYS_PER_S = 400.0
"""A key costs an API server a write or a few; most keys cost it nothing."""
BURST = 400


class Reconciler:
    """Keeps the pools and tasks of a cluster right, over an `Api`."""

    def __init__(self, api: Api, settings: Settings, *, clock: Clock, meter: Meter, kinds: Iterable[str]) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(
            self._handle,
            clock=clock,
            pace=Pace(rate=KEYS_PER_S, burst=BURST, now=clock.monotonic),
            rank=lambda key: isinstance(key, TaskKey),  # a new pool does not wait for ten thousand acceptances
            handled=meter.handled,
        )
        self.memory = Memory(self.queue.add, clock=clock, kinds=kinds)
        self._pools = Pools(api, self.memory, settings, clock=clock)
        self._acceptances = Acceptances(api, self.memory, clock=clock)
        self._rechecks = Rechecks(api, self.memory)
        meter.queue_depth = self.queue.__len__
        meter.failing = lambda: self.queue.failing
        meter.pools = self.memory.objects.__len__
        meter.tasks = self.memory.tasks.__len__

    async def _handle(self, key: Key) -> Again | None:
        match key:
            case PoolKey():
                return await self._pools.reconcile(key)
            case TaskKey():
                return await self._acceptances.reconcile(key)
            case Recheck():
                await self._rechecks.reconcile(key)
        return None
