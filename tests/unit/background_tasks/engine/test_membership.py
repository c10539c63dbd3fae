"""What one member of a pool does with what it saw: no thread, no store, no clock."""

from collections.abc import Mapping

import pytest

from background_tasks.domain.model import Fence, MemberId
from background_tasks.engine.lease_settings import LeaseSettings
from background_tasks.engine.roster import WAKE_GRACE_S, Roster
from background_tasks.engine.slot_events import Gained, Lost, SlotEvent, Surrender
from background_tasks.errors import InvalidSettings
from background_tasks.ports import MemberRecord, SlotRow, TableView

ME, OTHER = MemberId("me"), MemberId("other")
SETTINGS = LeaseSettings(duration=12, renew_deadline=8, retry_period=3)
FREE = SlotRow(holder=None, epoch=0)


def table(*rows: SlotRow, realm: str = "r") -> TableView:
    """A slot table."""
    return TableView(realm=realm, rows=rows)


def row(holder: MemberId | None, epoch: int = 7) -> SlotRow:
    """One of its rows."""
    return SlotRow(holder=holder, epoch=epoch)


def lease(member: MemberId, version: str = "1", *, leaving: bool = False) -> dict[MemberId, MemberRecord]:
    """One member's record, as the store shows it."""
    return {member: MemberRecord(member=member, version=version, duration=12, leaving=leaving)}


def look(member: Roster, view: TableView, records: Mapping[MemberId, MemberRecord], at: float) -> list[SlotEvent]:
    """Let a member read the store at one instant."""
    return member.observed(view, records, asked_at=at, now=at)


def claim(member: Roster, at: float) -> list[SlotEvent]:
    """Let all its compare-and-sets succeed."""
    return [event for swap in member.swaps(at) for event in member.swapped(swap, True, at)]


def holder_of(*slots: int, total: int = 1) -> Roster:
    """A member that holds these slots at epoch 1 since second 0."""
    member = Roster(ME, SETTINGS, total)
    member.renewed(0, 0)
    look(member, table(*(FREE if slot in slots else row(OTHER) for slot in range(total))), {}, 0)
    claim(member, 0)
    return member


def fence(epoch: int, slot: int = 0) -> Fence:
    """A fence of the test's realm."""
    return Fence(realm="r", slot=slot, epoch=epoch)


def test_a_free_slot_is_claimed_at_the_next_epoch() -> None:
    """A renewed member claims; the acknowledged claim is the fence."""
    member = Roster(ME, SETTINGS, 1)
    member.renewed(0, 0.1)
    look(member, table(row(None)), {}, 0.2)
    assert claim(member, 0.3) == [Gained(0, fence(8))]
    assert member.fences() == {0: fence(8)}


def test_without_a_renewal_nothing_is_claimed() -> None:
    """No lease, no slot: fail closed."""
    member = Roster(ME, SETTINGS, 1)
    look(member, table(FREE), {}, 0)
    assert member.swaps(0) == []


def test_a_holder_is_waited_out_from_when_its_lease_was_last_seen_to_change() -> None:
    """Unchanged for its recorded duration on our clock means gone; a change starts the wait again."""
    member = Roster(ME, SETTINGS, 1)
    look(member, table(row(OTHER)), lease(OTHER, "1"), 0)
    look(member, table(row(OTHER)), lease(OTHER, "2"), 5)
    member.renewed(16, 16)
    look(member, table(row(OTHER)), lease(OTHER, "2"), 16.9)
    assert (member.swaps(16.9), member.next_look()) == ([], 17)
    look(member, table(row(OTHER)), lease(OTHER, "2"), 17)
    assert claim(member, 17) == [Gained(0, fence(8))]


def test_a_missing_lease_of_a_holder_is_an_unchanged_one() -> None:
    """A store that let a record expire proves nothing: the holder is waited out all the same."""
    member = Roster(ME, SETTINGS, 1)
    look(member, table(row(OTHER)), {}, 0)
    member.renewed(11, 11)
    look(member, table(row(OTHER)), {}, 11.9)
    assert member.swaps(11.9) == []
    look(member, table(row(OTHER)), {}, 12)
    assert claim(member, 12) == [Gained(0, fence(8))]


