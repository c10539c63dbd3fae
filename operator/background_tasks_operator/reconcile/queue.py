"""A queue of keys: each has one hand at a time, many wishes for it become one, failures wait longer and longer.

Not here: what handling a key means. A key tells *what* to look at, never what happened to it: a lost or doubled wish
does no harm.
"""

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass

import structlog

from background_tasks.errors import BackgroundTaskError
from background_tasks.ports import Clock

HANDS = 16
"""Keys handled at one time: so many requests of ours are under way at an API server, at the most."""
NOW = 0.0
NEARLY_S = 0.001
"""A loop's timers may end so much too early; waiting for the rest would spin."""

log = structlog.get_logger("background_tasks.operator.queue")


@dataclass(frozen=True, slots=True)
class Again:
    """The key is to be handled again after so many seconds; nothing failed."""

    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long a key waits after failures in a row; seconds."""

    initial: float = 0.5
    factor: float = 2.0
    most: float = 60.0
    """A cluster that is well again is noticed within a minute, however long it was not."""

    def delay(self, failures: int, draw: float) -> float:
        """Return the wait after the n-th failure in a row: between half and the whole of what the count allows."""
        whole = self.initial
        for _ in range(failures - 1):
            whole = min(self.most, whole * self.factor)
            if whole == self.most:
                break
        return whole * (0.5 + 0.5 * draw)


class Pace:
    """So many things a second, after a burst: each asks how long to wait before it is done. Seconds, no steps."""

    def __init__(self, *, rate: float, burst: int, now: Callable[[], float]) -> None:
        self._gap = 1.0 / rate
        self._slack = burst * self._gap
        self._now = now
        self._next = now() - self._slack

    def take(self) -> float:
        """Take one's turn; return how long to wait for it."""
        now = self._now()
        self._next = max(self._next + self._gap, now - self._slack + self._gap)
        return max(0.0, self._next - now)


class WorkQueue[K: Hashable]:
    """Handles keys until cancelled. `add` may be called before `run`, but only on the loop that runs it."""

    def __init__(
        self,
        handle: Callable[[K], Awaitable[Again | None]],
        *,
        clock: Clock,
        hands: int = HANDS,
        backoff: Backoff | None = None,
        pace: Pace | None = None,
        rank: Callable[[K], int] = lambda key: 0,
        handled: Callable[[K, float, Exception | None], None] = lambda key, seconds, error: None,
    ) -> None:
        self._handle = handle
        self._clock = clock
        self._hands = hands
        self._backoff = backoff or Backoff()
        self._pace = pace
        self._rank = rank
        """Of the keys that are due, those of the lowest rank come first."""
        self._handled = handled
        self._due: dict[K, float] = {}
        """Every key that waits, and from when on it may be handled."""
        self._heap: list[tuple[float, int, K]] = []
        """The same in order; an entry that `_due` does not confirm is stale."""
        self._ready: list[tuple[int, int, float, K]] = []
        """Those whose time has come, by rank; the same holds for stale entries."""
        self._entries = 0
        self._busy: set[K] = set()
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """Keys that wait or are being handled."""
        return len(self._due) + len(self._busy - self._due.keys())

    @property
    def failing(self) -> int:
        """Keys whose last handling failed."""
        return len(self._failures)

    def add(self, key: K, after: float = NOW) -> None:
        """Wish that a key is handled, in `after` seconds at the latest; one that is being handled is handled again."""
        due = self._clock.monotonic() + after
        if self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        self._entries += 1
        heapq.heappush(self._heap, (due, self._entries, key))
        self._changed.set()

    async def run(self) -> None:
        """Handle keys for ever. When cancelled, what is under way is cancelled too."""
        free = asyncio.Semaphore(self._hands)
        async with asyncio.TaskGroup() as group:
            while True:
                await free.acquire()
                key = await self._take()
                if self._pace is not None and (wait := self._pace.take()) > 0:
                    await asyncio.sleep(wait)
                group.create_task(self._work(key, free), name=f"reconcile {key}")

    async def _take(self) -> K:
        """Wait for a key that is due and in nobody's hands."""
        while True:
            self._changed.clear()
            wait = self._sort_out()
            while self._ready:
                _, _, due, key = heapq.heappop(self._ready)
                if self._is_free(key, due):
                    del self._due[key]
                    self._busy.add(key)
                    return key
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _sort_out(self) -> float | None:
        """Move what is due to the ready ones, drop what is stale, and return how long until the next is due."""
        now = self._clock.monotonic()
        while self._heap:
            due, entry, key = self._heap[0]
            if self._is_free(key, due):
                if due - now > NEARLY_S:
                    return due - now
                heapq.heappush(self._ready, (self._rank(key), entry, due, key))
            heapq.heappop(self._heap)
        return None

    def _is_free(self, key: K, due: float) -> bool:
        """Say whether an entry counts; a key in somebody's hands is filed again by `_settle`."""
        return self._due.get(key) == due and key not in self._busy

    async def _work(self, key: K, free: asyncio.Semaphore) -> None:
        begun = self._clock.monotonic()
        error: Exception | None = None
        again: Again | None = None
        try:
            again = await self._handle(key)
        except Exception as raised:  # noqa: BLE001  (one key must not take its neighbours down; it is told in _retry)
            error = raised
        finally:
            self._busy.discard(key)
            free.release()
        self._handled(key, self._clock.monotonic() - begun, error)
        self._settle(key)
        if error is not None:
            self.add(key, self._retry(key, error))
            return
        if self._failures.pop(key, 0):
            log.info("works again", key=str(key))
        if again is not None:
            self.add(key, again.after)

    def _settle(self, key: K) -> None:
        """File again what was wished for while the key was being handled."""
        if key in self._due:
            self._entries += 1
            heapq.heappush(self._heap, (self._due[key], self._entries, key))
            self._changed.set()

    def _retry(self, key: K, error: Exception) -> float:
        """Count the failure, tell it at the first and ever more rarely, and say when to try again."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = self._backoff.delay(failures, self._clock.draw())
        asked = getattr(error, "retry_after", None)
        delay = max(delay, asked) if isinstance(asked, int | float) else delay
        if failures & (failures - 1) == 0:  # 1, 2, 4, 8 …: an outage of an hour is a handful of lines
            told = None if isinstance(error, BackgroundTaskError) else error
            log.warning("will try again", key=str(key), error=str(error), in_s=round(delay, 1), exc_info=told)
        return delay
