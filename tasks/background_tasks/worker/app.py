"""One worker's life, and the order in which it stops.

Not here: what it is made of (`compose`), or new behaviour. The order: not ready, start nothing, let runs end, give
slots back, write what is left, release the lease, exit.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import structlog

from background_tasks.domain.model import Fence
from background_tasks.engine.membership import Gained, Lost, Membership, SlotEvent, Surrender
from background_tasks.engine.scheduler import Scheduler
from background_tasks.ports import Refusal, TaskSource
from background_tasks.telemetry.probes import Health

LEAVE_TIMEOUT_S = 5.0
"""For the last words to the lease store."""
STUCK_S = 15.0
"""Above the grace of runs that were told to stop."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger("background_tasks.worker")


class Worker:
    """Runs one scheduler under one membership until it is told to stop. Build it on the loop that runs it.

    `join` makes the membership, given who hears its events; `schedule` makes the scheduler, given the membership.
    `die` ends the process without a word. `on_synced` is called once all tasks that exist are known.
    """

    def __init__(
        self,
        schedule: Callable[[Membership], Scheduler],
        join: Callable[[Callable[[SlotEvent], None]], Membership],
        *,
        drain_timeout: float,
        health: Health,
        die: Callable[[str], None],
        on_synced: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_synced = on_synced
        self._loop = asyncio.get_running_loop()
        self.membership = join(self._hop)
        self.scheduler = schedule(self.membership)
        self._drain_timeout = drain_timeout
        self._health = health
        self._die = die
        self._told_to_stop = asyncio.Event()
        self._told_to_hurry = asyncio.Event()
        self._group = asyncio.TaskGroup()
        self._broken: Exception | None = None

    async def run(
        self,
        source: TaskSource,
        refusals: Sequence[Refusal] = (),
        more: Mapping[str, Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        """Live until `stop`. When a vital part breaks, cancel what runs, stop, and raise what it raised.

        `more` are parts by name that live as long as the worker.
        """
        for number in STOP_SIGNALS:
            self._loop.add_signal_handler(number, self.stop)
        for refusal in refusals:
            log.error("refused", where=refusal.where, field=refusal.field, message=refusal.message)
        async with self._group as group:
            parts = {"beat": self._health.beat(), **(more or {})}
            living = [self._start(name, part) for name, part in parts.items()]
            following = self._start("follow", self.scheduler.follow(source))
            syncing = self._start("sync", self._sync())
            running = self._start("scheduler", self.scheduler.run())
            dying = group.create_task(self._die_when_stuck(), name="watch")
            self.membership.start()
            await self._told_to_stop.wait()
            following.cancel()
            syncing.cancel()
            await self._leave()
            await running
            for part in (*living, dying):
                part.cancel()
        if self._broken is not None:
            raise self._broken
        log.info("stopped")

    def _start(self, part: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a part without which this worker is of no use."""
        self._health.watch(part, lambda: self._broken is not None)
        return self._group.create_task(self._vital(part, work), name=part)

    async def _vital(self, part: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # whatever it was, half a worker must not go on holding slots
            log.critical("a vital part broke; the worker stops", part=part, exc_info=error)
            self._broken = self._broken or error
            self.stop()

    async def _die_when_stuck(self) -> None:
        """End the process when the engine broke while a run that ignores its cancellation keeps it from saying so."""
        await self.scheduler.ended.wait()
        if not self._told_to_stop.is_set():
            await asyncio.sleep(STUCK_S)
            if not self._told_to_stop.is_set():
                self._die("the engine broke, and a run ignores its cancellation")

    def stop(self) -> None:
        """Drain and end; a second call cancels what still runs."""
        if self._told_to_stop.is_set():
            self._told_to_hurry.set()
        self._told_to_stop.set()

    async def _sync(self) -> None:
        await self.scheduler.synced.wait()
        self._on_synced()
        self._health.synced = True
        log.info("synced", tasks=len(self.scheduler.tasks()))

    async def _leave(self) -> None:
        """Stop in order: whoever depends on something stops before it."""
        patience = self._drain_timeout if self._broken is None else 0.0
        log.info("draining", timeout_s=patience)
        self._health.draining = True
        self.membership.stand_down()
        hurry = self._group.create_task(self._hurry(), name="hurry")
        stuck = await self.scheduler.drain(patience)
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

        try:
            self._group.create_task(answer(), name=f"slot {slot} ends")
        except RuntimeError:  # the group is over: the process ends, and nothing is released that may still run
            work_ends.close()
