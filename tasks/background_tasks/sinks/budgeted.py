"""A status sink with a budget in front of another one: the latest status of each task wins, the last one is never lost.

Not here: what is worth showing (`engine`), where it goes (the sink behind).
"""

import asyncio
import logging
from collections.abc import Mapping

from background_tasks.domain.model import TaskUid
from background_tasks.errors import Unavailable
from background_tasks.ports import Clock, StatusSink

WRITES_PER_S = 5.0
"""Per pod: what an API server is glad to take from each of many."""
LONGEST_BACKOFF_S = 30.0

_log = logging.getLogger("background_tasks.status")


class BudgetedSink:
    """`ports.StatusSink` that takes everything at once and writes in order of waiting, so many a second.

    Run `work()` in a TaskGroup; `await flush()` before it is cancelled.
    """

    def __init__(self, sink: StatusSink, clock: Clock, *, writes_per_s: float = WRITES_PER_S) -> None:
        self._sink = sink
        self._clock = clock
        self._gap = 1.0 / writes_per_s
        self._waiting: dict[TaskUid, Mapping[str, object] | None] = {}
        self._some = asyncio.Event()
        self._failures = 0

    @property
    def waiting(self) -> int:
        """Tasks whose latest status is not written yet."""
        return len(self._waiting)

    async def publish(self, uid: TaskUid, status: Mapping[str, object]) -> None:
        """Show the status soon; one that waited is replaced and keeps its turn."""
        self._waiting[uid] = status
        self._some.set()

    async def withdraw(self, uid: TaskUid) -> None:
        """The task is gone."""
        self._waiting[uid] = None
        self._some.set()

    async def work(self) -> None:
        """Write within the budget, for ever; while the sink is away, all wait and the latest still wins."""
        while True:
            await self._some.wait()
            written = await self._write_next()
            await asyncio.sleep(self._gap if written else self._backoff())

    async def flush(self) -> None:
        """Write all that waits, at once. Raises `Unavailable` when the sink is away; then all still waits."""
        while self._waiting:
            uid = next(iter(self._waiting))
            await self._write(uid)

    async def _write_next(self) -> bool:
        uid = next(iter(self._waiting), None)
        if uid is None:
            self._some.clear()
            return True
        try:
            await self._write(uid)
        except Unavailable as error:
            if not self._failures:
                _log.warning("status is not written, %d tasks wait: %s", len(self._waiting), error)
            self._failures += 1
            return False
        self._failures = 0
        return True

    async def _write(self, uid: TaskUid) -> None:
        status = self._waiting.pop(uid)
        try:
            await (self._sink.withdraw(uid) if status is None else self._sink.publish(uid, status))
        except BaseException:
            self._waiting.setdefault(uid, status)
            raise

    def _backoff(self) -> float:
        return min(LONGEST_BACKOFF_S, self._gap * 2.0**self._failures) * (0.5 + 0.5 * self._clock.draw())
