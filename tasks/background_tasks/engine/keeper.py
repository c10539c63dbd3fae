"""The loops of a membership's thread: renew the lease, look at the table, hear hints, watch the deadlines.

Not here: decisions (`roster.py`), other threads (`membership.py`). Every method runs in the membership's own loop;
`holds` is replaced as a whole and may be read from any thread.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from background_tasks.domain.model import Fence, MemberId
from background_tasks.domain.slots import stagger
from background_tasks.engine.lease_settings import LeaseSettings
from background_tasks.engine.roster import NEVER, Roster, Swap
from background_tasks.engine.slot_events import Gained, LeaseObserver, Lost, SlotEvent
from background_tasks.engine.swapping import swap_all
from background_tasks.engine.troubles import Troubles, nap
from background_tasks.errors import Ambiguous, BackgroundTaskError, Unavailable
from background_tasks.ports import Clock, MemberLease, SlotTable, TableView

type Store = tuple[MemberLease, SlotTable]

SETTLE_S = 0.15
"""A new member looks around so long before its first claim: members started together then share at once."""
STAGGER_S = 0.1
MIN_GAP_S = 0.01
"""Between two looks: one change makes several hints."""
RELEASE_TIMEOUT_S = 1.0

_log = logging.getLogger("background_tasks.membership")


@dataclass(frozen=True, slots=True)
class Holds:
    """What other threads may read."""

    confirmed_at: float = NEVER
    fences: Mapping[int, Fence] = field(default_factory=dict)
    losses: Mapping[int, str] = field(default_factory=dict)
    """Why slots were lost last; for messages."""


class Keeper:
    """Carries out what the roster decides, and tells it what came of it."""

    def __init__(
        self,
        *,
        member: MemberId,
        open_store: Callable[[], AbstractAsyncContextManager[Store]],
        slots: int,
        clock: Clock,
        settings: LeaseSettings,
        observer: LeaseObserver,
        on_event: Callable[[SlotEvent], None],
        die: Callable[[str], None],
    ) -> None:
        self.holds = Holds()
        self._member = member
        self._open_store = open_store
        self._slots = slots
        self._clock = clock
        self._settings = settings
        self._observer = observer
        self._on_event = on_event
        self._die = die
        self._roster = Roster(member, settings, slots)
        self._troubles = Troubles(_log)
        self._store: Store | None = None
        self._claim_from = NEVER
        self._released = False
        self._stop_by = 0.0
        self._looks = self._looks_needed = 0

    async def run(self, ready: Callable[[], None]) -> None:
        """Live until `begin_stop` was called and all that can be released is released."""
        self._look_soon, self._renew_soon, self._moved = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._stopping, self._lease_lock = asyncio.Event(), asyncio.Lock()
        ready()
        async with asyncio.TaskGroup() as group:
            keepers = [group.create_task(self._watch_deadlines()), group.create_task(self._keep_store())]
            await self._stopping.wait()
            await self._until_settled()
            await self._release()
            for keeper in keepers:
                keeper.cancel()

    def take_answer(self, slot: int, fence: Fence | None) -> None:
        """Nothing of the slot runs any more."""
        self._roster.stopped(slot, fence)
        self._tell([])
        self._look_soon.set()
        self._moved.set()

    def take_refusal(self, fence: Fence) -> None:
        """The ledger takes nothing under this fence. A moment later, lest claims and refusals chase one another."""
        later = asyncio.get_running_loop().call_later
        later(self._settings.retry_period, lambda: self._tell(self._roster.refused(fence, self._clock.boottime())))

    def leave(self) -> None:
        """Give everything back, claim nothing more, and let the others know that they may take it."""
        if not self._roster.leaving:
            self._looks_needed = self._looks + 1  # a look that goes on now may still claim
        self._roster.leaving = True
        self._tell(self._roster.give_back())
        self._renew_soon.set()
        self._look_soon.set()

    def begin_stop(self, timeout: float) -> None:
        """Leave, and end at the latest in `timeout` seconds."""
        self.leave()
        self._stop_by = asyncio.get_running_loop().time() + timeout
        self._stopping.set()

    def forget(self) -> None:
        """Hold nothing: the thread has ended."""
        self.holds = Holds(losses=self.holds.losses)

    async def read_again(self) -> TableView:
        """Read the table now. Raises `Unavailable` or `TimeoutError`."""
        if self._store is None:
            raise Unavailable("the store is not open")
        async with asyncio.timeout(self._settings.retry_period):
            return await self._read(self._store[1], fresh=True)

    # --- the store ---

    async def _keep_store(self) -> None:
        while True:
            try:
                async with self._open_store() as store:
                    self._troubles.ended("open store")
                    await self._keep(store)
            except BackgroundTaskError as error:
                self._troubles.began("open store", error)
            await asyncio.sleep(self._settings.retry_period * self._clock.draw())

    async def _keep(self, store: Store) -> None:
        self._store = store
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._renew_on(store[0]))
                group.create_task(self._look_on(store))
                group.create_task(self._hear(store[1]))
        finally:
            self._store = None

    async def _renew_on(self, lease: MemberLease) -> None:
        period, failures = self._settings.retry_period, 0
        while True:
            failures = 0 if await self._renew(lease) else failures + 1
            backoff = min(period, period / 16 * 2**failures) * (0.1 + 0.9 * self._clock.draw())
            regular = period * (0.8 + 0.2 * self._clock.draw())
            await nap(self._renew_soon, backoff if failures else regular)

    async def _renew(self, lease: MemberLease) -> bool:
        async with self._lease_lock:
            if self._released:
                return True
            sent_at = self._clock.boottime()  # before the request leaves: the answer may be slow, the lease is not
            try:
                async with asyncio.timeout(self._settings.retry_period):
                    await lease.renew(self._member, self._settings.duration, leaving=self._roster.leaving)
            except (BackgroundTaskError, TimeoutError) as error:
                self._observer.lease_renewed(self._clock.boottime() - sent_at, False)
                self._troubles.began("renew lease", error)
                return False
        now = self._clock.boottime()
        resumed = self._roster.confirmed_at == NEVER
        self._tell(self._roster.renewed(sent_at, now))
        self._observer.lease_renewed(now - sent_at, True)
        self._troubles.ended("renew lease")
        if resumed:
            self._look_around(now)
        return True

    def _look_around(self, now: float) -> None:
        if self._claim_from == NEVER:
            settle = min(SETTLE_S, self._settings.retry_period / 4) + stagger(self._member, STAGGER_S)
            self._claim_from = now + settle
            asyncio.get_running_loop().call_later(settle, self._look_soon.set)
        self._look_soon.set()

    async def _release(self) -> None:
        async with self._lease_lock:
            self._released = True
            if self._store is None or self._roster.unstopped:
                return  # release only after the work has stopped: others wait the lease out
            try:
                async with asyncio.timeout(RELEASE_TIMEOUT_S):
                    await self._store[0].release(self._member)
            except (BackgroundTaskError, TimeoutError) as error:
                self._troubles.began("release lease", error)

    async def _look_on(self, store: Store) -> None:
        while True:
            await self._look(store)
            self._looks += 1
            self._moved.set()
            # Sooner than renewals: whoever sees a lease change late also notices late that it does not any more.
            latest = self._settings.retry_period / 3 * (0.8 + 0.2 * self._clock.draw())
            until = self._roster.next_look() + 0.001 - self._clock.boottime()
            await asyncio.sleep(MIN_GAP_S)
            await nap(self._look_soon, max(0.0, min(latest, until) - MIN_GAP_S))

    async def _look(self, store: Store) -> None:
        lease, table = store
        asked_at = self._clock.boottime()
        try:
            async with asyncio.timeout(self._settings.retry_period):
                view = await self._read(table)
                records = await lease.members()  # after the table: Roster.observed says why
        except (BackgroundTaskError, TimeoutError) as error:
            self._troubles.began("read slot table", error)
            return
        self._troubles.ended("read slot table")
        self._tell(self._roster.observed(view, records, asked_at=asked_at, now=self._clock.boottime()))
        self._tell(self._roster.give_back())
        if self._clock.boottime() >= self._claim_from:
            await self._swap_all(table)

    async def _swap_all(self, table: SlotTable) -> None:
        swaps, within = self._roster.swaps(self._clock.boottime()), self._settings.retry_period
        failures = await swap_all(table, swaps, within=within, answered=self._take_swap)
        for error in failures:
            self._troubles.began("write slot table", error)
            if isinstance(error, (Ambiguous, TimeoutError)):
                self._look_soon.set()  # it may have happened: read before trying again
        if not failures:
            self._troubles.ended("write slot table")

    def _take_swap(self, swap: Swap, done: bool) -> None:
        self._tell(self._roster.swapped(swap, done, self._clock.boottime()))

    async def _read(self, table: SlotTable, *, fresh: bool = False) -> TableView:
        view = await table.read(fresh=fresh)
        if len(view.rows) != self._slots:
            raise Unavailable(
                f"the slot table has {len(view.rows)} slots, this worker was told {self._slots}: "
                "a pool's number of slots never changes; give the same number or another pool"
            )
        return view

    async def _hear(self, table: SlotTable) -> None:
        while True:
            try:
                async for _ in table.changes():
                    self._troubles.ended("hear changes")
                    self._look_soon.set()
            except BackgroundTaskError as error:
                self._troubles.began("hear changes", error)
            self._look_soon.set()
            await asyncio.sleep(self._settings.retry_period / 3 * (0.5 + 0.5 * self._clock.draw()))

    # --- deadlines and the end ---

    async def _watch_deadlines(self) -> None:
        doomed = None
        while doomed is None:
            now = self._clock.boottime()
            self._tell(self._roster.overdue(now))
            doomed = self._roster.doomed(now)
            rest = self._roster.next_deadline() - now
            await asyncio.sleep(0 if doomed else min(self._settings.retry_period / 3, max(0.005, rest)))
        _log.critical("membership %s: %s", self._member, doomed)
        self._die(doomed)

    async def _until_settled(self) -> None:
        try:
            async with asyncio.timeout_at(self._stop_by):
                while not self._may_end():
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            _log.warning("membership %s stops, but work of slots %s did not", self._member, self._roster.unstopped)

    def _may_end(self) -> bool:
        """Say whether all is given back; what only the store stands in the way of is not waited for."""
        away = self._store is None or "read slot table" in self._troubles
        given_back = self._roster.settled and self._looks >= self._looks_needed
        return not self._roster.unstopped and (away or given_back)

    def _tell(self, events: Sequence[SlotEvent]) -> None:
        """Publish what is held, then the events: who is told of a loss finds no fence any more."""
        before, losses = self.holds, self.holds.losses
        if events:
            lost = {event.slot: event.reason for event in events if isinstance(event, Lost)}
            gained = {event.slot for event in events if isinstance(event, Gained)}
            losses = {slot: why for slot, why in (losses | lost).items() if slot not in gained}  # type: ignore[operator]
            for slot, why in lost.items():
                _log.warning("slot %d is lost: %s", slot, why)
        self.holds = Holds(self._roster.confirmed_at, self._roster.fences(), losses)
        if len(before.fences) != len(self.holds.fences):
            self._observer.slots_held(len(self.holds.fences))
        for event in events:
            self._on_event(event)
