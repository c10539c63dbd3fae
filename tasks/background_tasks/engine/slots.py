"""Which slots this worker acts for right now, as far as starting runs goes.

Not here: leases and claims (`membership`). A slot is open between `gained` and `surrender` or `lost`; a run of an open
slot still needs the fence that the holdings give at that very moment.
"""

from enum import Enum
from typing import Final, Literal

from background_tasks.domain.model import Fence
from background_tasks.engine.records import NO_SLOT
from background_tasks.ports import Clock, Holdings


class _NotOurs(Enum):
    NOT_OURS = 0


NOT_OURS: Final = _NotOurs.NOT_OURS
"""Nothing may be started."""
type Answer = Fence | Literal[_NotOurs.NOT_OURS] | None


class Slots:
    """Open slots by number. Without holdings all slots are ours, without a fence."""

    def __init__(self, holdings: Holdings | None, clock: Clock) -> None:
        self._holdings = holdings
        self._clock = clock
        self._open: dict[int, Fence] = {}
        self._realm = ""
        self._closed_at: float | None = None
        self.renewed_at: float | None = None
        """Wall instant at which an earlier realm ended here; what the ledger lacks since then it may have lost."""

    @property
    def open(self) -> tuple[int, ...]:
        """The numbers of the open slots."""
        return tuple(self._open)

    def gain(self, slot: int, fence: Fence) -> None:
        """Open a slot."""
        if self._realm and fence.realm != self._realm:
            self.renewed_at = self._clock.wall() if self._closed_at is None else self._closed_at
        self._realm = fence.realm
        self._open[slot] = fence

    def close(self, slot: int) -> None:
        """Start nothing more for a slot."""
        if self._open.pop(slot, None) is not None:
            self._closed_at = self._clock.wall()

    def is_open(self, slot: int) -> bool:
        """Say whether tasks of this slot may be armed here."""
        return slot == NO_SLOT or self._holdings is None or slot in self._open

    def fence(self, slot: int) -> Fence | None:
        """Return the fence under which the slot was gained."""
        return self._open.get(slot)

    def right(self, slot: int) -> Answer:
        """Return what a run that starts now acts under. Asked at every start, of the member's own clock."""
        if slot == NO_SLOT or self._holdings is None:
            return None
        gained = self._open.get(slot)
        if gained is None:
            return NOT_OURS
        fence = self._holdings.fence(slot)
        return fence if fence is not None and fence == gained else NOT_OURS
