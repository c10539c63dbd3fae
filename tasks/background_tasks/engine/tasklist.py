"""The tasks of this worker: which exist, what each is bound to, and whether it may be filed.

Not here: when it is due (`dispatch`), its runs (`runs`). A task that cannot run is kept and shown with its refusal.
"""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace

from background_tasks.domain.model import NO_PAST, Fence, Isolation, Outcome, Past, RunPolicy, Task, TaskUid
from background_tasks.domain.plan import rescheduled
from background_tasks.domain.slots import slot_of
from background_tasks.engine.binding import Bind, Binding, bound
from background_tasks.engine.dispatch import Dispatcher
from background_tasks.engine.ledgering import LedgerWriter
from background_tasks.engine.loading import Loader
from background_tasks.engine.outcomes import Outcomes
from background_tasks.engine.publishing import StatusWriter
from background_tasks.engine.records import NO_SLOT, Armed
from background_tasks.engine.runs import Runs
from background_tasks.engine.slots import Slots
from background_tasks.ports import Refusal, RunLedger

REFUSALS_KEPT = 1000
"""Refused documents that are remembered for people."""
BLOCKS_TO_MOVE = 3
"""A coroutine that held the loop so many times is moved off it, if its binding allows."""

_log = logging.getLogger(__name__)


