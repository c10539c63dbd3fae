"""Who may act for a slot: the rules, read aloud."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from background_tasks.domain.model import MemberId, TaskUid
from background_tasks.domain.slots import (
    Claim,
    Keep,
    Move,
    Slot,
    StandDown,
    Wait,
    by_preference,
    due_share,
    fair_share,
    next_move,
    slot_of,
    slot_to_give_back,
    slots_to_claim,
    stagger,
)

ME, OTHER = MemberId("me"), MemberId("other")


@pytest.mark.parametrize(
    ("holder", "age", "move"),
    [
        pytest.param(None, 0, Claim(epoch=8), id="a free slot is claimed at the next epoch"),
        pytest.param(OTHER, 11, Wait(until=12), id="a fresh holder is respected"),
        pytest.param(OTHER, 12, Claim(epoch=8), id="a silent holder is replaced"),
        pytest.param(ME, 7, Keep(), id="our own slot is kept"),
        pytest.param(ME, 8, StandDown("renewal overdue"), id="an overdue holder stands down before it can be replaced"),
    ],
)
def test_next_move(holder: MemberId | None, age: float, move: Move) -> None:
    """A member believes only changes that it saw, timed by its own clock."""
    slot = Slot(holder=holder, epoch=7, seen_at=0, duration=12)
    assert next_move(slot, ME, now=age, renew_deadline=8) == move


@pytest.mark.parametrize(
    ("slots", "live", "share"),
    [
        pytest.param(16, 1, 16, id="alone, a member holds all"),
        pytest.param(16, 3, 6, id="what does not divide is rounded up, so that no slot is left over"),
        pytest.param(1, 3, 1, id="one slot among three is the classic single leader"),
        pytest.param(16, 0, 16, id="nobody counted means that only the asker lives"),
    ],
)
def test_fair_share(slots: int, live: int, share: int) -> None:
    """The shares of the live members cover all slots."""
    assert fair_share(slots, live) == share


@pytest.mark.parametrize(
    ("others", "share"),
    [
        pytest.param([], 16, id="alone, all"),
        pytest.param([0, 0], 5, id="nobody takes the odd one while others have less"),
        pytest.param([5, 5], 6, id="the odd one goes to whoever is first"),
        pytest.param([4, 4, 4, 0], 3, id="a newcomer gets its part even where the fair share asks nobody to give"),
        pytest.param([0] * 20, 1, id="more members than slots hold one each"),
    ],
)
def test_due_share(others: list[int], share: int) -> None:
    """What a member may hold follows from what the others hold."""
    assert due_share(16, others) == share


@given(st.lists(st.text(min_size=1), min_size=1, max_size=50, unique=True), st.integers(1, 64))
def test_a_task_has_one_slot_for_ever(uids: list[str], slots: int) -> None:
    """The slot depends on the task alone, lies in the table, and a group overrules the UID."""
    places = [slot_of(None, TaskUid(uid), slots) for uid in uids]
    assert places == [slot_of(None, TaskUid(uid), slots) for uid in uids]
    assert all(0 <= place < slots for place in places)
    assert len({slot_of("shared", TaskUid(uid), slots) for uid in uids}) == 1


def test_tasks_spread_over_the_slots() -> None:
    """10,000 tasks fill 16 slots within 20 % of the mean."""
    counts = [0] * 16
    for number in range(10_000):
        counts[slot_of(None, TaskUid(f"uid-{number}"), 16)] += 1
    assert max(abs(count - 625) for count in counts) < 125


def test_known_tasks_keep_their_known_slots() -> None:
    """The hash is part of the protocol: members of two releases must agree."""
    places = [slot_of(None, TaskUid("a"), 16), slot_of("a", TaskUid("b"), 16), slot_of(None, TaskUid("c"), 16)]
    assert places == [15, 3, 5]


def test_a_member_claims_up_to_its_share_in_its_own_order() -> None:
    """The dearest free slots come first, and no more than the share leaves room for."""
    dearest = by_preference(ME, range(16))
    assert slots_to_claim(ME, range(16), held=2, share=6) == dearest[:4]
    assert slots_to_claim(ME, range(16), held=7, share=6) == []


def test_members_reach_for_different_slots() -> None:
    """Orders differ, so that two members seldom meet at one slot."""
    assert by_preference(ME, range(16)) != by_preference(OTHER, range(16))


@pytest.mark.parametrize(
    ("holding", "free", "giving_back", "gives"),
    [
        pytest.param(7, 0, 0, True, id="above its share a member gives the least dear one"),
        pytest.param(6, 0, 0, False, id="at its share it gives nothing"),
        pytest.param(7, 1, 0, False, id="while a slot lies free no other one is given"),
        pytest.param(7, 0, 1, False, id="one at a time"),
    ],
)
def test_giving_back(holding: int, free: int, giving_back: int, gives: bool) -> None:
    """Slots move one at a time, and only when somebody takes them."""
    mine = list(range(holding))
    given_back = slot_to_give_back(ME, mine, share=6, free=free, giving_back=giving_back)
    assert given_back == (by_preference(ME, mine)[-1] if gives else None)


@given(st.text(min_size=1), st.floats(0.01, 100))
def test_stagger_is_stable_and_within_bounds(member: str, within: float) -> None:
    """The offset of a member never changes and stays below its bound."""
    offset = stagger(MemberId(member), within)
    assert offset == stagger(MemberId(member), within)
    assert 0 <= offset <= within
