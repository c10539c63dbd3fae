"""What a membership tells: its worker about slots, its observer about renewals."""

from dataclasses import dataclass
from typing import Protocol

from background_tasks.domain.model import Fence


@dataclass(frozen=True, slots=True)
class Gained:
    """The slot is ours: serve it under this fence."""

    slot: int
    fence: Fence


@dataclass(frozen=True, slots=True)
class Surrender:
    """Give the slot back: start nothing more, let runs end, then answer `stopped`. It stays ours until then."""

    slot: int
    fence: Fence | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """The slot is no longer surely ours: cancel its runs now, then answer `stopped`."""

    slot: int
    reason: str
    fence: Fence | None = None


type SlotEvent = Gained | Surrender | Lost


class LeaseObserver(Protocol):
    """The two methods of `ports.Observer` that a membership calls, from its own thread."""

    def slots_held(self, count: int) -> None:
        """So many slots are ours."""

    def lease_renewed(self, seconds: float, ok: bool) -> None:
        """A renewal took so long, and held or not."""
