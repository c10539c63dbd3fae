"""Shows people what tasks do: which status is handed to the sink, and when.

Not here: what a status says (`domain.status`), budgets of the cluster (`sinks`).

A condition that changed is shown at once, and so is each run of a task that runs once a minute or less. A task that
runs more often is shown at most every 30 s. What waits is built only when its turn has come, so the last state is the
one that is shown.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

from background_tasks.domain.model import TaskUid
from background_tasks.engine.backlog import Backlog, Backoff
from background_tasks.engine.records import Armed, is_long
from background_tasks.errors import Unavailable
from background_tasks.ports import Clock, StatusSink

QUIET_S = 30.0
"""A task that runs often is shown no more often than this."""
BATCH = 20
"""Statuses built before the loop gets air; each takes some 20 µs."""

_log = logging.getLogger(__name__)


class StatusWriter:
    """Hands statuses to the sink, one after the other."""

    def __init__(self, sink: StatusSink, clock: Clock, describe: Callable[[Armed], Mapping[str, object]]) -> None:
        self._sink = sink
        self._clock = clock
        self._describe = describe
        self.backlog: Backlog[TaskUid, Armed | None] = Backlog()

    def ran(self, record: Armed) -> None:
        """A run ended: show it now or leave it to a later one."""
        live = record.lively()
        if is_long(record.task.policy) or self._clock.monotonic() - live.shown_at >= QUIET_S:
            self.show(record)

    def show(self, record: Armed) -> None:
        """Show the task soon."""
        if record.live is not None:
            record.live.shown_at = self._clock.monotonic()
        self.backlog.put(record.task.uid, record)

    def withdraw(self, uid: TaskUid) -> None:
        """The task is gone."""
        self.backlog.put(uid, None)

    async def work(self) -> None:
        """Show for ever."""
        backoff = Backoff(self._clock)
        while True:
            batch = await self.backlog.take(BATCH)
            if not await self._show(batch):
                await backoff.wait()
                continue
            backoff.reset()
            await asyncio.sleep(0)

    async def _show(self, batch: dict[TaskUid, Armed | None]) -> bool:
        shown: set[TaskUid] = set()
        try:
            for uid, record in batch.items():
                if record is None:
                    await self._sink.withdraw(uid)
                else:
                    await self._sink.publish(uid, self._describe(record))
                shown.add(uid)
        except Unavailable as error:
            _log.warning("the status sink does not answer; %d statuses wait: %s", len(batch) - len(shown), error)
            return False
        finally:
            for uid in batch.keys() - shown:
                self.backlog.waiting.setdefault(uid, batch[uid])
            self.backlog.done()
        return True

    async def flush(self) -> None:
        """Return when everything was shown."""
        while not self.backlog.is_empty:
            await self.backlog.progress()
