"""The store of a simulated world, and the wires to it: what a process asks may be lost or late, and so may the answer.

Leases and slot table are the production's `MemoryLeases`. The store of effects compares fences as docs/guarantees.md
asks of whoever takes an effect: the newest one counts, in one step with the write.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, override

from background_tasks.domain.model import Fence, MemberId
from background_tasks.errors import Ambiguous, Unavailable
from background_tasks.leases.memory import MemoryLeases
from background_tasks.ports import MemberRecord, SlotRow, TableView
from tests.model.process import Process


class Carrier(Protocol):
    """What carries a request to the store and its answer back; `walk.World`."""

    def carry(self, process: Process, request: "Request") -> None:
        """Take it from here."""
        ...


@dataclass(slots=True)
class Request:
    """Something asked of the store."""

    what: Callable[[], Any]
    answer: "asyncio.Future[Any]"
    writes: bool

    def settle(self, result: Any) -> None:
        """Hand the answer to who asked, unless it gave up."""
        if self.answer.done():
            return
        if isinstance(result, Exception):
            self.answer.set_exception(result)
        else:
            self.answer.set_result(result)


class Store(MemoryLeases):
    """Leases, slot table and effects of one pool."""

    def __init__(self, slots: int, *, fenced: bool, changed: Callable[[], None]) -> None:
        super().__init__(slots)
        self.effects = [Effects(fenced=fenced) for _ in range(slots)]
        self._changed = changed
        self._realms: list[str] = []

    @override
    def _hint(self) -> None:
        self._changed()

    def anew(self) -> None:
        """Begin a new realm over the same rows, as a Redis that was restarted does."""
        table = done_at_once(self.read())
        self._table = replace(table, realm=f"{table.realm}+")
        self._hint()

    def rank(self, fence: Fence) -> tuple[int, int]:
        """Return what is compared: realms are numbered as they come."""
        if fence.realm not in self._realms:
            self._realms.append(fence.realm)
        return self._realms.index(fence.realm), fence.epoch


@dataclass(slots=True)
class Effects:
    """What was done for one slot: a fire time after the other, each of them once."""

    fenced: bool
    newest: tuple[int, int] = (-1, -1)
    times: bytearray = field(default_factory=bytearray)
    """How often each fire time was served."""
    by: list[tuple[int, int]] = field(default_factory=list)
    """Under which fence it was last."""
    refused: int = 0

    def take_over(self, rank: tuple[int, int]) -> int | None:
        """Let nobody older write any more; return the fire time that comes next, or None to who is too old."""
        if self.fenced and rank < self.newest:
            self.refused += 1
            return None
        self.newest = max(self.newest, rank)
        return len(self.times)

    def serve(self, fire: int, rank: tuple[int, int]) -> bool:
        """Take an effect, unless somebody with a newer fence was here. A holder that repeats itself changes nothing."""
        if self.take_over(rank) is None:
            return False
        missing = max(0, fire + 1 - len(self.times))
        self.times.extend(bytes(missing))
        self.by.extend([rank] * missing)
        if missing == 0 and self.by[fire] == rank:
            return True
        self.by[fire] = rank
        self.times[fire] = min(255, self.times[fire] + 1)
        return True

    @property
    def doubled(self) -> int:
        """How many effects were taken again."""
        return sum(self.times) - len(self.times) + self.lost

    @property
    def lost(self) -> int:
        """How many were passed over."""
        return self.times.count(0)


class Wire:
    """What one process has of the store; both ports of a membership, and the effects."""

    def __init__(self, process: Process, store: Store, carrier: Carrier) -> None:
        self._process = process
        self._store = store
        self._carrier = carrier
        self._written: dict[str, float] = {}
        self.hint = asyncio.Event()

    async def renew(self, member: MemberId, duration: float, *, leaving: bool = False) -> None:
        """Write the member's lease. The version also tells when it was sent by our clock: nobody should care."""
        sent_at = self._process.clock.boottime()

        def write() -> None:
            done_at_once(self._store.renew(member, duration, leaving=leaving))
            record = self._store._members[member]
            self._store._members[member] = replace(record, version=f"{record.version}@{sent_at}")

        await self._ask(write, writes=True)

    async def release(self, member: MemberId) -> None:
        """Delete the member's lease."""
        await self._ask(lambda: done_at_once(self._store.release(member)), writes=True)

    async def members(self) -> Mapping[MemberId, MemberRecord]:
        """Read all leases."""
        records: Mapping[MemberId, MemberRecord] = await self._ask(lambda: done_at_once(self._store.members()))
        return records

    async def read(self, *, fresh: bool = False) -> TableView:
        """Read the table."""
        view: TableView = await self._ask(lambda: done_at_once(self._store.read(fresh=fresh)))
        return view

    async def compare_and_set(self, realm: str, slot: int, expected: SlotRow, new: SlotRow) -> bool:
        """Replace one row if it is as expected."""
        swap = lambda: done_at_once(self._store.compare_and_set(realm, slot, expected, new))  # noqa: E731
        return bool(await self._ask(swap, writes=True))

    async def changes(self) -> AsyncIterator[None]:
        """Yield at once, then after every hint that arrives."""
        yield
        while True:
            await self.hint.wait()
            self.hint.clear()
            yield

    async def take_over(self, slot: int, fence: Fence) -> int | None:
        """Raise the fence of a slot's effects; return what is to be done next."""
        effects, rank = self._store.effects[slot], self._store.rank(fence)
        following: int | None = await self._ask(lambda: effects.take_over(rank), writes=True)
        return following

    async def serve(self, slot: int, fire: int, fence: Fence) -> bool:
        """Send an effect; False: refused."""
        effects, rank = self._store.effects[slot], self._store.rank(fence)
        return bool(await self._ask(lambda: effects.serve(fire, rank), writes=True))

    async def _ask(self, what: Callable[[], Any], *, writes: bool = False) -> Any:
        request = Request(what, asyncio.get_running_loop().create_future(), writes)
        self._carrier.carry(self._process, request)
        return await request.answer


def done_at_once[T](coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("the store in memory waits for nothing")


def unavailable(*, writes: bool, chance: float) -> Exception:
    """Return what a client makes of a connection that broke: a write may have happened."""
    if writes and chance < 0.5:
        return Ambiguous("the connection broke after the request left")
    return Unavailable("the connection broke")
