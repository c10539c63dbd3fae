"""Writes what ran to the ledger, beside the runs: no run of a short task waits for storage.

Not here: claims (`dispatch` awaits those before an AtMostOnce run), reading (`loading`).

Runs of long tasks and of AtMostOnce tasks are written one by one. Runs of short tasks are written as they come while
there are few of them; beyond the budget only the latest of each task is. Pasts are never dropped: while the ledger is
away the newest of each task waits here, so what waits is bounded by the number of tasks.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from background_tasks.domain.model import Fence, Past, RunRecord, Task, TaskUid
from background_tasks.engine.backlog import Backlog, Backoff, Budget, hurried
from background_tasks.errors import Superseded, Unavailable
from background_tasks.ports import Clock, RunLedger

BATCH = 32
"""Writes under way at the same time."""
LIGHT_PER_S = 500.0
"""Budget for runs of short tasks; at 100 µs each a twentieth of a core. While more than a second's worth waits, only
the newest of each task is kept."""
TELL_S = 60.0
"""People are told no more often than this that runs were not written one by one."""
RUNS_PER_TASK = 100
"""Runs of one task that may wait; when the ledger is away for long, its oldest runs are dropped and counted."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Note:
    """One call of the ledger."""

    task: Task
    past: Past | None
    """None: what is remembered of the task stays as it is."""
    run: RunRecord | None
    fence: Fence | None


@dataclass(slots=True)
class _Entry:
    """What waits for one task."""

    uid: TaskUid
    weighty: bool = False
    forget: bool = False
    """First of all, everything about the task is dropped."""
    notes: list[_Note] = field(default_factory=list)


class LedgerWriter:
    """The one writer of a worker."""

    def __init__(self, ledger: RunLedger, clock: Clock, on_superseded: Callable[[Task, Fence | None], None]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._on_superseded = on_superseded
        self._weighty: Backlog[TaskUid, _Entry] = Backlog()
        self._light: Backlog[TaskUid, _Entry] = Backlog()
        self._budget = Budget(clock, LIGHT_PER_S)
        self.coalesced = 0
        """Runs that were not written one by one."""
        self._told = 0
        self._tell_at = float("-inf")
        self._trouble = ""
        """What the ledger said last when it did not take a write."""

    def put(
        self, task: Task, past: Past | None, run: RunRecord | None, fence: Fence | None = None, *, weighty: bool
    ) -> None:
        """Have it written soon, after all that was put before about the task."""
        backlog = self._home(task.uid, weighty=weighty)
        entry = backlog.waiting.get(task.uid)
        if entry is None:
            entry = _Entry(task.uid)
            backlog.put(task.uid, entry)
        entry.weighty = weighty
        notes = entry.notes
        full = not weighty and len(backlog.waiting) > LIGHT_PER_S
        if notes and (full or notes[-1].run is None):  # the newest takes the place of one that says less
            self.coalesced += notes[-1].run is not None
            note = notes[-1]
            note.task, note.past, note.run, note.fence = task, past or note.past, run, fence
            return
        notes.append(_Note(task, past, run, fence))
        if len(notes) > RUNS_PER_TASK:
            del notes[0]
            self.coalesced += 1

    def forget(self, uid: TaskUid) -> None:
        """The task is gone: have everything about it dropped."""
        self._home(uid, weighty=True).put(uid, _Entry(uid, weighty=True, forget=True))

    def _home(self, uid: TaskUid, *, weighty: bool) -> Backlog[TaskUid, _Entry]:
        """Return where new notes of a task belong, with all that waits about it: in two places it had no order.

        What is written at this moment may come back, so the rest stays behind it.
        """
        home, other = (self._weighty, self._light) if weighty else (self._light, self._weighty)
        if uid in other.at_work:
            return other
        entry = other.drop(uid)
        if entry is not None:
            home.put(uid, entry)
        return home

    @property
    def is_idle(self) -> bool:
        """Whether everything is written."""
        return self._weighty.is_empty and self._light.is_empty

    def holds(self, uid: TaskUid) -> bool:
        """Say whether something about this task is not written yet."""
        return self._weighty.holds(uid) or self._light.holds(uid)

    async def flush(self, uids: list[TaskUid] | None = None) -> None:
        """Return when everything (about these tasks) is written; budgets do not hold meanwhile."""
        async with hurried(self._ledger, uids):
            await self._settle(uids)

    async def _settle(self, uids: list[TaskUid] | None) -> None:
        with self._budget.lifted():
            while any(map(self.holds, uids)) if uids is not None else not self.is_idle:
                await self._flush(self._weighty, uids)
                await self._flush(self._light, uids)

    async def work_weighty(self) -> None:
        """Write for ever what must be written one by one."""
        await self._work(self._weighty)

    async def work_light(self) -> None:
        """Write for ever what may be coalesced, within the budget."""
        await self._work(self._light)

    async def _flush(self, backlog: Backlog[TaskUid, _Entry], uids: list[TaskUid] | None) -> None:
        while any(map(backlog.holds, uids)) if uids is not None else not backlog.is_empty:
            await backlog.progress()

    async def _work(self, backlog: Backlog[TaskUid, _Entry]) -> None:
        backoff, told = Backoff(self._clock), ""
        while True:
            if backlog is self._light:
                await self._budget.wait()
            batch = await backlog.take(BATCH)
            failed = await self._write(list(batch.values()))
            for entry in failed:
                self._put_back(backlog, entry)
            backlog.done()
            self._tell_coalesced()
            if not failed:
                backoff.reset()
                told = ""
                continue
            if self._trouble != told:
                told = self._trouble
                waiting = len(backlog.waiting)
                _log.warning("the ledger does not answer; %d tasks wait to be written: %s", waiting, self._trouble)
            await backoff.wait()

    async def _write(self, entries: list[_Entry]) -> list[_Entry]:
        """Write a batch; return the entries that are not fully written."""
        if len(entries) == 1:
            return [] if await self._write_one(entries[0]) else entries
        async with asyncio.TaskGroup() as group:
            writes = [(entry, group.create_task(self._write_one(entry))) for entry in entries]
        return [entry for entry, write in writes if not write.result()]

    async def _write_one(self, entry: _Entry) -> bool:
        try:
            if entry.forget:
                await self._ledger.forget(entry.uid)
                entry.forget = False
            return await self._write_notes(entry)
        except Unavailable as error:
            self._trouble = str(error)
            return False

    async def _write_notes(self, entry: _Entry) -> bool:
        while entry.notes:
            note = entry.notes[0]
            try:
                await self._ledger.record(note.task, note.past, note.run, fence=note.fence)
            except Superseded:
                self._on_superseded(note.task, note.fence)
            del entry.notes[0]
            if not entry.weighty:
                self._budget.spend()
        return True

    def _tell_coalesced(self) -> None:
        now = self._clock.monotonic()
        if self.coalesced == self._told or now < self._tell_at:
            return
        new, self._told, self._tell_at = self.coalesced - self._told, self.coalesced, now + TELL_S
        _log.warning("%d runs were not written to the ledger one by one (%d in all); pasts are", new, self.coalesced)

    def _put_back(self, backlog: Backlog[TaskUid, _Entry], entry: _Entry) -> None:
        """Keep what could not be written, in front of what came meanwhile."""
        newer = backlog.waiting.get(entry.uid)
        if newer is not None and newer.forget:
            return
        if newer is not None:
            entry.notes.extend(newer.notes)
            while len(entry.notes) > RUNS_PER_TASK:
                del entry.notes[0]
                self.coalesced += 1
        backlog.put(entry.uid, entry)
