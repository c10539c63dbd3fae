"""One worker's life, and the order in which it stops.

Not here: what it is made of (`compose`), or new behaviour. The order: not ready, start nothing, let runs end, give
slots back, write what is left, release the lease, exit.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog

from background_tasks.domain.model import Fence
from background_tasks.engine.membership import Gained, Lost, Membership, SlotEvent, Surrender
from background_tasks.engine.scheduler import Scheduler
from background_tasks.ports import Refusal, TaskSource
from background_tasks.telemetry.probes import Health

LEAVE_TIMEOUT_S = 5.0
"""For the last words to the lease store."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger("background_tasks.worker")


class Worker:
    """Runs one scheduler under one membership until it is told to stop. Build it on the loop that runs it.

    `join` makes the membership, given who hears its events; `schedule` makes the scheduler, given the membership.
    `die` ends the process without a word.
    """

    def __init__(
        self,
        schedule: Callable[[Membership], Scheduler],
        join: Callable[[Callable[[SlotEvent], None]], Membership],
        *,
        drain_timeout: float,
        health: Health,
        die: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.membership = join(self._hop)
        self.scheduler = schedule(self.membership)
        self._drain_timeout = drain_timeout
        self._health = health
        self._die = die
        self._told_to_stop = asyncio.Event()
        self._told_to_hurry = asyncio.Event()
        self._group = asyncio.TaskGroup()

    async def run(self, source: TaskSource, refusals: Sequence[Refusal] = ()) -> None:
        """Live until `stop`. Raises what broke inside, after everything was stopped."""
        for number in STOP_SIGNALS:
            self._loop.add_signal_handler(number, self.stop)
        for refusal in refusals:
            log.error("refused", where=refusal.where, field=refusal.field, message=refusal.message)
        async with self._group as group:
            beating = group.create_task(self._health.beat(), name="beat")
            running = group.create_task(self.scheduler.run(), name="scheduler")
            following = group.create_task(self.scheduler.follow(source), name="follow")
            syncing = group.create_task(self._sync(), name="sync")
            self.membership.start()
            await self._told_to_stop.wait()
            following.cancel()
            syncing.cancel()
            await self._leave()
            await running
            beating.cancel()
        log.info("stopped")

    def stop(self) -> None:
        """Drain and end; a second call cancels what still runs."""
        if self._told_to_stop.is_set():
            self._told_to_hurry.set()
        self._told_to_stop.set()

    async def _sync(self) -> None:
        await self.scheduler.synced.wait()
        self._health.synced = True
        log.info("synced", tasks=len(self.scheduler.tasks()))

    async def _leave(self) -> None:
        """Stop in order: whoever depends on something stops before it."""
        log.info("draining", timeout_s=self._drain_timeout)
        self._health.draining = True
        self.membership.stand_down()
        hurry = self._group.create_task(self._hurry(), name="hurry")
        stuck = await self.scheduler.drain(self._drain_timeout)
        hurry.cancel()
        if stuck:  # releasing now would let another worker act beside them
            self._die(f"runs ignore their cancellation: {', '.join(stuck)}")
        await asyncio.to_thread(self.membership.stop, LEAVE_TIMEOUT_S)

    async def _hurry(self) -> None:
        await self._told_to_hurry.wait()
        log.warning("told to stop twice: running runs are cancelled")
        await self.scheduler.drain(0)

    def _hop(self, event: SlotEvent) -> None:
        """Carry an event from the membership's thread to the loop; a loop that is gone has nothing left to stop."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._hear, event)

    def _hear(self, event: SlotEvent) -> None:
        match event:
            case Gained(slot=slot, fence=fence):
                self.scheduler.gained(slot, fence)
            case Surrender(slot=slot, fence=held):
                self._answer(slot, held, self.scheduler.surrender(slot, self._drain_timeout))
            case Lost(slot=slot, reason=reason, fence=held):
                log.warning("slot lost", slot=slot, reason=reason)
                self.scheduler.lost(slot, reason)
                self._answer(slot, held, self.scheduler.stopped(slot))

    def _answer(self, slot: int, fence: Fence | None, work_ends: Coroutine[Any, Any, None]) -> None:
        """Tell the membership when nothing of the slot runs any more."""

        async def answer() -> None:
            await work_ends
            self.membership.stopped(slot, fence)

        self._group.create_task(answer(), name=f"slot {slot} ends")
