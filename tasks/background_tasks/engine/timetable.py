"""When is the next record due? One heap for all, hot to change: no record costs another a move.

Not here: clocks, timers, plans. Instants are seconds of any one clock that does not step.

An entry of the heap is not a tuple (when, sequence, record) but one integer, `grains << INDEX_BITS | index`: 32 bytes
instead of 130, nothing for the garbage collector to visit, and comparisons that never enter Python. The index finds the
record and orders records of one instant, always in the same order. An entry that is no longer its record's key is
garbage; it is skipped when it surfaces and swept when there is as much garbage as truth.
"""

import heapq
from collections.abc import Iterator
from math import ceil
from typing import Protocol

GRAINS_PER_S = 1 << 14
"""61 µs per grain. Instants are rounded up: a record may be due that much too late, never too early."""
INDEX_BITS = 20
"""Room for 1,048,576 records. 40 bits of grains then fit a two-digit integer for two years after `origin`; later
entries are longer, not wrong."""
SWEEP_FROM = 1024
"""Less garbage than this is not worth a sweep."""
_INDEX = (1 << INDEX_BITS) - 1


class Filed(Protocol):
    """What can be filed: `key` belongs to the timetable."""

    key: int


class Timetable[R: Filed]:
    """Records by the instant at which they are due. A record has at most one instant."""

    __slots__ = ("_free", "_heap", "_origin", "_records", "armed", "garbage")

    def __init__(self, origin: float) -> None:
        self._origin = origin - 1 / GRAINS_PER_S  # so that no filed key is a mere index
        self._heap: list[int] = []
        self._records: list[R | None] = []
        self._free: list[int] = []
        self.armed = 0
        """So many records have an instant."""
        self.garbage = 0
        """So many entries of the heap mean nothing any more."""

    def __len__(self) -> int:
        return len(self._records) - len(self._free)

    def __iter__(self) -> Iterator[R]:
        return (record for record in list(self._records) if record is not None)

    def enter(self, record: R) -> None:
        """Give the record its place; it is not due until `file`."""
        if self._free:
            index = heapq.heappop(self._free)
            self._records[index] = record
        else:
            index = len(self._records)
            if index > _INDEX:
                raise OverflowError(f"a timetable holds at most {_INDEX + 1:,} records")
            self._records.append(record)
        record.key = index

    def leave(self, record: R) -> None:
        """Forget the record and its instant."""
        self.unfile(record)
        self._records[record.key] = None
        heapq.heappush(self._free, record.key)

    def file(self, record: R, when: float) -> None:
        """Make the record due at `when`, in place of any earlier instant."""
        key = record.key
        if key > _INDEX:
            self.garbage += 1
        else:
            self.armed += 1
        grains = ceil((when - self._origin) * GRAINS_PER_S)
        record.key = key = (max(grains, 1) << INDEX_BITS) | (key & _INDEX)
        heapq.heappush(self._heap, key)

    def unfile(self, record: R) -> None:
        """Make the record due at no time; one that is not filed stays so."""
        if record.key > _INDEX:
            record.key &= _INDEX
            self.armed -= 1
            self.garbage += 1

    def is_filed(self, record: R) -> bool:
        """Say whether the record has an instant."""
        return record.key > _INDEX

    def when(self, record: R) -> float | None:
        """Return the instant at which the record is due, rounded up to a grain, or None."""
        grains = record.key >> INDEX_BITS
        return self._origin + grains / GRAINS_PER_S if grains else None

    def pop_due(self, now: float) -> R | None:
        """Take out one record that is due, the longest due first; None when there is none."""
        heap = self._heap
        limit = (int((now - self._origin) * GRAINS_PER_S) << INDEX_BITS) | _INDEX
        while heap and heap[0] <= limit:
            key = heapq.heappop(heap)
            record = self._records[key & _INDEX]
            if record is not None and record.key == key:
                record.key = key & _INDEX
                self.armed -= 1
                return record
            self.garbage -= 1
        return None

    def next_when(self) -> float | None:
        """Return the earliest instant at which a record is due, or None."""
        heap = self._heap
        while heap:
            record = self._records[heap[0] & _INDEX]
            if record is not None and record.key == heap[0]:
                return self._origin + (heap[0] >> INDEX_BITS) / GRAINS_PER_S
            heapq.heappop(heap)
            self.garbage -= 1
        return None

    def sweep(self) -> bool:
        """Drop the garbage when there is more of it than of truth; say whether that was needed."""
        if self.garbage <= max(self.armed, SWEEP_FROM):
            return False
        self._heap = [record.key for record in self._records if record is not None and record.key > _INDEX]
        heapq.heapify(self._heap)
        self.garbage = 0
        return True
