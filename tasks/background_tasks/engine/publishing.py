"""Shows people what tasks do: which status is handed to the sink, and when.

Not here: what a status says (`domain.status`), budgets of the cluster (`sinks`).

A condition that changed is shown at once, and so is each run of a task that runs once a minute or less. A task that
runs more often is shown at most every 30 s, and only as far as the budget goes. What waits is built only when its turn
has come, so the last state is the one that is shown.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from background_tasks.domain.holds import FOREVER, held_until
from background_tasks.domain.model import TaskUid
from background_tasks.domain.weight import is_long
from background_tasks.engine.backlog import Backlog, Backoff, Budget, hurried
from background_tasks.engine.records import Armed
from background_tasks.errors import Unavailable
from background_tasks.ports import Clock, StatusSink

QUIET_S = 30.0
"""A task that runs often is shown no more often than this."""
USUAL_PER_S = 250.0
"""Budget for what is not urgent: a status takes some 60 µs to build, so this is a sixtieth of a core."""
BATCH = 20
"""Statuses built before the loop gets air."""

EARLY_S = 0.005
"""A timer may fire a millisecond early, and a pause that still lasts would be shown once more."""

_log = logging.getLogger(__name__)


class StatusWriter:
    """Hands statuses to the sink, one after the other."""

    def __init__(self, sink: StatusSink, clock: Clock, describe: Callable[[Armed], Mapping[str, object]]) -> None:
        self._sink = sink
        self._clock = clock
        self._describe = describe
        self._urgent: Backlog[TaskUid, Armed | None] = Backlog()
        self._usual: Backlog[TaskUid, Armed | None] = Backlog()
        self._budget = Budget(clock, USUAL_PER_S)
        self._pauses: dict[TaskUid, asyncio.TimerHandle] = {}
        """Tasks that were shown as paused, until their pause ends."""

    def ran(self, record: Armed) -> None:
        """A run ended: show it now or leave it to a later one."""
        live = record.lively()
        now = self._clock.monotonic()
        if now - live.shown_at >= QUIET_S:
            live.shown_at = now
            self._usual.put(record.task.uid, record)
        elif is_long(record.task.policy):
            self._urgent.put(record.task.uid, record)
        else:
            live.unshown = True

    def show(self, record: Armed) -> None:
        """A condition changed, or may have: show it at once."""
        self._usual.drop(record.task.uid)
        self._urgent.put(record.task.uid, record)

    def introduce(self, record: Armed) -> None:
        """The task is new here: show it soon."""
        self._usual.put(record.task.uid, record)

    def withdraw(self, uid: TaskUid) -> None:
        """The task is gone."""
        self._forget_the_end_of_a_pause(uid)
        self._usual.drop(uid)
        self._urgent.put(uid, None)

    async def work_urgent(self) -> None:
        """Show for ever what is urgent."""
        await self._work(self._urgent)

    async def work_usual(self) -> None:
        """Show for ever what is not, within the budget."""
        await self._work(self._usual)

    async def _work(self, backlog: Backlog[TaskUid, Armed | None]) -> None:
        backoff = Backoff(self._clock)
        while True:
            if backlog is self._usual:
                await self._budget.wait()
            batch = await backlog.take(BATCH)
            if not await self._show(backlog, batch):
                await backoff.wait()
                continue
            backoff.reset()
            await asyncio.sleep(0)

    async def _show(self, backlog: Backlog[TaskUid, Armed | None], batch: dict[TaskUid, Armed | None]) -> bool:
        shown: set[TaskUid] = set()
        try:
            for uid, record in batch.items():
                if record is None:
                    await self._sink.withdraw(uid)
                else:
                    if record.live is not None:
                        record.live.unshown = False
                    self._show_the_end_of_a_pause(record)  # first: it may end while the status is built
                    await self._sink.publish(uid, self._describe(record))
                shown.add(uid)
            if backlog is self._usual:
                self._budget.spend(len(batch))
        except Unavailable as error:
            _log.warning("the status sink does not answer; %d statuses wait: %s", len(batch) - len(shown), error)
            return False
        finally:
            for uid in batch.keys() - shown:
                backlog.waiting.setdefault(uid, batch[uid])
            backlog.done()
        return True

    def _show_the_end_of_a_pause(self, record: Armed) -> None:
        """A pause ends by itself, and the next run may be hours away: come back to a task that was shown as paused."""
        now = self._clock.wall()
        until = held_until(record.task.switches, now)
        self._forget_the_end_of_a_pause(record.task.uid)
        if until is not None and until != FOREVER:
            timer = asyncio.get_running_loop().call_later(until - now + EARLY_S, self._show_again, record)
            self._pauses[record.task.uid] = timer

    def _forget_the_end_of_a_pause(self, uid: TaskUid) -> None:
        timer = self._pauses.pop(uid, None)
        if timer is not None:
            timer.cancel()

    def _show_again(self, record: Armed) -> None:
        self._pauses.pop(record.task.uid, None)
        if record.past is not None:  # else another worker acts for it by now, and shows it
            self.show(record)

    async def flush(self, records: Iterable[Armed]) -> None:
        """Return when the last state of these was shown; the budget does not hold meanwhile."""
        for record in records:
            if record.live is not None and record.live.unshown:
                self._usual.put(record.task.uid, record)
        async with hurried(self._sink):
            with self._budget.lifted():
                await self._urgent.emptied()
                await self._usual.emptied()
