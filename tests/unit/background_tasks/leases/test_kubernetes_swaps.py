"""Swaps asked for together are written together, and each is answered; members of another size are waited out."""

import asyncio
from collections.abc import Sequence

import pytest

from background_tasks.domain.model import MemberId
from background_tasks.errors import Ambiguous, Unavailable
from background_tasks.leases.kubernetes_swaps import Swap, Swaps
from background_tasks.leases.kubernetes_waiting import Waiting
from background_tasks.ports import MemberRecord, SlotRow

A = MemberId("a")


def swap(slot: int) -> Swap:
    """A claim of one slot."""
    return Swap(realm="r", slot=slot, expected=SlotRow(holder=None, epoch=0), new=SlotRow(holder=A, epoch=1))


class Writer:
    """Notes which slots were written together; even ones are done."""

    def __init__(self) -> None:
        self.written: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.began = asyncio.Event()
        self.failure: Exception | None = None

    async def write(self, swaps: Sequence[Swap]) -> Sequence[bool]:
        """Write, once it is open."""
        self.written.append([one.slot for one in swaps])
        self.began.set()
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        return [one.slot % 2 == 0 for one in swaps]


async def test_who_asks_together_is_written_together_and_answered_apart() -> None:
    """One write, an answer for each."""
    writer = Writer()
    swaps = Swaps(writer.write, "table")
    assert await asyncio.gather(*(swaps.ask(swap(slot)) for slot in range(5))) == [True, False, True, False, True]
    assert writer.written == [[0, 1, 2, 3, 4]]


async def test_who_asks_during_a_write_comes_along_with_the_next() -> None:
    """All that waited, in one."""
    writer = Writer()
    writer.open.clear()
    swaps = Swaps(writer.write, "table")
    async with asyncio.TaskGroup() as group:
        first = group.create_task(swaps.ask(swap(0)))
        await writer.began.wait()
        rest = [group.create_task(swaps.ask(swap(slot))) for slot in (2, 4, 6)]
        await asyncio.sleep(0)
        writer.open.set()
    assert (writer.written, first.result(), [one.result() for one in rest]) == ([[0], [2, 4, 6]], True, [True] * 3)


@pytest.mark.parametrize("failure", [Unavailable("away"), Ambiguous("no answer")])
async def test_a_failure_is_everybodys(failure: Exception) -> None:
    """Nobody takes a write that failed for one that was refused; the next one is tried as ever."""
    writer = Writer()
    writer.failure = failure
    swaps = Swaps(writer.write, "table")
    assert await asyncio.gather(*(swaps.ask(swap(slot)) for slot in range(2)), return_exceptions=True) == [failure] * 2
    writer.failure = None
    assert await swaps.ask(swap(0))


async def test_who_comes_along_with_a_cancelled_write_learns_that_it_may_have_happened() -> None:
    """And whoever was cancelled while waiting is not written at all."""
    writer = Writer()
    writer.open.clear()
    swaps = Swaps(writer.write, "table")

    async def told(slot: int) -> str:
        try:
            return str(await swaps.ask(swap(slot)))
        except Ambiguous as error:
            return str(error)

    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(told(slot)) for slot in (0, 2)]
        await writer.began.wait()
        waiting = group.create_task(told(4))
        await asyncio.sleep(0)
        waiting.cancel()
        asked[0].cancel()
    assert asked[1].result() == "table: the write was given up; it may have happened"
    writer.open.set()
    assert (await swaps.ask(swap(6)), writer.written) == (True, [[0, 2], [6]])


def test_members_of_another_size_are_waited_out() -> None:
    """Each until its lease was seen unchanged for its duration; one without a lease for the duration that is given."""

    def record(version: str) -> dict[MemberId, MemberRecord]:
        return {A: MemberRecord(member=A, version=version, duration=12)}

    waiting, both = Waiting(), (A, MemberId("b"))
    looks = [
        waiting.alive(both, record("1"), 0, 8),
        waiting.alive(both, record("2"), 7, 8),
        waiting.alive(both, record("2"), 8, 8),
        waiting.alive(both, record("2"), 18, 8),
        waiting.alive(both, record("2"), 19, 8),
        waiting.alive(both, {}, 20, 8),
    ]
    assert looks == [["a", "b"], ["a", "b"], ["a"], ["a"], [], ["a"]]
    assert waiting.alive((), {}, 0, 8) == []
