"""Work that waits for an outside service: who comes next, and how long to leave a service alone that did not answer.

Not here: the calls themselves (`ledgering`, `publishing`, `loading`).
"""

import asyncio
from collections.abc import Collection, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext

from background_tasks.domain.model import TaskUid
from background_tasks.ports import Clock, Coalescing

FIRST_BACKOFF_S = 0.2
MAX_BACKOFF_S = 10.0
BUDGET_LOOK_S = 0.05
"""An empty budget is looked at this often at the most."""


class Backlog[K, V]:
    """Keyed work in order of arrival. A key that is put again keeps its place and gets the new value."""

    def __init__(self) -> None:
        self.waiting: dict[K, V] = {}
        self.at_work: dict[K, V] = {}
        self._filled = asyncio.Event()
        self._progress = asyncio.Event()

    def put(self, key: K, value: V) -> None:
        """Add work, or replace what waits under its key."""
        self.waiting[key] = value
        self._filled.set()

    def drop(self, key: K) -> V | None:
        """Forget what waits under a key, and return it."""
        value = self.waiting.pop(key, None)
        if value is not None:
            self._progressed()
        return value

    async def take(self, most: int) -> dict[K, V]:
        """Wait for work and take out some, the oldest first; `done` must follow."""
        while not self.waiting:
            self._filled.clear()
            await self._filled.wait()
        keys = [key for key, _ in zip(self.waiting, range(most), strict=False)]
        self.at_work = {key: self.waiting.pop(key) for key in keys}
        if not self.waiting:
            self.waiting = {}  # an emptied dict keeps the memory of its best days
        return self.at_work

    def done(self) -> None:
        """What was taken is settled, or was put back."""
        self.at_work = {}
        self._progressed()

    def _progressed(self) -> None:
        progress, self._progress = self._progress, asyncio.Event()
        progress.set()

    def holds(self, key: K) -> bool:
        """Say whether work under this key is not settled yet."""
        return key in self.waiting or key in self.at_work

    @property
    def is_empty(self) -> bool:
        """Whether everything is settled."""
        return not self.waiting and not self.at_work

    async def emptied(self) -> None:
        """Return when everything is settled."""
        while not self.is_empty:
            await self.progress()

    async def progress(self) -> None:
        """Return after some work was settled or dropped."""
        await self._progress.wait()


class Budget:
    """So many things per second, in bursts of up to a second's worth; `spend` may overdraw, `wait` makes up for it."""

    def __init__(self, clock: Clock, per_second: float) -> None:
        self._clock = clock
        self._per_second = per_second
        self._left = per_second
        self._at = clock.monotonic()
        self._lifts = 0
        """So many have no time left: nobody waits meanwhile."""

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Have nobody wait inside; whoever leaves first ends it for himself alone."""
        self._lifts += 1
        try:
            yield
        finally:
            self._lifts -= 1

    def spend(self, count: int = 1) -> None:
        """Count what was done."""
        self._left -= count

    async def wait(self) -> None:
        """Return when something may be done."""
        while not self._lifts:
            now = self._clock.monotonic()
            self._left = min(self._per_second, self._left + (now - self._at) * self._per_second)
            self._at = now
            if self._left > 0:
                return
            await asyncio.sleep(max(BUDGET_LOOK_S, -self._left / self._per_second))


class Backoff:
    """Waits between tries: longer each time, with full jitter, so that workers do not come back together."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.failures = 0

    def reset(self) -> None:
        """The service answered."""
        self.failures = 0

    async def wait(self) -> None:
        """The service did not answer: leave it alone for a while."""
        ceiling = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(self.failures, 30))
        self.failures += 1
        await asyncio.sleep(ceiling * (0.5 + self._clock.draw() / 2))


def hurried(store: object, uids: Collection[TaskUid] | None = None) -> AbstractAsyncContextManager[None]:
    """Have a store that keeps writes back make them now; one that does not is left alone."""
    return store.hurried(uids) if isinstance(store, Coalescing) else nullcontext()
