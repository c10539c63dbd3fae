"""Reads what is remembered of tasks before any of them may run.

Not here: what a past means (`domain`). What this worker itself has still to write about them is written first. While
the ledger is away nothing of these tasks starts: not knowing whether a fire time was served is not the same as knowing
that it was not.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from background_tasks.domain.model import Fence, Past, TaskUid
from background_tasks.engine.backlog import Backlog, Backoff
from background_tasks.engine.records import Armed
from background_tasks.errors import Unavailable
from background_tasks.ports import Clock, RunLedger

AT_ONCE = 100_000
"""Tasks asked about in one call: all that wait, as for some ledgers one answer costs as much as many."""
BATCH = 500
"""Pasts taken in before the loop gets air."""

_log = logging.getLogger(__name__)


class Loader:
    """Asks the ledger about tasks in batches, until it answers."""

    def __init__(
        self,
        ledger: RunLedger,
        clock: Clock,
        *,
        written: Callable[[list[TaskUid]], Awaitable[None]],
        on_loaded: Callable[[Armed, Past | None, Fence | None], None],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._written = written
        self._on_loaded = on_loaded
        self.backlog: Backlog[TaskUid, tuple[Armed, Fence | None]] = Backlog()

    def ask(self, record: Armed, fence: Fence | None) -> None:
        """Have the past of this task read soon, for whoever holds its slot under this fence."""
        self.backlog.put(record.task.uid, (record, fence))

    async def work(self) -> None:
        """Read for ever."""
        backoff = Backoff(self._clock)
        while True:
            batch = await self.backlog.take(AT_ONCE)
            await self._written(list(batch))
            try:
                pasts = await self._ledger.load(batch)
            except Unavailable as error:
                if backoff.failures == 0:
                    _log.warning("the ledger does not answer; %d tasks wait for their past: %s", len(batch), error)
                for uid, asked in batch.items():
                    self.backlog.waiting.setdefault(uid, asked)
                self.backlog.done()
                await backoff.wait()
                continue
            backoff.reset()
            for count, (uid, (record, fence)) in enumerate(batch.items(), 1):
                self._on_loaded(record, pasts.get(uid), fence)
                if count % BATCH == 0:
                    await asyncio.sleep(0)
            self.backlog.done()
