"""Who may act for a slot: decisions about records, and nothing about how they are stored.

Not here: clocks, retries, fencing. A claim's epoch is the fence token; whoever takes the effect must check it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xxhash import xxh64_intdigest

from background_tasks.domain.model import MemberId, TaskUid

_HASH_RANGE = 2**64


def _hash(text: str) -> int:
    return xxh64_intdigest(text.encode(errors="surrogatepass"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One row of the slot table, as this member has seen it."""

    holder: MemberId | None
    epoch: int
    seen_at: float
    """Our clock, seconds: the holder's lease last changed before our eyes. Our own: just before our renewal left."""
    duration: float
    """Seconds that the holder recorded; our settings do not count here."""


@dataclass(frozen=True, slots=True)
class Keep:
    """The slot is ours and stays so."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Nobody may act for the slot: take it at this epoch, by one compare-and-set."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Wait:
    """The holder may be alive until then (our clock), unless its lease changes."""

    until: float


@dataclass(frozen=True, slots=True)
class StandDown:
    """The slot is ours on paper, but holding can no longer be shown: stop acting."""

    reason: str


type Move = Keep | Claim | Wait | StandDown


def next_move(slot: Slot, me: MemberId, now: float, renew_deadline: float) -> Move:
    """Choose what a member does next about one slot. All times are seconds of our own clock."""
    age = now - slot.seen_at
    if slot.holder == me:
        return Keep() if age < renew_deadline else StandDown("renewal overdue")
    if slot.holder is None or age >= slot.duration:
        return Claim(epoch=slot.epoch + 1)
    return Wait(until=slot.seen_at + slot.duration)


def slot_of(group: str | None, uid: TaskUid, slots: int) -> int:
    """Return the slot of a task: tasks of one group share a slot, others go by their own UID. Stable for ever.

    The two kinds are hashed apart, so that a group named like some UID does not follow that task.
    """
    key = f"uid/{uid}" if group is None else f"group/{group}"
    return _hash(key) % slots


def fair_share(slots: int, live: int) -> int:
    """Return how many slots a member holds at the most while `live` members (itself included) are alive."""
    return -(-slots // max(1, live))


def due_share(slots: int, others: Sequence[int]) -> int:
    """Return how many slots a member may hold now, given how many each other live member holds.

    The fair share, or one less while somebody lacks even the rounded-down one: so 16 slots over 5 members end as
    4, 3, 3, 3, 3 and not as 4, 4, 4, 4, 0.
    """
    least = slots // (1 + len(others))
    return least if any(held < least for held in others) else fair_share(slots, 1 + len(others))


def by_preference(member: MemberId, slots: Iterable[int]) -> list[int]:
    """Order slots by how much this member wants them (rendezvous hashing).

    Each member has an order of its own that never changes: two members seldom reach for the same free slot, and a
    slot tends to come back to where it was.
    """
    return sorted(slots, key=lambda slot: _hash(f"{member}/{slot}"))


def slots_to_claim(member: MemberId, free: Iterable[int], *, held: int, share: int) -> list[int]:
    """Name the free slots that a member reaches for, dearest first: none beyond its share."""
    return by_preference(member, free)[: max(0, share - held)]


def slot_to_give_back(
    member: MemberId, holding: Sequence[int], *, share: int, free: int, giving_back: int
) -> int | None:
    """Name the slot that a member above its share gives back next, the least dear one, or None.

    One at a time, and none while a slot lies free: what nobody takes must not become more, and a member that only
    seems alive must not empty the others.
    """
    if len(holding) <= share or free or giving_back:
        return None
    return by_preference(member, holding)[-1]


def stagger(member: MemberId, within: float) -> float:
    """Return a stable offset in [0, within) seconds, so that members started together do not write together."""
    return within * (_hash(f"stagger/{member}") / _HASH_RANGE)
