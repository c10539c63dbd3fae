"""Log lines on their way from a source to the store: bounded, in order, and when full the least important one goes.

Not here: where lines come from or go to. One loop, one writer, one reader.
"""

import asyncio
from collections import deque

from background_tasks.services.log_sources import DEBUG, LogLine

LINE_OVERHEAD = 400
"""Bytes that a waiting line costs beside its text, about."""


class LineQueue:
    """At most `lines` lines and `size` bytes wait, counted roughly. Among equals the oldest is dropped first."""

    def __init__(self, lines: int, size: int) -> None:
        self._most_lines = lines
        self._most_size = size
        # One queue per syslog level; the number keeps the order among them.
        self._levels: tuple[deque[tuple[int, LogLine]], ...] = tuple(deque() for _ in range(DEBUG + 1))
        self._number = 0
        self._count = 0
        self._size = 0
        self._dropped = 0
        self._wanted = 1
        self._reached = asyncio.Event()
        self._room = asyncio.Event()
        self.closed = False

    def __len__(self) -> int:
        return self._count

    @property
    def is_full(self) -> bool:
        """Say whether one more line would push another out."""
        return self._count >= self._most_lines or self._size >= self._most_size

    def put(self, line: LogLine) -> None:
        """File a line; when full, drop the oldest of the least important ones, which may be this one."""
        self._number += 1
        self._levels[line.level].append((self._number, line))
        self._count += 1
        self._size += _size(line)
        while self._count > self._most_lines or (self._size > self._most_size and self._count > 1):
            self._dropped += 1
            self._pop(next(level for level in reversed(self._levels) if level))
        if self._count >= self._wanted:
            self._reached.set()

    async def put_when_room(self, line: LogLine) -> None:
        """File a line as soon as none must go for it."""
        while self.is_full:
            self._room.clear()
            await self._room.wait()
        self.put(line)

    def close(self) -> None:
        """Say that no line will come any more."""
        self.closed = True
        self._reached.set()

    async def take(self, most: int, size: int, *, gather_s: float, idle_s: float) -> list[LogLine]:
        """Return the oldest lines: at once when `most` wait, else those that came within `gather_s` of the call.

        Nothing after `idle_s` without a line, or when the queue is closed and empty. `size` bounds the bytes of one
        answer (one line is always given).
        """
        if await self._wait_for(1, idle_s):
            await self._wait_for(most, gather_s)
        taken: list[LogLine] = []
        taken_size = 0
        while self._count and len(taken) < most and taken_size < size:
            oldest = min((level for level in self._levels if level), key=lambda level: level[0][0])
            taken.append(self._pop(oldest))
            taken_size += _size(taken[-1])
        self._room.set()
        return taken

    def take_dropped(self) -> int:
        """Return how many lines were dropped since the last call."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    async def _wait_for(self, count: int, within_s: float) -> bool:
        self._wanted = count
        self._reached.clear()
        if self._count >= count or self.closed:
            return True
        try:
            async with asyncio.timeout(within_s):
                await self._reached.wait()
        except TimeoutError:
            return False
        return True

    def _pop(self, level: deque[tuple[int, LogLine]]) -> LogLine:
        _, line = level.popleft()
        self._count -= 1
        self._size -= _size(line)
        return line


def _size(line: LogLine) -> int:
    return len(line.message) + LINE_OVERHEAD
