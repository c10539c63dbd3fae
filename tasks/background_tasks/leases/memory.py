"""Member leases and a slot table in memory, for tests and for several schedulers in one process.

Usable from many threads and loops at once. It sits the same exam as the backends with a server behind them, and can
be told to fail as a server would.
"""

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from background_tasks.domain.model import MemberId
from background_tasks.errors import Ambiguous, Unavailable
from background_tasks.ports import MemberLease, MemberRecord, SlotRow, SlotTable, TableView


class MemoryLeases:
    """The leases and the slot table of one pool; both ports in one object."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._guard = threading.Lock()
        self._versions = 0
        self._members: dict[MemberId, MemberRecord] = {}
        self._table: TableView | None = None
        self._listeners: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self.outage = ""
        """While it is not empty, every call raises `Unavailable` with this sentence."""
        self.lost_answers = 0
        """So many writes to come are done, and raise `Ambiguous` all the same."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[MemberLease, SlotTable]]:
        """Hand out both ports, as `Membership` wants them."""
        yield self, self

    def forget(self) -> None:
        """Lose everything, as a server without persistence does when it restarts."""
        with self._guard:
            self._members.clear()
            self._table = None
        self._hint()

    # --- MemberLease ---

    async def renew(self, member: MemberId, duration: float, *, leaving: bool = False) -> None:
        """Write the member's lease; creates it when absent."""
        self._reach("renew lease")
        with self._guard:
            self._versions += 1
            before = self._members.get(member)
            self._members[member] = MemberRecord(
                member=member, version=str(self._versions), duration=duration, leaving=leaving
            )
        if before is None or before.leaving != leaving:
            self._hint()
        self._answer("renew lease")

    async def release(self, member: MemberId) -> None:
        """Delete the member's lease."""
        self._reach("release lease")
        with self._guard:
            self._members.pop(member, None)
        self._hint()
        self._answer("release lease")

    async def members(self) -> Mapping[MemberId, MemberRecord]:
        """Read all leases of the pool."""
        self._reach("read leases")
        with self._guard:
            return dict(self._members)

    # --- SlotTable ---

    async def read(self, *, fresh: bool = False) -> TableView:
        """Read the table; makes it, with a new realm, when absent."""
        self._reach("read slot table")
        with self._guard:
            if self._table is None:
                free = SlotRow(holder=None, epoch=0)
                self._table = TableView(realm=uuid.uuid4().hex, rows=(free,) * self._slots)
            return self._table

    async def compare_and_set(self, realm: str, slot: int, expected: SlotRow, new: SlotRow) -> bool:
        """Replace one row if realm and row are still as expected."""
        self._reach("write slot table")
        with self._guard:
            table = self._table
            if table is None or table.realm != realm or table.rows[slot] != expected:
                return False
            rows = (*table.rows[:slot], new, *table.rows[slot + 1 :])
            self._table = TableView(realm=realm, rows=rows)
        self._hint()
        self._answer("write slot table")
        return True

    async def changes(self) -> AsyncIterator[None]:
        """Yield at once, then after every change."""
        listener = (asyncio.get_running_loop(), asyncio.Event())
        with self._guard:
            self._listeners.add(listener)
        try:
            yield
            while True:
                await listener[1].wait()
                listener[1].clear()
                yield
        finally:
            with self._guard:
                self._listeners.discard(listener)

    def _hint(self) -> None:
        with self._guard:
            for loop, event in self._listeners:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(event.set)

    def _reach(self, doing: str) -> None:
        if self.outage:
            raise Unavailable(f"memory: {doing}: {self.outage}")

    def _answer(self, doing: str) -> None:
        if self.lost_answers > 0:
            self.lost_answers -= 1
            raise Ambiguous(f"memory: {doing}: the answer was lost; it may have happened")
