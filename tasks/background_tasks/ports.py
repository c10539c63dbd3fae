"""What the engine asks of the world: Protocols, and the plain records that pass through them. No implementations.

Every call may raise `errors.Unavailable` (nothing was decided) or `errors.Ambiguous` (a write may have happened).
A failed read is an error, never an empty answer.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from background_tasks.domain.model import Fence, MemberId, Past, RunRecord, SkipReason, Task, TaskUid


class Clock(Protocol):
    """The only source of time and chance."""

    def wall(self) -> float:
        """Seconds since the epoch; may step."""
        ...

    def monotonic(self) -> float:
        """Seconds on the running loop's own time base; never steps."""
        ...

    def boottime(self) -> float:
        """Seconds that go on while the machine sleeps (CLOCK_BOOTTIME): for leases."""
        ...

    def draw(self) -> float:
        """A random number in [0, 1)."""
        ...


# --- where tasks come from ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A document that was not accepted, in one sentence that names field, value and fix."""

    where: str
    """`file:line (document n)` or the resource's `namespace/name`."""
    field: str
    value: str
    message: str
    uid: TaskUid | None = None
    reason: str = "Invalid"
    """CamelCase condition reason."""


@dataclass(frozen=True, slots=True)
class Upserted:
    """A task is new or changed."""

    task: Task


@dataclass(frozen=True, slots=True)
class Removed:
    """A task is gone."""

    uid: TaskUid


@dataclass(frozen=True, slots=True)
class RefusedDocument:
    """A document cannot be a task; its earlier good version, if any, stays armed."""

    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Synced:
    """All that existed when the watch began has been told."""


type SourceEvent = Upserted | Removed | RefusedDocument | Synced


class TaskSource(Protocol):
    """Tells which tasks exist, then every change, until it is closed. Reconnects by itself."""

    def watch(self) -> AsyncIterator[SourceEvent]:
        """Yield what exists, `Synced`, then changes."""
        ...


# --- who may act -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRecord:
    """A member's lease as the store shows it."""

    member: MemberId
    version: str
    """Opaque; differs after every renewal. Watchers believe changes of it, never a written time."""
    duration: float
    """Seconds the holder recorded."""
    leaving: bool = False
    """It gives its slots back and takes none: the others' fair shares no longer count it."""


class MemberLease(Protocol):
    """One renewable record per member of one pool."""

    async def renew(self, member: MemberId, duration: float, *, leaving: bool = False) -> None:
        """Write the member's lease; creates it when absent."""
        ...

    async def release(self, member: MemberId) -> None:
        """Delete the member's lease; deleting an absent one is fine."""
        ...

    async def members(self) -> Mapping[MemberId, MemberRecord]:
        """Read all leases of the pool."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRow:
    """One row of the slot table."""

    holder: MemberId | None
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TableView:
    """The slot table at one moment."""

    realm: str
    rows: tuple[SlotRow, ...]


class SlotTable(Protocol):
    """One object per pool: slot -> (holder, epoch). Policy lives elsewhere; here only read, compare-and-set, watch."""

    async def read(self, *, fresh: bool = False) -> TableView:
        """Read the table; makes it, with a new realm, when absent.

        It may be what a watch told, a moment old; `fresh` asks the store itself.
        """
        ...

    async def compare_and_set(self, realm: str, slot: int, expected: SlotRow, new: SlotRow) -> bool:
        """Replace one row if realm and row are still as expected. False: somebody else was first."""
        ...

    def changes(self) -> AsyncIterator[None]:
        """Yield after something may have changed (hints may be doubled or lost: the reader polls as well)."""
        ...


class Holdings(Protocol):
    """What this worker may act for, as the engine asks on its hot path. Thread-safe, no I/O."""

    def fence(self, slot: int) -> Fence | None:
        """Return the fence while the slot is surely ours by our own clock, else None."""
        ...


# --- where outcomes go -------------------------------------------------------------------------------------------


class RunLedger(Protocol):
    """What ran, kept outside the process so that a restart neither loses nor doubles."""

    async def load(self, uids: Iterable[TaskUid]) -> Mapping[TaskUid, Past]:
        """Read the pasts of many tasks; a task that never ran is absent from the answer."""
        ...

    async def claim(self, task: Task, scheduled_for: float, fence: Fence | None) -> bool:
        """Write that this fire time is being served, before its start. False: it was claimed before."""
        ...

    async def record(self, task: Task, past: Past | None, run: RunRecord | None, *, fence: Fence | None = None) -> None:
        """Write the past after a run (or a decision without one: then `fence` says who decided).

        Without a past only the run is told, and what is remembered of the task stays as it is.
        Raises `Superseded` when a newer fence of the slot was seen: nothing was written.
        """
        ...

    async def forget(self, uid: TaskUid) -> None:
        """Drop everything about a removed task."""
        ...


class StatusSink(Protocol):
    """Shows people what a task does. Budgeted and coalesced; losing an intermediate state is fine, the last one not."""

    async def publish(self, uid: TaskUid, status: Mapping[str, object]) -> None:
        """Show the status (the resource's `status` object)."""
        ...

    async def withdraw(self, uid: TaskUid) -> None:
        """The task is gone."""
        ...


@runtime_checkable
class Coalescing(Protocol):
    """What a `RunLedger` or a `StatusSink` also is that takes writes at once and makes them later, to make fewer."""

    def hurried(self, uids: Collection[TaskUid] | None = None) -> AbstractAsyncContextManager[None]:
        """Inside, what waits and what comes is written as fast as it goes; leaving, all of it is (of these tasks)."""
        ...


class Observer(Protocol):
    """Watches the engine; never changes it, never raises, never awaits."""

    def armed(self, count: int) -> None:
        """So many tasks are filed now."""
        ...

    def started(self, task: Task, run_id: str, scheduled_for: float, lateness: float) -> None:
        """A run began."""
        ...

    def ended(self, task: Task, run: RunRecord) -> None:
        """A run ended."""
        ...

    def skipped(self, task: Task, scheduled_for: float, reason: SkipReason) -> None:
        """A fire time had no run."""
        ...

    def blocked(self, task: str, seconds: float, stack: str) -> None:
        """The loop was held by a task's code."""
        ...

    def slots_held(self, count: int) -> None:
        """So many slots are ours."""
        ...

    def lease_renewed(self, seconds: float, ok: bool) -> None:
        """A renewal took so long, and held or not."""
        ...