def test_an_overdue_holder_loses_everything_and_must_stop_before_its_lease_ends() -> None:
    """At the renew deadline the slots are lost; at the lease's end the process is doomed unless they stopped."""
    member = holder_of(0)
    assert member.overdue(7.9) == []
    assert [(type(event), event.slot) for event in member.overdue(8)] == [(Lost, 0)]
    assert (member.fences(), member.doomed(11.9)) == ({}, None)
    assert "slot 0 did not stop" in (member.doomed(12) or "")
    member.stopped(0)
    assert member.doomed(12) is None


def test_who_wakes_long_after_its_lease_ended_gets_a_short_grace_to_stop() -> None:
    """Runs that obey their cancellation need not take the process with them."""
    member = holder_of(0)
    member.overdue(100)
    assert member.doomed(100 + WAKE_GRACE_S - 0.1) is None
    assert member.doomed(100 + WAKE_GRACE_S) is not None


def test_an_answer_that_is_read_too_late_does_not_mend_the_gap() -> None:
    """A renewal that left in time but was answered past the deadline finds the slots lost."""
    member = holder_of(0)
    assert [type(event) for event in member.renewed(7, 13)] == [Lost]
    assert member.fences() == {}


def test_a_claim_answered_across_a_gap_is_not_believed() -> None:
    """Somebody may have waited us out meanwhile: the row is claimed again, at a higher epoch."""
    member = Roster(ME, SETTINGS, 1)
    member.renewed(0, 0)
    look(member, table(FREE), {}, 0)
    (swap,) = member.swaps(0)
    member.renewed(20, 20)
    assert member.swapped(swap, True, 20) == []
    assert claim(member, 20) == [Gained(0, fence(2))]


def test_a_row_that_names_us_is_claimed_again_never_believed() -> None:
    """An unanswered claim may be ours; only an answered one at the next epoch proves that nobody was faster."""
    member = Roster(ME, SETTINGS, 1)
    member.renewed(0, 0)
    look(member, table(row(ME)), {}, 0)
    assert member.fences() == {}
    assert claim(member, 0) == [Gained(0, fence(8))]


def test_a_slot_that_the_table_gives_to_another_is_lost_at_once() -> None:
    """The reason names who took it, at which epoch."""
    member = holder_of(0)
    (event,) = look(member, table(row(OTHER, 9)), lease(OTHER), 1)
    assert event == Lost(0, "slot 0 was taken by other at epoch 9", fence(1))


def test_a_table_made_anew_ends_every_fence() -> None:
    """Epochs of two realms do not compare: what was held is lost, then claimed in the new realm."""
    member = holder_of(0)
    (event,) = look(member, table(row(ME, 1), realm="s"), lease(ME), 1)
    assert isinstance(event, Lost)
    assert member.swaps(1) == []
    member.stopped(0)
    assert claim(member, 1) == [Gained(0, Fence(realm="s", slot=0, epoch=2))]


def test_a_member_above_its_fair_share_gives_back_one_slot_at_a_time() -> None:
    """The next one follows only when somebody took the last one."""
    member = holder_of(0, 1, 2, 3, total=4)
    view = table(*(row(ME, 1) for _ in range(4)))
    look(member, view, lease(OTHER), 1)
    (event,) = member.give_back()
    assert isinstance(event, Surrender)
    assert (member.give_back(), len(member.fences())) == ([], 4)
    member.stopped(event.slot, event.fence)
    (swap,) = member.swaps(1)
    assert swap.new == SlotRow(holder=None, epoch=1)
    member.swapped(swap, True, 1)
    assert (member.give_back(), len(member.fences())) == ([], 3)


