"""The engine of one worker: give it tasks, and each runs when it is due, if its slot is ours.

Not here: where tasks come from, who holds a slot, what coroutines do. It asks ports and domain for all of that.
Everything but `run`, `follow`, `surrender`, `stopped` and `drain` returns at once and must be called on the loop.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from background_tasks import ports
from background_tasks.authoring import Services
from background_tasks.domain.explain import Explanation
from background_tasks.domain.model import Fence, Outcome, Task, TaskUid
from background_tasks.engine.binding import Bind, Binding
from background_tasks.engine.dispatch import Dispatcher
from background_tasks.engine.executor import GRACE_S, Executor
from background_tasks.engine.groups import Groups
from background_tasks.engine.guard import watch
from background_tasks.engine.ledgering import LedgerWriter
from background_tasks.engine.outcomes import Outcomes
from background_tasks.engine.publishing import StatusWriter
from background_tasks.engine.records import is_endless
from background_tasks.engine.run import Run, Workplace
from background_tasks.engine.runs import Runs
from background_tasks.engine.slots import Slots
from background_tasks.engine.tasklist import TaskList
from background_tasks.engine.views import TaskView, Views
from background_tasks.errors import NotLeader

__all__ = ["Bind", "Binding", "Scheduler", "TaskView"]

EVENTS_AT_ONCE = 200
"""So many tasks of a source are taken before the loop gets air."""
FLUSH_S = 5.0
"""How long a slot's release, or the end of the worker, waits for ledger and sink unless told otherwise."""
_log = logging.getLogger(__name__)


