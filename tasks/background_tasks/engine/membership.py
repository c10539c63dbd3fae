"""A member of a pool, as the worker's threads see it: which slots are ours, by which fence, from when to when.

The work is done in a thread of its own (`keeper.py`), with its own loop and connections, so that task code which
blocks cannot lose the lease; `roster.py` decides. Nothing here believes another machine's clock.

Promise: at most one member acts for a slot while fences are checked. Without checking them, overlap is bounded by
(rate error of the clocks x lease duration). A store that does not answer changes nothing until `renew_deadline`;
then everything held is lost (fail closed), and comes back by itself when the store does.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from background_tasks.domain.model import Fence, MemberId
from background_tasks.engine.keeper import Keeper, Store
from background_tasks.engine.lease_settings import LeaseSettings
from background_tasks.engine.slot_events import Gained, LeaseObserver, Lost, SlotEvent, Surrender
from background_tasks.errors import BackgroundTaskError, NotLeader
from background_tasks.ports import Clock

__all__ = ["Gained", "LeaseObserver", "LeaseSettings", "Lost", "Membership", "SlotEvent", "Store", "Surrender"]

JOIN_GRACE_S = 2.0
"""Beyond the time-out of `stop`, for the last calls to the store."""
_DEFAULTS = LeaseSettings()

_log = logging.getLogger("background_tasks.membership")


class Membership:
    """One member of one pool; implements `ports.Holdings`. `on_event` and `die` are called in its own thread.

    Each `Surrender` and each `Lost` is answered by `stopped(slot, fence)` once nothing of the slot runs any more.
    `die(reason)` is called when runs of a lost slot did not stop before others may act; it should end the process.
    """

    def __init__(
        self,
        *,
        member: MemberId,
        open_store: Callable[[], AbstractAsyncContextManager[Store]],
        slots: int,
        clock: Clock,
        observer: LeaseObserver,
        on_event: Callable[[SlotEvent], None],
        die: Callable[[str], None],
        settings: LeaseSettings = _DEFAULTS,
    ) -> None:
        self.member = member
        self._clock = clock
        self._settings = settings
        self._die = die
        self._keeper = Keeper(
            member=member,
            open_store=open_store,
            slots=slots,
            clock=clock,
            settings=settings,
            observer=observer,
            on_event=on_event,
            die=die,
        )
        self._thread = threading.Thread(target=self._main, name=f"membership-{member}", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Start the thread. The store need not be there yet."""
        self._thread.start()
        self._ready.wait()

    def fence(self, slot: int) -> Fence | None:
        """Return the fence while the slot is surely ours. It looks at the clock: a late sleeper is fenced at once."""
        holds = self._keeper.holds
        found = holds.fences.get(slot)
        if found is None or self._clock.boottime() - holds.confirmed_at >= self._settings.renew_deadline:
            return None
        return found

    def stopped(self, slot: int, fence: Fence | None = None) -> None:
        """Tell that nothing of the slot runs any more; with the event's fence no late answer hits a newer claim."""
        self._tell(lambda: self._keeper.take_answer(slot, fence))

    def refused(self, fence: Fence) -> None:
        """Tell that the ledger takes nothing under this fence. Its slot is lost, and claimed anew if still ours."""
        self._tell(lambda: self._keeper.take_refusal(fence))

    def stand_down(self) -> None:
        """Give back all slots as their work ends, and claim nothing more. The lease itself stays until `stop`."""
        self._tell(self._keeper.leave)

    def stop(self, timeout: float) -> None:
        """Stand down, wait for answers at most `timeout` seconds, release slots and lease, end the thread. Blocks.

        A slot whose work was not told to have stopped is not released: others wait until its lease has run out.
        """
        self._tell(lambda: self._keeper.begin_stop(timeout))
        if self._thread.is_alive():
            self._thread.join(timeout + JOIN_GRACE_S)
        if self._thread.is_alive():
            _log.error("membership %s did not end within %.0f s", self.member, timeout + JOIN_GRACE_S)

    async def verify(self, fence: Fence) -> None:
        """Read the table again and return if `fence` still holds. From any loop.

        Raises `NotLeader` when this member does not hold the slot under that fence, when its renewal is overdue, when
        somebody else has taken the slot, and when the table cannot be read (fail closed).
        """
        self._refuse_unless_held(fence)
        reading = self._keeper.read_again()
        try:
            view = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(reading, self._running_loop()))
        except (BackgroundTaskError, TimeoutError) as error:
            raise NotLeader(f"slot {fence.slot}: the slot table cannot be read: {error or 'no answer'}") from error
        except RuntimeError as error:
            reading.close()
            raise NotLeader(f"slot {fence.slot}: this member has stopped") from error
        row = view.rows[fence.slot]
        if view.realm != fence.realm:
            raise NotLeader(f"slot {fence.slot}: the slot table was made anew, realm {view.realm}")
        if (row.holder, row.epoch) != (self.member, fence.epoch):
            raise NotLeader(f"slot {fence.slot} was taken by {row.holder or 'nobody'} at epoch {row.epoch}")
        self._refuse_unless_held(fence)

    def _refuse_unless_held(self, fence: Fence) -> None:
        if self.fence(fence.slot) == fence:
            return
        holds = self._keeper.holds
        if holds.fences.get(fence.slot) == fence:
            age = self._clock.boottime() - holds.confirmed_at
            raise NotLeader(f"slot {fence.slot}: renewal overdue: the last one held {age:.1f} s ago")
        reason = holds.losses.get(fence.slot, f"{self.member} is not its holder under fence {fence}")
        raise NotLeader(f"slot {fence.slot}: {reason}")

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._loop.is_closed():
            raise RuntimeError("the membership has no loop")
        return self._loop

    def _tell(self, what: Callable[[], None]) -> None:
        try:
            self._running_loop().call_soon_threadsafe(what)
        except RuntimeError:
            _log.debug("membership %s is not running; nothing to tell", self.member)

    def _main(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException:  # noqa: BLE001  # whatever it was, it is logged and ends the process
            # A member that cannot renew must not act, and nobody else would notice.
            _log.critical("membership %s failed", self.member, exc_info=True)
            self._die(f"the membership thread of {self.member} failed; its log line says why")
        finally:
            self._keeper.forget()
            self._ready.set()

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._keeper.run(self._ready.set)
