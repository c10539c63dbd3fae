"""What one member knows of its pool, and what it does next: observations in, actions out.

Not here: a clock, a thread, a store. Every instant is an argument, in seconds of this member's own CLOCK_BOOTTIME;
`membership.py` reads the clock, carries the actions out and tells what came of them.

Why it is safe. A member acts from an acknowledged claim on, and only while an unbroken chain of renewals, each
confirmed before the one before it was `renew_deadline` old, leads up to now; ages count from before a request left.
Others take a slot only after they saw the lease unchanged for its recorded duration, counted from after the answer
came. A chain that broke never mends: what was held is lost, and is claimed anew at a higher epoch like any other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from background_tasks.domain.model import Fence, MemberId
from background_tasks.domain.slots import (
    Claim,
    Move,
    Slot,
    Wait,
    due_share,
    next_move,
    slot_to_give_back,
    slots_to_claim,
)
from background_tasks.engine.lease_settings import LeaseSettings
from background_tasks.engine.slot_events import Gained, Lost, SlotEvent, Surrender
from background_tasks.ports import MemberRecord, SlotRow, TableView

WAKE_GRACE_S = 1.0
"""A process that was stopped past its lease wakes fenced; its runs get this long to obey their cancellation."""
CONTENT_DURATIONS = 10
"""Who took back a slot that nobody wanted gives none for so many lease durations."""
SILENT_PATIENCE = 0.025
"""In lease durations: a dead holder's slots are left so long to those whose share they are, then anybody takes them."""
NEVER = float("-inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """One compare-and-set to try on the slot table."""

    realm: str
    slot: int
    expected: SlotRow
    new: SlotRow
    chain: int
    """The chain of renewals under which it was decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    version: str | None
    seen_at: float
    duration: float


@dataclass(slots=True, kw_only=True)
class _Tenure:
    """A slot whose work may still be going on here."""

    fence: Fence
    surrendering: bool = False
    lost: bool = False
    stop_by: float = field(default=float("inf"))

    @property
    def acts(self) -> bool:
        return not self.lost


class Roster:
    """The state of one member. Not thread-safe; every method says what follows from what it is told."""

    def __init__(self, me: MemberId, settings: LeaseSettings, slots: int) -> None:
        self.me = me
        self.leaving = False
        self.confirmed_at = NEVER
        self.chain = 0
        self._settings = settings
        self._slots = slots
        self._realm = ""
        self._rows: tuple[SlotRow, ...] = ()
        self._asked_at = NEVER
        self._seen: dict[MemberId, _Seen] = {}
        self._others: list[MemberId] = []
        self._free_since: dict[int, float] = {}
        self._content_until = NEVER
        self._tenures: dict[int, _Tenure] = {}

    # --- what happened ---

    def renewed(self, sent_at: float, now: float) -> list[SlotEvent]:
        """Our lease was renewed by a request that left at `sent_at`; its answer is read at `now`."""
        # Look at the old chain first: an answer that was read too late must not cover the gap before it.
        events = self.overdue(now)
        self.confirmed_at = max(self.confirmed_at, sent_at)
        return events

    def overdue(self, now: float) -> list[SlotEvent]:
        """Break the chain of renewals if it is too old; everything held is lost with it."""
        if self.confirmed_at == NEVER or now - self.confirmed_at < self._settings.renew_deadline:
            return []
        age, lease_end = now - self.confirmed_at, self.confirmed_at + self._settings.duration
        self.confirmed_at = NEVER
        self.chain += 1
        reason = f"renewal overdue: the last one held {age:.1f} s ago"
        grace = min(WAKE_GRACE_S, self._settings.duration - self._settings.renew_deadline)
        stop_by = max(lease_end, now + grace)
        return [self._lose(tenure, reason, stop_by) for tenure in self._acting()]

    def observed(
        self, view: TableView, records: Mapping[MemberId, MemberRecord], *, asked_at: float, now: float
    ) -> list[SlotEvent]:
        """The table was read, and the leases AFTER it; asking began at `asked_at`, the answers are here at `now`.

        The order matters: a member that comes back late renews its lease before it claims, so a lease read before
        the row could be old news about a row that is new.
        """
        stop_by = now + self._settings.duration - self._settings.renew_deadline
        renewed_realm = self._realm not in ("", view.realm)
        self._realm, self._rows, self._asked_at = view.realm, view.rows, asked_at
        self._see(records, now)
        events: list[SlotEvent] = []
        for tenure in self._acting():
            row = view.rows[tenure.fence.slot]
            if renewed_realm:
                events.append(self._lose(tenure, f"the slot table was made anew: realm {view.realm}", stop_by))
            elif row != SlotRow(holder=self.me, epoch=tenure.fence.epoch):
                events.append(self._lose(tenure, _taken(tenure.fence.slot, row), stop_by))
        return events

    def swapped(self, swap: Swap, done: bool, now: float) -> list[SlotEvent]:
        """A compare-and-set was answered. One that got no answer is not told: the next reading shows it."""
        if not done or swap.realm != self._realm:
            return []
        rows = list(self._rows)
        rows[swap.slot] = swap.new
        self._rows = tuple(rows)
        # A claim that was answered across a gap in our renewals may be somebody else's by now: claim again instead.
        events = self.overdue(now)
        if swap.new.holder != self.me or swap.chain != self.chain or swap.slot in self._tenures:
            return events
        fence = Fence(realm=swap.realm, slot=swap.slot, epoch=swap.new.epoch)
        self._tenures[swap.slot] = _Tenure(fence=fence)
        return [*events, Gained(swap.slot, fence)]

    def refused(self, fence: Fence, now: float) -> list[SlotEvent]:
        """The ledger takes nothing under this fence: it is lost. If the row is still ours, the next epoch may do."""
        stop_by = now + self._settings.duration - self._settings.renew_deadline
        reason = f"the ledger has seen a newer fence than {fence}"
        return [self._lose(tenure, reason, stop_by) for tenure in self._acting() if tenure.fence == fence]

    def stopped(self, slot: int, fence: Fence | None = None) -> None:
        """Nothing of the slot runs here any more. Ignored unless it was asked for, or about an older claim."""
        tenure = self._tenures.get(slot)
        if tenure is None or (fence is not None and fence != tenure.fence):
            return
        if tenure.lost or tenure.surrendering:
            del self._tenures[slot]

    # --- what to do ---

    def give_back(self) -> list[SlotEvent]:
        """Ask for slots to be surrendered: all when leaving, else one at a time while above the fair share."""
        acting = [tenure for tenure in self._acting() if not tenure.surrendering]
        if self.leaving:
            return [self._surrender(tenure) for tenure in acting]
        if self._asked_at < self._content_until:
            return []
        holding = [tenure.fence.slot for tenure in acting]
        free = sum(row.holder in (None, self.me) and slot not in self._tenures for slot, row in enumerate(self._rows))
        giving_back = len(self._tenures) - len(acting)
        slot = slot_to_give_back(self.me, holding, share=self.share, free=free, giving_back=giving_back)
        return [] if slot is None else [self._surrender(self._tenures[slot])]

    def swaps(self, now: float) -> list[Swap]:
        """Name the compare-and-sets to try now, after a fresh reading: what is wanted is claimed, the rest released.

        A row that names us without our holding it (an unanswered claim, a broken chain, a table made anew) is
        claimed again at the next epoch, never believed: only an answered claim proves that nobody was faster.
        """
        fresh = now - self.confirmed_at < self._settings.renew_deadline
        room = self.share if fresh and not self.leaving else 0
        mine = [slot for slot in self._ours_on_paper() if slot not in self._tenures]
        again = slots_to_claim(self.me, mine, held=len(self._tenures), share=room)
        free = slots_to_claim(self.me, self._free_since, held=len(self._tenures) + len(again), share=room)
        free += [slot for slot in self._unwanted() if room and slot not in free]
        release = [slot for slot in mine if slot not in again]
        return [self._swap(slot, None) for slot in release] + [self._swap(slot, self.me) for slot in again + free]

    def doomed(self, now: float) -> str | None:
        """Say why this process must end: runs of a lost slot that did not stop in time. None: it may live."""
        late = [slot for slot, tenure in self._tenures.items() if tenure.lost and now >= tenure.stop_by]
        if not late:
            return None
        slots = ", ".join(map(str, sorted(late)))
        return f"runs of slot {slots} did not stop before the lease ran out; others may act, so this process ends"

    def next_look(self) -> float:
        """Return when a silent holder's lease will have run out, if it stays silent (infinity: none to wait for)."""
        moves = [self._next_move(row) for row in self._rows if row.holder not in (None, self.me)]
        ends = [move.until for move in moves if isinstance(move, Wait)]
        ripe = [at for slot in self._free_since if (at := self._ripe_at(slot)) > self._asked_at]
        return min(ends + ripe, default=float("inf"))

    def next_deadline(self) -> float:
        """Return when, at the earliest, `overdue` or `doomed` will have something to say."""
        overdue = self.confirmed_at + self._settings.renew_deadline if self.confirmed_at > NEVER else float("inf")
        return min([overdue, *(tenure.stop_by for tenure in self._tenures.values() if tenure.lost)])

    # --- what is so ---

    @property
    def share(self) -> int:
        """How many slots this member may hold."""
        holders = [row.holder for row in self._rows]
        return due_share(self._slots, [holders.count(other) for other in self._others])

    @property
    def settled(self) -> bool:
        """Nothing runs here for any slot, and no row names us."""
        return not self._tenures and not self._ours_on_paper()

    @property
    def unstopped(self) -> list[int]:
        """Slots whose work may still be going on here."""
        return sorted(self._tenures)

    def fences(self) -> dict[int, Fence]:
        """Return the fences under which this member acts while its chain of renewals holds."""
        return {slot: tenure.fence for slot, tenure in self._tenures.items() if tenure.acts}

    # --- inside ---

    def _acting(self) -> list[_Tenure]:
        return [tenure for tenure in self._tenures.values() if tenure.acts]

    def _ours_on_paper(self) -> list[int]:
        return [slot for slot, row in enumerate(self._rows) if row.holder == self.me]

    def _claimable(self) -> list[int]:
        others = [(slot, row) for slot, row in enumerate(self._rows) if row.holder != self.me]
        return [slot for slot, row in others if slot not in self._tenures and isinstance(self._next_move(row), Claim)]

    def _unwanted(self) -> list[int]:
        """Name slots that nobody took in time, to be taken beyond our share: a member that lives but cannot claim,
        or has watched a silent holder for too short a time, leaves none unserved.
        """
        unwanted = [slot for slot in self._free_since if self._asked_at >= self._ripe_at(slot)]
        if any(self._rows[slot].holder is None for slot in unwanted):
            self._content_until = self._asked_at + CONTENT_DURATIONS * self._settings.duration
        return unwanted

    def _ripe_at(self, slot: int) -> float:
        """Return when a free slot has waited long enough: a released one a whole lease, a dead holder's a moment."""
        silent = self._rows[slot].holder is not None
        return self._free_since[slot] + (SILENT_PATIENCE if silent else 1.0) * self._settings.duration

    def _next_move(self, row: SlotRow) -> Move:
        seen = _Seen(version=None, seen_at=self.confirmed_at, duration=0.0)
        if row.holder is not None and row.holder != self.me:
            seen = self._seen[row.holder]
        slot = Slot(holder=row.holder, epoch=row.epoch, seen_at=seen.seen_at, duration=seen.duration)
        return next_move(slot, self.me, self._asked_at, self._settings.renew_deadline)

    def _see(self, records: Mapping[MemberId, MemberRecord], now: float) -> None:
        """Time what changed. A holder without a record is one whose record did not change: it is waited out."""
        holders = {row.holder for row in self._rows if row.holder is not None}
        before, self._seen = self._seen, {}
        for member in holders | records.keys():
            record, known = records.get(member), before.get(member)
            if record is not None and (known is None or known.version != record.version):
                known = _Seen(version=record.version, seen_at=now, duration=record.duration)
            self._seen[member] = known or _Seen(version=None, seen_at=now, duration=self._settings.duration)
        others = [record for member, record in records.items() if member != self.me and not record.leaving]
        self._others = [other.member for other in others
                        if self._asked_at - self._seen[other.member].seen_at < other.duration]  # fmt: skip
        self._free_since = {slot: self._free_since.get(slot, self._asked_at) for slot in self._claimable()}

    def _swap(self, slot: int, holder: MemberId | None) -> Swap:
        row = self._rows[slot]
        new = SlotRow(holder=holder, epoch=row.epoch + (holder is not None))
        return Swap(realm=self._realm, slot=slot, expected=row, new=new, chain=self.chain)

    def _lose(self, tenure: _Tenure, reason: str, stop_by: float) -> Lost:
        tenure.lost, tenure.stop_by = True, stop_by
        return Lost(tenure.fence.slot, reason, tenure.fence)

    def _surrender(self, tenure: _Tenure) -> Surrender:
        tenure.surrendering = True
        return Surrender(tenure.fence.slot, tenure.fence)


def _taken(slot: int, row: SlotRow) -> str:
    if row.holder is None:
        return f"slot {slot} was freed by somebody else at epoch {row.epoch}"
    return f"slot {slot} was taken by {row.holder} at epoch {row.epoch}"
