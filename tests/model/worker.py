"""What a simulated process runs: a real `Membership` (without its thread), and work for each slot that it gains."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from background_tasks.domain.model import Fence, MemberId
from background_tasks.engine.keeper import Store as Ports
from background_tasks.engine.membership import Membership
from background_tasks.engine.slot_events import Gained, SlotEvent
from background_tasks.errors import BackgroundTaskError
from tests.model.process import Process
from tests.model.store import Wire

if TYPE_CHECKING:
    from tests.model.walk import World

ANSWER_S = 3.0
"""How long an effect waits for its answer before it asks how far things are."""
RUN_S = 0.2
CLEANUP_S = 0.3
STOP_TIMEOUT_S = 5.0


class Worker:
    """One worker at a seat. `works` is what goes on here, whether it should or not."""

    def __init__(self, world: "World", seat: int, process: Process) -> None:
        self.world = world
        self.seat = seat
        self.process = process
        self.wire = Wire(process, world.store, world)
        self.works: dict[int, Fence] = {}
        self.told: list[SlotEvent] = []
        """Events since somebody last looked."""
        self.ended = False
        self.served = 0
        self._tasks: dict[Fence, asyncio.Task[None]] = {}
        self.membership = self._membership()
        self._life = process.run(self.membership._live())
        self._life.add_done_callback(self._end)

    def _membership(self) -> Membership:
        plant, settings = self.world.setup.plant, self.world.settings_of(self.seat)
        membership = Membership(
            member=MemberId(self.process.name),
            open_store=self._open,
            slots=self.world.setup.slots,
            clock=self.process.clock,
            observer=self,
            on_event=self.hear,
            die=self._die,
            settings=settings,
        )
        shipped = membership._keeper
        keeper = plant.keeper(
            member=membership.member,
            open_store=self._open,
            slots=self.world.setup.slots,
            clock=self.process.clock,
            settings=settings,
            observer=self,
            on_event=self.hear,
            die=self._die,
        )
        keeper._roster = plant.roster(shipped._member, settings, self.world.setup.slots)
        membership._keeper = keeper
        return membership

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Ports]:
        yield self.wire, self.wire

    def fence(self, slot: int) -> Fence | None:
        """Return the fence under which this worker would begin something now."""
        self.process.clock.real = self.world.now
        return self.membership.fence(slot)

    # --- what the membership tells ---

    def slots_held(self, count: int) -> None:
        """The promises count for themselves."""

    def lease_renewed(self, seconds: float, ok: bool) -> None:
        """Nothing follows."""

    def hear(self, event: SlotEvent) -> None:
        """Begin work, or end it."""
        self.told.append(event)
        self.world.tell(f"{self.process.name}: {_words(event)}")
        if isinstance(event, Gained):
            self.works[event.slot] = event.fence
            self._tasks[event.fence] = self.process.run(self._work(event.slot, event.fence))
        elif event.fence in self._tasks:
            self._tasks[event.fence].cancel()

    def _die(self, reason: str) -> None:
        self.world.tell(f"{self.process.name} ends itself: {reason}")
        self.ended = True

    def _end(self, life: "asyncio.Task[None]") -> None:
        self.ended = True
        if not life.cancelled() and (error := life.exception()) is not None:
            self.process.errors.append(repr(error))

    # --- what befalls it ---

    def leave(self) -> None:
        """Ask it to stop as a drain does: work ends first, then slots and lease are released."""
        self.membership.stop(STOP_TIMEOUT_S)

    def gone(self) -> None:
        """The process is dead."""
        self.world.tell(f"{self.process.name} is gone")
        self.process.kill()
        self.works.clear()
        self.process.bury()

    def hear_hint(self) -> None:
        """A hint has arrived."""
        self.process.tell(self.wire.hint.set)

    # --- work ---

    async def _work(self, slot: int, fence: Fence) -> None:
        """Serve one fire time after the other; obey a cancellation after some cleaning up."""
        try:
            await self._serve(slot, fence)
        except asyncio.CancelledError:
            if self.process.alive:
                await self._clean_up()
        finally:
            if self.process.alive:
                self._tasks.pop(fence, None)
                if self.works.get(slot) == fence:
                    del self.works[slot]
                self.membership.stopped(slot, fence)

    async def _clean_up(self) -> None:
        seconds = CLEANUP_S * self.process.clock.draw()
        clings = self.world.weather.cling.get(self.seat, 0.0) - self.world.now
        await asyncio.sleep(max(seconds, clings * self.process.clock.rate))

    async def _serve(self, slot: int, fence: Fence) -> None:
        following: int | None = None
        while True:
            try:
                async with asyncio.timeout(ANSWER_S):
                    if following is None:
                        following = await self.wire.take_over(slot, fence)
                        accepted = following is not None
                    else:
                        accepted = await self.wire.serve(slot, following, fence)
                        following += accepted
            except (BackgroundTaskError, TimeoutError):
                # It may have happened: ask how far things are before going on.
                following = None
                await asyncio.sleep(ANSWER_S * self.process.clock.draw())
                continue
            if not accepted:
                self.membership.refused(fence)
                await asyncio.Event().wait()  # the slot will be lost: `refused` sees to it
            await self._until_due(slot, fence, following or 0)

    async def _until_due(self, slot: int, fence: Fence, fire: int) -> None:
        """Wait for the fire time, and for the moment at which the slot is surely ours; then the run takes a while."""
        rest = fire * self.world.setup.fire_s - self.world.now
        if rest > 0:
            await asyncio.sleep(rest * self.process.clock.rate)
        while self.fence(slot) != fence:  # noqa: ASYNC110  # as a timetable looks again at each fire time
            await asyncio.sleep(RUN_S)
        if self.world.setup.run_s:
            await asyncio.sleep(self.world.setup.run_s * self.process.clock.draw())


def _words(event: SlotEvent) -> str:
    if isinstance(event, Gained):
        return f"gained slot {event.slot} at epoch {event.fence.epoch}"
    return f"{type(event).__name__.lower()} slot {event.slot}: {getattr(event, 'reason', 'to be given back')}"