class TaskList:
    """Records by uid. Changing one costs the others nothing."""

    def __init__(self, bind: Bind, count: int, slots: Slots, ledger: RunLedger, dispatcher: Dispatcher) -> None:
        self._bind = bind
        self._count = count
        self._slots = slots
        self._dispatcher = dispatcher
        self._records: dict[TaskUid, Armed] = {}
        self.refusals: dict[str, Refusal] = {}
        """Documents that are no task, by their place."""
        self._began_at = dispatcher.clock.wall()
        self._leaving: set[TaskUid] = set()
        """Removed, while runs of them have not ended: one that comes in their place waits."""
        self._before: dict[TaskUid, Past] = {}
        """Of slots that were lost and gained again: what this worker knew, should the ledger not know it any more."""
        self.loader = Loader(ledger, dispatcher.clock, written=self._written, on_loaded=self._loaded)
        self.synced = asyncio.Event()
        """What comes from now on is new, not only new to this worker."""
        self.runs: Runs
        self.outcomes: Outcomes
        self.ledger: LedgerWriter
        self.status: StatusWriter

    def __iter__(self) -> Iterator[Armed]:
        return iter(self._records.values())

    def find(self, uid: TaskUid) -> Armed | None:
        """Return the record of a task."""
        return self._records.get(uid)

    def of_slot(self, slot: int) -> list[Armed]:
        """List the tasks of a slot."""
        return [record for record in self._records.values() if record.slot == slot]

    def given_up(self, slot: int) -> list[TaskUid]:
        """Name the tasks of a slot that another worker gets: from now on that one knows what became of them."""
        records = self.of_slot(slot)
        for record in records if not self._slots.is_open(slot) else ():
            record.past = None
        return [record.task.uid for record in records]

    # --- changes -------------------------------------------------------------------------------------------------

    def upsert(self, task: Task) -> None:
        """Take a task that is new or changed."""
        record = self._records.get(task.uid)
        if record is not None:
            self._change(record, task)
            return
        record = Armed(task, bound(self._bind, task), self._slot(task))
        self._records[task.uid] = record
        self._dispatcher.timetable.enter(record)
        self.load(record)

    def remove(self, uid: TaskUid) -> None:
        """Drop a task; a run of it that goes on is cancelled."""
        record = self._records.pop(uid, None)
        if record is None:
            return
        self.runs.release(record)
        self._dispatcher.timetable.leave(record)
        self._before.pop(uid, None)
        if record.live is not None:
            record.live.gone = True
            if record.live.runs:
                self._leaving.add(uid)
            self.runs.stop(record.live.runs, Outcome.CANCELLED, "the task was removed", redo=False)
        if self._slots.is_open(record.slot):
            self.ledger.forget(uid)
            self.status.withdraw(uid)

    def departed(self, uid: TaskUid) -> None:
        """The last run of a task that was removed has ended."""
        self._leaving.discard(uid)
        record = self._records.get(uid)
        if record is not None:
            self.load(record)

    def refuse(self, refusal: Refusal) -> None:
        """Remember a document that is no task; an earlier good version stays as it is."""
        if refusal.where not in self.refusals and len(self.refusals) >= REFUSALS_KEPT:
            self.refusals.pop(next(iter(self.refusals)))
        self.refusals[refusal.where] = refusal
        _log.warning("refused: %s: %s %s: %s", refusal.where, refusal.field, refusal.value, refusal.message)

    def _change(self, record: Armed, task: Task) -> None:
        old = record.task
        if old == task and isinstance(record.binding, Binding):
            return
        record.task = task
        record.binding = bound(self._bind, task)
        if record.live is not None:
            record.live.adopt(task.policy)
        slot = self._slot(task)
        if slot != record.slot:
            self._move(record, slot)
            return
        if record.past is not None and not (record.live is not None and record.live.unread):
            past = rescheduled(old, task, record.past, self._dispatcher.clock.wall())
            changed, record.past = past is not record.past, past
            if changed:
                self.outcomes.decided(record, self._slots.fence(slot))
        self.consider(record)
        self._show(record)

    def _move(self, record: Armed, slot: int) -> None:
        """Whoever holds the new slot runs the task from now on; what goes on under the old one ends."""
        self.runs.release(record)
        if record.live is not None:
            self.runs.stop(record.live.runs, Outcome.CANCELLED, "its declaration moved it to another slot", redo=True)
        if NO_SLOT in (slot, record.slot) or not self._slots.is_open(slot):
            record.past = None
        record.slot = slot
        self.load(record)

    def _slot(self, task: Task) -> int:
        if task.policy.run_policy is RunPolicy.EVERY_WORKER:
            return NO_SLOT
        return slot_of(task.policy.group, task.uid, self._count)

    def blocked(self, uid: TaskUid) -> None:
        """A task has held the loop: count it, and move it to a thread when it does so again and again."""
        record = self._records.get(uid)
        if record is None:
            return
        live = record.lively()
        live.blocks += 1
        movable = isinstance(record.binding, Binding) and record.binding.movable
        if live.blocks >= BLOCKS_TO_MOVE and movable and live.isolation is Isolation.LOOP:
            live.isolation = Isolation.THREAD
            live.noted = f"it held the loop {live.blocks} times and was moved to a thread; set spec.isolation: Thread"
            _log.warning("task %s: %s", record.task.name, live.noted)
            self._show(record)

    # --- filing --------------------------------------------------------------------------------------------------

    def load(self, record: Armed) -> None:
        """Have the past read, where this worker acts for the task; what runs on every worker has its own.

        What goes on of the task ends first: only then is it known what is to be remembered.
        """
        if record.task.uid in self._leaving or not self._slots.is_open(record.slot):
            return
        live = record.live
        if live is not None:
            live.unread = bool(live.runs)
            if live.unread:
                return
        if record.slot == NO_SLOT:
            if record.past is None:
                record.past = self._fresh(record.task)
            self.consider(record)
            self._introduce(record)
            return
        if record.past is not None:
            self._before[record.task.uid] = record.past
        record.past = None
        self.loader.ask(record, self._slots.fence(record.slot))

    def _fresh(self, task: Task) -> Past:
        """Return the past of a task that runs on every worker: it begins with this one.

        A run-now value that was there before the worker was is no wish of now.
        """
        served = None if self.synced.is_set() else task.switches.run_now
        return replace(NO_PAST, baseline=self._began_at, run_now=served)

    async def _written(self, uids: list[TaskUid]) -> None:
        await self.ledger.flush(uids)

    def consider(self, record: Armed) -> None:
        """File the task for its next fire time, if it has one and may have one."""
        timetable, live = self._dispatcher.timetable, record.live
        if live is not None and live.unread:
            timetable.unfile(record)
            if not live.runs:
                self.load(record)
            return
        if record.past is None or not isinstance(record.binding, Binding) or not self._slots.is_open(record.slot):
            timetable.unfile(record)
            return
        if live is not None and (live.runs or live.waiting is not None or live.queued is not None):
            if not live.grid:
                timetable.unfile(record)
                return
            if not all(run.seen for run in live.runs):
                return  # its own start is about to plan it
        before = record.past
        self._dispatcher.arm(record)
        if record.past is not before:
            self.outcomes.decided(record, self._slots.fence(record.slot))

    def _loaded(self, record: Armed, past: Past | None, fence: Fence | None) -> None:
        if self._records.get(record.task.uid) is not record or not self._slots.is_open(record.slot):
            return
        if self._slots.fence(record.slot) != fence or record.past is not None:
            return  # lost and gained again meanwhile: another answer is on its way, or was here
        before = self._before.pop(record.task.uid, None) or self._unknown()
        record.past = self.outcomes.found(record, past or before, fence)
        self.consider(record)
        self._introduce(record)

    def _unknown(self) -> Past:
        """Return the past of a task that the ledger does not know: it never ran, or a store that was lost knew it.

        After a loss, what was due before is taken for served: whoever held the slot then was alive.
        """
        return NO_PAST if self._slots.renewed_at is None else replace(NO_PAST, baseline=self._slots.renewed_at)

    def _introduce(self, record: Armed) -> None:
        if isinstance(record.binding, Binding):
            self.status.introduce(record)
        else:
            self.status.show(record)

    def _show(self, record: Armed) -> None:
        if self._slots.is_open(record.slot):
            self.status.show(record)
