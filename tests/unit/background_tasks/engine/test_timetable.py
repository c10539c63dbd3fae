"""The timetable: what is due comes out, the longest due first; what was moved never comes at its old time."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from background_tasks.engine.timetable import GRAINS_PER_S, SWEEP_FROM, Timetable


@dataclass(slots=True, eq=False)
class Entry:
    """Something to file."""

    name: int
    key: int = 0


def table(count: int) -> tuple[Timetable[Entry], list[Entry]]:
    """Give a timetable with so many entries, none of them filed."""
    timetable: Timetable[Entry] = Timetable(origin=100.0)
    entries = [Entry(number) for number in range(count)]
    for entry in entries:
        timetable.enter(entry)
    return timetable, entries


def drained(timetable: Timetable[Entry], now: float) -> list[int]:
    """Take out all that is due."""
    names = []
    while (entry := timetable.pop_due(now)) is not None:
        names.append(entry.name)
    return names


def test_the_longest_due_comes_first() -> None:
    """Entries come out by their instants, not before, and each once."""
    timetable, entries = table(3)
    for entry, when in zip(entries, (130.0, 110.0, 120.0), strict=True):
        timetable.file(entry, when)
    assert (drained(timetable, 109.9), drained(timetable, 120.0), drained(timetable, 200.0)) == ([], [1, 2], [0])


def test_order_at_one_instant_is_the_order_of_entry() -> None:
    """Entries due at one instant come out in the same order each time, however they were filed."""
    timetable, entries = table(5)
    for entry in reversed(entries):
        timetable.file(entry, 150.0)
    assert drained(timetable, 150.0) == [0, 1, 2, 3, 4]


def test_an_entry_that_is_filed_again_forgets_its_earlier_instant() -> None:
    """Later or sooner: the last instant counts."""
    timetable, (first, second) = table(2)
    for entry, when in ((first, 110.0), (second, 190.0), (first, 150.0), (second, 120.0)):
        timetable.file(entry, when)
    assert (drained(timetable, 149.0), timetable.next_when(), timetable.armed) == ([1], 150.0, 1)


def test_what_left_is_not_due_and_its_place_is_used_again() -> None:
    """An entry that took the place of another is not due at that one's instant."""
    timetable, (first, second) = table(2)
    timetable.file(first, 110.0)
    timetable.file(second, 115.0)
    timetable.leave(first)
    heir = Entry(7)
    timetable.enter(heir)
    timetable.file(heir, 130.0)
    assert (len(timetable), drained(timetable, 120.0), drained(timetable, 130.0)) == (2, [1], [7])


@pytest.mark.parametrize("when", [100.0, 100.1, 101 / 3 + 100, 1e6 + 0.7])
def test_nothing_is_due_too_early_nor_a_grain_too_late(when: float) -> None:
    """An instant is rounded up by less than a grain."""
    timetable, (entry,) = table(1)
    timetable.file(entry, when)
    rounded = timetable.when(entry)
    assert rounded is not None
    assert 0 <= rounded - when < 1 / GRAINS_PER_S


def test_garbage_is_swept_before_it_outweighs_what_counts() -> None:
    """However often an entry is moved, the heap stays small."""
    timetable, (entry,) = table(1)
    for move in range(5000):
        timetable.file(entry, 200.0 + move)
        timetable.sweep()
    assert timetable.garbage <= SWEEP_FROM
    assert (drained(timetable, 5198.0), drained(timetable, 5199.0)) == ([], [0])


@given(
    st.lists(st.tuples(st.integers(0, 7), st.one_of(st.none(), st.integers(0, 40))), max_size=60), st.integers(0, 40)
)
def test_any_history_of_moves_ends_like_a_sorted_list(moves: list[tuple[int, int | None]], now: int) -> None:
    """Filing, moving and taking out agree with a dictionary that is sorted by (instant, entry)."""
    timetable, entries = table(8)
    oracle: dict[int, int] = {}
    for name, when in moves:
        if when is None:
            timetable.unfile(entries[name])
            oracle.pop(name, None)
        else:
            timetable.file(entries[name], 100.0 + when)
            oracle[name] = when
    assert timetable.armed == len(oracle)
    due = sorted((when, name) for name, when in oracle.items() if when <= now)
    assert drained(timetable, 100.0 + now) == [name for _, name in due]