class Scheduler:
    """Runs tasks on the loop it was made on.

    `bind` turns a task into a coroutine or a refusal. Without `holdings` every slot is ours and there are no fences.
    `groups` are caps by group name. `verify` answers `ctx.verify_leadership()` (`Membership.verify`). `up_since` is the
    wall instant at which the pool came up, for `onStart` tasks; default: now. `guard` watches the loop from a thread;
    leave it off in virtual time. `patience`: so many seconds a release or the end waits for ledger and sink.
    `refused` hears of a fence under which the ledger takes nothing (`Membership.refused`).
    """

    def __init__(
        self,
        *,
        clock: ports.Clock,
        bind: Bind,
        ledger: ports.RunLedger,
        sink: ports.StatusSink,
        observer: ports.Observer,
        worker: str,
        slots: int = 16,
        holdings: ports.Holdings | None = None,
        groups: Mapping[str, int] | None = None,
        settings: Mapping[str, str] | None = None,
        services: Services | None = None,
        verify: Callable[[Fence], Awaitable[None]] | None = None,
        refused: Callable[[Fence], None] = lambda fence: None,
        up_since: float | None = None,
        guard: bool = False,
        grace: float = GRACE_S,
        patience: float = FLUSH_S,
    ) -> None:
        self._clock = clock
        self._observer = observer
        self._holdings = holdings
        self._refused, self._guarded, self._grace, self._patience = refused, guard, grace, patience
        place = Workplace(
            clock=clock,
            observer=observer,
            worker=worker,
            settings=settings or {},
            services=services,
            verify=verify or self._verify,
        )
        self._slots = Slots(holdings, clock)
        self._dispatcher = Dispatcher(clock, observer, up_since=up_since)
        self._tasks = TaskList(bind, slots, self._slots, ledger, self._dispatcher)
        self._views = Views(clock, self._slots, self._dispatcher, worker)
        self._ledger = LedgerWriter(ledger, clock, self._superseded)
        self._status = StatusWriter(sink, clock, self._views.status)
        outcomes = Outcomes(place, self._ledger, self._status)
        self._runs = Runs(
            place,
            slots=self._slots,
            groups=Groups(groups or {}),
            ledger=ledger,
            outcomes=outcomes,
            consider=self._tasks.consider,
            departed=self._tasks.departed,
        )
        self._runs.dispatcher, self._dispatcher.runs = self._dispatcher, self._runs
        self._dispatcher.outcomes = outcomes
        self._tasks.runs, self._tasks.outcomes = self._runs, outcomes
        self._tasks.ledger, self._tasks.status = self._ledger, self._status
        self.synced = self._tasks.synced
        """The source has told all that exists."""
        self.ended = asyncio.Event()
        """No more runs are started, by a drain or because something broke."""
        self._draining = False

    # --- life ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run tasks until `drain` is done. Cancelling this cancels every run and waits for it.

        Owns the one TaskGroup: no run outlives it. A run that ignores its cancellation keeps this from returning.
        """
        async with asyncio.TaskGroup() as group:
            self._runs.executor = executor = Executor(
                group,
                clock=self._clock,
                observer=self._observer,
                on_end=self._dispatcher.settle,
                on_stuck=self._runs.stuck,
                grace=self._grace,
            )
            helpers = [
                group.create_task(work())
                for work in (
                    self._ledger.work_weighty,
                    self._ledger.work_light,
                    self._status.work_urgent,
                    self._status.work_usual,
                    self._tasks.loader.work,
                )
            ]
            guard = watch(self._observer, self._tasks.blocked) if self._guarded else None
            self._dispatcher.open()
            for record in self._tasks:
                self._tasks.consider(record)
            try:
                await self._dispatcher.over
            finally:
                self.ended.set()
                self._dispatcher.close()
                executor.close()
                if guard is not None:
                    guard.stop()
                for helper in helpers:
                    helper.cancel()
        self._dispatcher.settle_now()

    async def drain(self, timeout: float) -> tuple[str, ...]:  # noqa: ASYNC109  # a time to be patient, not to give up
        """Start nothing more, let runs end for `timeout` seconds, cancel the rest, write what there is to write.

        A second call cancels at once. Returns the ids of runs that ignore their cancellation: `run` cannot return
        then, and the worker must end its process without releasing the slots.
        """
        self._dispatcher.close()
        for record in self._tasks:
            self._runs.release(record)
        timeout, self._draining = 0.0 if self._draining else timeout, True
        await self._let_end(lambda run: not run.stuck, timeout, "the worker was drained")
        await self._written(None)
        stuck = tuple(run.run_id for run in self._runs.going)
        self._dispatcher.finish()
        return stuck

    # --- tasks ---------------------------------------------------------------------------------------------------

    def upsert(self, task: Task) -> None:
        """Take a task that is new or changed; a run that goes on ends as it began."""
        self._tasks.upsert(task)

    def remove(self, uid: TaskUid) -> None:
        """Drop a task; a run of it that goes on is cancelled."""
        self._tasks.remove(uid)

    def refuse(self, refusal: ports.Refusal) -> None:
        """Remember a document that is no task; an earlier good version of it stays armed."""
        self._tasks.refuse(refusal)

    def trigger(self, uid: TaskUid) -> None:
        """Ask for one extra run, as the run-now annotation does. An unknown task is ignored."""
        record = self._tasks.find(uid)
        if record is not None:
            wanted = f"trigger-{self._clock.wall():.6f}"
            self._tasks.upsert(replace(record.task, switches=replace(record.task.switches, run_now=wanted)))

    async def follow(self, source: ports.TaskSource) -> None:
        """Do what a source tells, until it ends."""
        count = 0
        async for event in source.watch():
            match event:
                case ports.Upserted(task):
                    self.upsert(task)
                case ports.Removed(uid):
                    self.remove(uid)
                case ports.RefusedDocument(refusal):
                    self.refuse(refusal)
                case ports.Synced():
                    self.synced.set()
            count += 1
            if count % EVENTS_AT_ONCE == 0:
                await asyncio.sleep(0)

    # --- slots ---------------------------------------------------------------------------------------------------

    def gained(self, slot: int, fence: Fence) -> None:
        """Act for a slot: the pasts of its tasks are read, then they are armed."""
        self._slots.gain(slot, fence)
        for record in self._tasks.of_slot(slot):
            self._tasks.load(record)

    async def surrender(self, slot: int, timeout: float) -> None:  # noqa: ASYNC109  # as in drain
        """Start nothing more for a slot, let its runs end for `timeout` seconds, cancel the rest, write them.

        Returns when nothing of the slot runs; never while a run ignores its cancellation.
        """
        self._leave(slot)
        await self._let_end(lambda run: run.slot == slot, timeout, "its slot moves to another worker")
        await self._written(self._tasks.given_up(slot))

    def lost(self, slot: int, reason: str) -> None:
        """Cancel the slot's runs at once: somebody else may act."""
        self._leave(slot)
        self._runs.stop(self._runs.of_slot(slot), Outcome.SUPERSEDED, reason, redo=True)

    async def stopped(self, slot: int) -> None:
        """Return when nothing of the slot runs, e.g. after `lost`."""
        await self._runs.gone(lambda run: run.slot == slot)

    def _leave(self, slot: int) -> None:
        for record in self._tasks.of_slot(slot):
            self._runs.release(record)
        self._slots.close(slot)

    def _superseded(self, task: Task, fence: Fence | None) -> None:
        """The ledger has seen a newer fence: stop the slot, unless it was gained anew since."""
        record = self._tasks.find(task.uid)
        if record is not None and fence is not None and self._slots.fence(record.slot) == fence:
            self.lost(record.slot, f"the ledger has seen a newer fence than {fence}")
            self._refused(fence)

    async def _verify(self, fence: Fence) -> None:
        if self._holdings is None or self._holdings.fence(fence.slot) != fence:
            raise NotLeader(f"the slot of fence {fence} is not held any more")

    # --- what people see -----------------------------------------------------------------------------------------

    @property
    def unwritten_runs(self) -> int:
        """So many runs are in no ledger one by one: there were too many, or it was away for too long."""
        return self._ledger.coalesced

    def tasks(self) -> list[TaskView]:
        """List all tasks as they are now; may be called from another thread."""
        return [self._views.row(record) for record in tuple(self._tasks)]

    def refusals(self) -> tuple[ports.Refusal, ...]:
        """List the documents that are no task."""
        return tuple(self._tasks.refusals.values())

    def next_start(self, uid: TaskUid) -> float | None:
        """Return the wall instant for which a task is filed, or None."""
        record = self._tasks.find(uid)
        return None if record is None else self._views.next_start(record)

    def explain(self, uid: TaskUid) -> Explanation | None:
        """Say why a task runs when it does, or does not run; None for an unknown one."""
        record = self._tasks.find(uid)
        return None if record is None else self._views.explain(record, self._dispatcher.up_since)

    async def shown(self) -> None:
        """Return when the status of every task was handed to the sink, as fast as it takes them."""
        await self._status.flush(self._tasks)

    # --- within --------------------------------------------------------------------------------------------------

    async def _let_end(self, which: Callable[[Run], bool], patience: float, message: str) -> None:
        """Wait for runs, then cancel them; continuous ones have no end of their own and are cancelled at once."""
        endless = [run for run in self._runs.going if which(run) and is_endless(run.task.policy)]
        self._runs.stop(endless, Outcome.CANCELLED, message, redo=True)
        try:
            async with asyncio.timeout(patience):
                await self._runs.gone(which)
        except TimeoutError:
            runs = [run for run in self._runs.going if which(run)]
            self._runs.stop(runs, Outcome.CANCELLED, message, redo=True)
            await self._runs.gone(which)

    async def _written(self, uids: list[TaskUid] | None) -> None:
        """Wait for the ledger (and, at the end, for the status sink), not for ever."""
        try:
            async with asyncio.timeout(self._patience):
                await self._ledger.flush(uids)
                if uids is None:
                    await self._status.flush(self._tasks)
        except TimeoutError:
            _log.warning("not everything was written within %g s; what is missing may be run again", self._patience)