def test_a_slot_that_nobody_takes_for_a_whole_lease_is_taken_back() -> None:
    """A member that renews but cannot claim leaves no slot unserved; and is not offered one again for a while."""
    member = holder_of(0, total=2)
    for at in range(0, 13, 3):
        member.renewed(at, at)
        view = table(row(ME, 1), row(None, 1))
        look(member, view, lease(OTHER, str(at)), at)
        assert (member.share, member.swaps(at) != []) == (1, at == 12)
    assert claim(member, 12) == [Gained(1, fence(2, 1))]
    look(member, table(row(ME, 1), row(ME, 2)), lease(OTHER, "12"), 13)
    assert member.give_back() == []


def test_a_dead_holders_slots_do_not_wait_for_a_newcomer() -> None:
    """Whoever saw the silence to its end takes the slots beyond its share at once, and gives the newcomer its part.

    The newcomer began to watch later: its own wait would leave the slots unserved for so much longer.
    """
    member = holder_of(0, total=4)
    dead, newcomer = MemberId("dead"), OTHER
    rows: tuple[SlotRow, ...] = (row(ME, 1), row(dead), row(dead), row(newcomer))
    for at in (0, 3, 6, 9):
        member.renewed(at, at)
        look(member, table(*rows), lease(newcomer, str(at)) | lease(dead), at)
    look(member, table(*rows), lease(newcomer, "12") | lease(dead), 12)
    member.renewed(12, 12)
    (first,) = member.swaps(12)
    assert (member.share, member.next_look()) == (2, 12.3)
    claim(member, 12)
    rows = tuple(row(ME, 8) if slot == first.slot else was for slot, was in enumerate(rows))
    look(member, table(*rows), lease(newcomer, "12") | lease(dead), 12.3)
    assert len(claim(member, 12.3)) == 1
    look(member, table(row(ME, 1), row(ME, 8), row(ME, 8), row(newcomer)), lease(newcomer, "13"), 12.4)
    assert [type(event) for event in member.give_back()] == [Surrender]


def test_a_leaving_member_surrenders_all_and_counts_for_nobody() -> None:
    """The others may take its slots as they come free, beyond what their share was."""
    member = holder_of(0, 1, total=2)
    member.leaving = True
    assert [type(event) for event in member.give_back()] == [Surrender, Surrender]
    other = Roster(OTHER, SETTINGS, 2)
    look(other, table(row(ME), row(None)), lease(ME), 0)
    assert other.share == 1
    look(other, table(row(ME), row(None)), lease(ME, "2", leaving=True), 0)
    assert other.share == 2


def test_an_answer_about_an_older_claim_is_ignored() -> None:
    """A run that ended late must not give back the slot that was gained since."""
    member = holder_of(0)
    member.leaving = True
    member.give_back()
    member.stopped(0, fence(99))
    assert member.unstopped == [0]


def test_a_fence_that_the_ledger_refuses_is_lost_and_a_slot_that_is_ours_claimed_anew() -> None:
    """The table decides who acts: without a new claim nobody would serve the slot. An older refusal changes nothing."""
    member = holder_of(0)
    (lost,) = member.refused(fence(1), 1)
    assert (lost.slot, lost.fence, member.fences()) == (0, fence(1), {})
    assert (member.refused(fence(1), 1), member.swaps(1)) == ([], [])
    member.stopped(0, fence(1))
    assert claim(member, 1) == [Gained(0, fence(2))]
    assert member.refused(fence(1), 1) == []


def test_a_refused_fence_of_a_slot_that_is_another_s_by_now_is_not_claimed() -> None:
    """Whoever was replaced learns it from the ledger or from the table; the holder is left alone either way."""
    member = holder_of(0)
    member.refused(fence(1), 1)
    member.stopped(0, fence(1))
    look(member, table(row(OTHER, 2)), lease(OTHER), 1)
    assert (member.swaps(1), member.unstopped) == ([], [])


def test_faulty_timings_are_named_all_at_once() -> None:
    """Each fault comes with its value and its fix."""
    with pytest.raises(InvalidSettings, match=r"retry_period is 0 s.*renew_deadline is 0 s.*duration is 0 s"):
        LeaseSettings(duration=0, renew_deadline=0, retry_period=0)
