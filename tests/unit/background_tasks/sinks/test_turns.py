"""Whose status is written next: changes first, nobody for ever last, never more than the budget but when hurried."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from background_tasks.domain.model import TaskUid
from background_tasks.sinks.turns import Rank, Turns

A, B, C = TaskUid("a"), TaskUid("b"), TaskUid("c")


@pytest.fixture
def taken() -> Callable[..., list[TaskUid]]:
    """Give a way to take all that may be taken at one instant."""

    def take(turns: Turns, now: float) -> list[TaskUid]:
        found = []
        while (uid := turns.take(now)) is not None:
            found.append(uid)
        return found

    return take


def test_changes_come_before_rare_runs_and_those_before_frequent_ones(taken: Callable[..., list[TaskUid]]) -> None:
    """Whoever came first within a rank comes first."""
    turns = Turns(burst=3)
    turns.put(A, Rank.SHORT, 0)
    turns.put(B, Rank.LONG, 0)
    turns.put(C, Rank.CHANGED, 0)
    assert taken(turns, 1) == [C, B, A]


def test_a_quiet_worker_has_a_burst_and_then_its_rate(taken: Callable[..., list[TaskUid]]) -> None:
    """Five a second, whatever waits."""
    turns = Turns(writes_per_s=5, burst=10)
    for number in range(100):
        turns.put(TaskUid(str(number)), Rank.LONG, 0)
    assert [len(taken(turns, now)) for now in (0, 0.1, 1.0, 2.0)] == [10, 0, 5, 5]
    assert turns.wait(2.0) == pytest.approx(0.2, abs=0.002)


def test_nothing_is_written_before_it_is_due(taken: Callable[..., list[TaskUid]]) -> None:
    """And the writer may sleep until then."""
    turns = Turns()
    turns.put(A, Rank.SHORT, 30)
    assert (taken(turns, 29), turns.wait(29), taken(turns, 30), turns.wait(30)) == ([], 1, [A], None)


def test_one_that_waits_already_goes_no_later_than_before(taken: Callable[..., list[TaskUid]]) -> None:
    """It is written once; a change pulls it forward, a further run does not push it back."""
    turns = Turns()
    turns.put(A, Rank.SHORT, 30)
    turns.put(A, Rank.CHANGED, 5)
    turns.put(A, Rank.SHORT, 60)
    assert (taken(turns, 4), taken(turns, 5), taken(turns, 99)) == ([], [A], [])


def test_what_was_dropped_is_not_written(taken: Callable[..., list[TaskUid]]) -> None:
    """Its place is nobody's; it may come anew."""
    turns = Turns()
    turns.put(A, Rank.LONG, 0)
    turns.drop(A)
    assert (taken(turns, 1), turns.wait(1)) == ([], None)
    turns.put(A, Rank.LONG, 2)
    assert taken(turns, 2) == [A]


def test_the_hurried_ask_for_no_budget_and_the_others_make_up_for_it(taken: Callable[..., list[TaskUid]]) -> None:
    """A slot that moves is written at once; what it cost is bounded, so that statuses do not stand still for long."""
    turns = Turns(writes_per_s=5, burst=10)
    for number in range(500):
        turns.put(TaskUid(str(number)), Rank.HURRIED, float("-inf"))
    turns.put(A, Rank.CHANGED, 0)
    assert len(taken(turns, 0)) == 500
    assert (taken(turns, 2.1), taken(turns, 2.3)) == ([], [A])


def test_every_fourth_turn_is_for_whoever_waited_longest() -> None:
    """Changes that never end starve nobody."""
    turns = Turns(burst=1000)
    turns.put(A, Rank.SHORT, 0)
    order = []
    for number in range(8):
        turns.put(TaskUid(f"c{number}"), Rank.CHANGED, 1)
        order.append(turns.take(2))
    assert order.index(A) == 3


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from(Rank), st.floats(0, 20), st.booleans()),
        max_size=40,
    )
)
def test_whoever_waits_is_written_once(steps: list[tuple[str, Rank, float, bool]]) -> None:
    """In whatever order turns are put and dropped: `wait` leads from one to the next, and none is left."""
    turns, waiting, now = Turns(burst=3), set(), 0.0
    for name, rank, due, dropped in steps:
        turns.put(TaskUid(name), rank, due)
        waiting.add(name)
        if dropped:
            turns.drop(TaskUid(name))
            waiting.discard(name)
    written = []
    while (pause := turns.wait(now)) is not None:
        now += pause + 1e-6
        if (uid := turns.take(now)) is not None:
            written.append(uid)
    assert sorted(written) == sorted(waiting)
    assert (len(turns), now < 40) == (0, True)
