"""From due to ended: whether a fire time starts a run now, waits, or is left out, and what follows a run's end.

Not here: timers and plans (`dispatch`), carrying out (`executor`), what is kept of it (`outcomes`).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable

from background_tasks.domain.model import Fence, Guarantee, Outcome, Past, SkipReason, TaskUid
from background_tasks.domain.overlap import DueMove, on_due, owes_each
from background_tasks.domain.plan import FireKind
from background_tasks.engine.backlog import Backoff
from background_tasks.engine.binding import Binding
from background_tasks.engine.dispatch import Dispatcher
from background_tasks.engine.executor import Executor
from background_tasks.engine.groups import Groups
from background_tasks.engine.history import run_id
from background_tasks.engine.isolation import call_for
from background_tasks.engine.outcomes import Outcomes
from background_tasks.engine.records import NO_SLOT, Armed, Live, Waiting
from background_tasks.engine.run import Run, Workplace
from background_tasks.engine.slots import NOT_OURS, Slots
from background_tasks.errors import Unavailable
from background_tasks.ports import RunLedger

_log = logging.getLogger(__name__)

LOOK_AGAIN_S = 1.0
"""A task whose slot cannot be shown to be ours at this moment is due again after this time."""

EARLY_S = 0.001
"""A fire time on the wall clock is not served sooner than this before it."""
FRESH_S = 0.005
"""A run that ends sooner costs one plan instead of two: the next fire time of its grid is looked for after this."""
FRESH_AT_ONCE = 8
"""Between two looks at the clock."""


class Runs:
    """All runs of a worker that go on or wait."""

    def __init__(
        self,
        place: Workplace,
        *,
        slots: Slots,
        groups: Groups,
        ledger: RunLedger,
        outcomes: Outcomes,
        consider: Callable[[Armed], None],
        departed: Callable[[TaskUid], None],
    ) -> None:
        self.going: dict[Run, None] = {}
        """In order of their start; a stuck one stays until it has really ended."""
        self.dispatcher: Dispatcher
        self.executor: Executor
        self._place = place
        self._slots = slots
        self._groups = groups
        self._ledger = ledger
        self._outcomes = outcomes
        self._consider = consider
        self._departed = departed
        self._fresh: deque[Run] = deque()
        self._count = 0
        self._ended = asyncio.Event()

    # --- due -----------------------------------------------------------------------------------------------------

    def due(self, record: Armed) -> None:
        """Serve the fire time that the record was filed for."""
        live = record.lively()
        fire, kind = record.fire, record.kind
        if live.grid and fire - self.dispatcher.wall > EARLY_S:
            self.dispatcher.look_again(record, fire - self.dispatcher.wall)  # the wall clock went back a little
            return
        if not live.runs and live.waiting is None and live.queued is None:
            self._enter(record, live, fire, kind)
            return
        if not live.grid or kind in (FireKind.RUN_NOW, FireKind.MISSED):
            return  # one after the other: planned again when the run has ended
        if owes_each(record.task.policy) and _makes_up(live):
            return  # owed as well
        running = len(live.runs) + (live.waiting is not None)
        move = on_due(record.task.policy.overlap, running=running, queued=int(live.queued is not None))
        if move is DueMove.START:
            self._enter(record, live, fire, kind)
            return
        if move is DueMove.SKIP:
            self._outcomes.skipped(record, fire, SkipReason.OVERLAP)
        else:
            if live.queued is not None:
                self._outcomes.skipped(record, live.queued.fire, SkipReason.OVERLAP)
            live.queued = Waiting(record, fire, kind, record.past)
        if move is DueMove.REPLACE:
            for run in live.runs:
                self.executor.stop(run, Outcome.CANCELLED, "replaced by the next run")
        self._move_on(record, fire)

    def _enter(self, record: Armed, live: Live, fire: float, kind: FireKind, before: Past | None = None) -> None:
        """Start, if the slot is ours and the group has a place."""
        right = self._slots.right(record.slot)
        if right is NOT_OURS:
            if self._slots.is_open(record.slot) and not self.dispatcher.timetable.is_filed(record):
                record.fire, record.kind = fire, kind
                self.dispatcher.look_again(record, LOOK_AGAIN_S)
            return
        if live.group is not None and not self._groups.enter(live.group):
            moves = live.grid and kind is not FireKind.RUN_NOW
            live.waiting = Waiting(record, fire, kind, before if before is not None else record.past if moves else None)
            self._groups.wait(live.group, live.waiting)
            if moves:
                self._move_on(record, fire)
            return
        self._start(record, fire, kind, group=live.group, fence=right, before=before)

    def _start(
        self,
        record: Armed,
        fire: float,
        kind: FireKind,
        *,
        group: str | None,
        fence: Fence | None,
        before: Past | None = None,
    ) -> None:
        live = record.lively()
        binding = record.binding
        assert isinstance(binding, Binding)
        self._count += 1
        run = Run(record, fire, kind, fence, run_id(self._place.worker, self._count))
        run.number = self._count
        run.group, run.before = group, before
        run.prepare(self._place, call_for(live.isolation, binding), binding.params)
        live.runs += (run,)
        self.going[run] = None
        if live.weighty and record.slot != NO_SLOT:
            run.claim = self._claim if record.task.policy.guarantee is Guarantee.AT_MOST_ONCE else self._note
        self.executor.start(run)
        if run.outcome is not None:
            return  # it has ended already and is planned with its end
        if not live.grid or kind is FireKind.RUN_NOW:
            run.seen = True
            return
        self._fresh.append(run)
        if len(self._fresh) == 1:
            self.dispatcher.later(FRESH_S, self._look_at_fresh)

    async def _claim(self, run: Run) -> bool:
        """Write that this fire time is being served; wait for a ledger that does not answer."""
        backoff = Backoff(self._place.clock)
        while True:
            try:
                claimed = await self._ledger.claim(run.task, run.fire, run.fence)
            except Unavailable:
                await backoff.wait()
                continue
            if claimed:
                await self._note(run)
            if claimed and run.kind is FireKind.RUN_NOW:
                await self._outcomes.written(run.task)  # another process would claim it for another instant
            return claimed

    async def _note(self, run: Run) -> bool:
        self._outcomes.began(run)
        return True

    def _move_on(self, record: Armed, fire: float) -> None:
        """Plan the next fire time of a grid while this one is served; a backlog waits for the end of the run."""
        self._outcomes.served(record, fire)
        self._consider(record)
        if record.kind is FireKind.MISSED:
            self.dispatcher.timetable.unfile(record)

    # --- ended ---------------------------------------------------------------------------------------------------

    def _look_at_fresh(self) -> bool:
        """Plan the next fire times of grids whose runs have not ended at once; most have, and are planned only then.

        A few at a time; True while some are left.
        """
        for _ in range(min(FRESH_AT_ONCE, len(self._fresh))):
            run = self._fresh.popleft()
            if not run.seen:
                run.seen = True
                run.before = run.before or run.record.past
                self._move_on(run.record, run.fire)
        return bool(self._fresh)

    def finish(self, run: Run) -> None:
        """Draw the conclusions from a run that has ended."""
        assert run.outcome is not None
        record, live = run.record, run.live
        settled = run.before is not None and run.outcome is Outcome.SUCCEEDED and self._is_as_planned(record)
        del self.going[run]
        del run.context, run.asyncio_task  # they lead back to the run: without them it is freed here and now
        live.runs = tuple(other for other in live.runs if other is not run) if len(live.runs) > 1 else ()
        run.seen = True
        if run.cause is None and run.outcome is Outcome.CANCELLED:
            run.redo = True
        if not run.stuck:
            self._outcomes.ended(run, run.outcome)
        elif not any(other.stuck for other in live.runs):
            live.noted = ""
        if run.group is not None:
            self._groups.leave(run.group)
            self._next_in(run.group)
        if live.queued is not None and not live.runs:
            settled = self._follow_up(record, live, live.queued) and settled
        if live.gone and not live.runs:
            self._departed(run.task.uid)
        elif not live.gone and not settled:
            self._consider(record)
        self._ended.set()

    def _follow_up(self, record: Armed, live: Live, queued: Waiting) -> bool:
        """Start what waited for the end of a run; False: it may not, and is planned again."""
        live.queued = None
        if isinstance(record.binding, Binding) and self._slots.right(record.slot) is not NOT_OURS:
            self._enter(record, live, queued.fire, queued.kind, queued.before)
            return True
        self._outcomes.unserved(queued, self._slots.fence(record.slot))
        return False

    def _is_as_planned(self, record: Armed) -> bool:
        """Say whether a success changes nothing about the next fire time, which is filed already."""
        past = record.past
        return past is not None and past.opened_at is None and self.dispatcher.timetable.is_filed(record)

    def stuck(self, run: Run) -> None:
        """A run ignores its cancellation: tell its outcome now, keep its place."""
        assert run.cause is not None
        live = run.live
        live.noted = f"run {run.run_id} did not stop when it was told to: {run.message}"
        _log.error("run %s of %s ignores its cancellation: %s", run.run_id, run.task.name, run.cause_message)
        self._outcomes.ended(run, run.cause)
        self._ended.set()

    def _next_in(self, group: str) -> None:
        while (waiting := self._groups.next_in(group)) is not None:
            record, live = waiting.record, waiting.record.lively()
            live.waiting = None
            right = self._slots.right(record.slot)
            if right is not NOT_OURS and isinstance(record.binding, Binding):
                self._start(record, waiting.fire, waiting.kind, group=group, fence=right, before=waiting.before)
                continue
            self._groups.leave(group)
            self._outcomes.unserved(waiting, self._slots.fence(record.slot))
            self._consider(record)

    # --- stopping ------------------------------------------------------------------------------------------------

    def release(self, record: Armed) -> None:
        """Let nothing more of this task start; what goes on goes on."""
        self.dispatcher.timetable.unfile(record)
        live = record.live
        if live is None:
            return
        for waiting in (live.queued, live.waiting):  # the one that waits for its group is the older one
            if waiting is not None:
                self._outcomes.unserved(waiting, self._slots.fence(record.slot))
        live.queued = live.waiting = None

    def stop(self, runs: Iterable[Run], cause: Outcome, message: str, *, redo: bool) -> None:
        """Tell runs to end."""
        for run in list(runs):
            run.redo = run.redo or redo
            self.executor.stop(run, cause, message)

    def of_slot(self, slot: int) -> list[Run]:
        """List the runs of a slot."""
        return [run for run in self.going if run.slot == slot]

    async def gone(self, which: Callable[[Run], bool]) -> None:
        """Return when no run of this kind goes on."""
        while any(which(run) for run in self.going):
            self._ended.clear()
            await self._ended.wait()


def _makes_up(live: Live) -> bool:
    """Say whether a run that goes on, or waits for its group, serves a fire time that was missed."""
    waits = live.waiting is not None and live.waiting.kind is FireKind.MISSED
    return waits or any(run.kind is FireKind.MISSED for run in live.runs)
