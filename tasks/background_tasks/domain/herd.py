"""Many tasks due at one instant: how many start before the loop gets air.

Not here: their order (the timetable keeps it) and the yielding.
"""

from collections.abc import Iterator, Sequence

CHUNK = 500
"""Starts between two yields of the loop: at about 20 microseconds each the loop answers within some 10 ms."""


def chunks[T](due: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """Cut what is due into pieces of at most `size`, in order."""
    for start in range(0, len(due), size):
        yield due[start : start + size]
