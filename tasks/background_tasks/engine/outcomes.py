"""What became of fire times: the past that follows, and everybody who wants to know of it.

Not here: how they are stored or shown (`ledgering`, `publishing`), what happens next (`runs`).
"""

from dataclasses import replace

from background_tasks.domain.model import Fence, Guarantee, Outcome, Past, RunRecord, SkipReason, Task
from background_tasks.domain.outcome import after_run, served
from background_tasks.domain.plan import FireKind
from background_tasks.domain.schedule import next_fire
from background_tasks.domain.weight import is_weighty
from background_tasks.engine.ledgering import LedgerWriter
from background_tasks.engine.publishing import StatusWriter
from background_tasks.engine.records import NO_SLOT, Armed, Waiting
from background_tasks.engine.run import Run, Workplace

_FAILURES = frozenset({Outcome.FAILED, Outcome.TIMED_OUT, Outcome.LOST})


class Outcomes:
    """Keeps pasts, counts and histories, and tells ledger, status and observer."""

    def __init__(self, place: Workplace, ledger: LedgerWriter, status: StatusWriter) -> None:
        self._place = place
        self._ledger = ledger
        self._status = status

    def began(self, run: Run) -> None:
        """Write that a long run began: should the worker die under it, the next one knows."""
        past = run.record.past
        if past is None or run.slot == NO_SLOT:
            return
        past = replace(past, started_at=run.started_at)
        if run.task.policy.guarantee is Guarantee.AT_MOST_ONCE:
            if run.kind is FireKind.RUN_NOW:
                past = replace(past, run_now=run.task.switches.run_now)
            else:
                past = replace(past, fired_at=run.fire if past.fired_at is None else max(past.fired_at, run.fire))
        self._ledger.put(run.task, past, None, run.fence, weighty=True)

    async def written(self, task: Task) -> None:
        """Return when the ledger knows all that was put about a task."""
        await self._ledger.flush([task.uid])

    def ended(self, run: Run, outcome: Outcome) -> None:
        """Keep what a run came to."""
        record, live = run.record, run.live
        told = run.as_record(outcome)
        self._place.observer.ended(run.task, told)
        if live.gone:
            return
        live.history.remember(run.number, told, run.task.policy.history_limit)
        live.succeeded += outcome is Outcome.SUCCEEDED
        live.failed += outcome in _FAILURES
        live.skipped += outcome is Outcome.SKIPPED
        if record.past is not None:
            record.past = _follow(run, record.past, outcome)
        shared = None if run.slot == NO_SLOT else record.past
        self._ledger.put(run.task, shared, told, run.fence, weighty=live.weighty)
        if record.past is not None:
            breached = run.task.policy.max_lateness is not None and told.lateness > run.task.policy.max_lateness
            shown = (record.past.opened_at is not None, breached)
            if shown != live.shown:
                live.shown = shown
                self._status.show(record)
        self._status.ran(record)

    def served(self, record: Armed, fire: float) -> None:
        """A fire time of a grid is taken care of: the next one can be planned."""
        if record.past is not None:
            record.past = served(record.past, fire)

    def skipped(self, record: Armed, fire: float, reason: SkipReason, count: int = 1) -> None:
        """Fire times had no run; `fire` is the only or the last of them."""
        live = record.lively()
        live.skipped += count
        live.last_skip = (fire, reason)
        self._place.observer.skipped(record.task, fire, reason)
        self._status.ran(record)

    def decided(self, record: Armed, fence: Fence | None) -> None:
        """A plan changed the past without a run (skips, a pause that began or ended)."""
        if record.past is not None and record.slot != NO_SLOT:
            weighty = is_weighty(record.task.policy)
            self._ledger.put(record.task, record.past, None, fence, weighty=weighty)

    def unserved(self, waiting: Waiting, fence: Fence | None) -> None:
        """A fire time that waited was not started: it is to be served again, by whoever holds the slot then."""
        record, before = waiting.record, waiting.before
        if record.past is None or before is None:
            return
        record.past = replace(record.past, fired_at=before.fired_at, owed=before.owed)
        self.decided(record, fence)

    def found(self, record: Armed, past: Past, fence: Fence | None) -> Past:
        """Return the past as the ledger had it, with the run that a dead worker left unended told as lost."""
        if record.slot == NO_SLOT or past.started_at is None or past.started_at <= _end(past):
            return past
        task = record.task
        before = replace(past, started_at=None if past.ended_at is None else min(past.started_at, past.ended_at))
        now = self._place.clock.wall()
        once = task.policy.guarantee is Guarantee.AT_MOST_ONCE
        fire = past.fired_at if once else None
        if fire is None:
            policy = task.policy
            fire = next_fire(policy.schedule, uid=task.uid, created_at=task.created_at, past=before, now=now)
        told = RunRecord(
            run_id=f"{self._place.worker}-lost-{task.uid}",
            uid=task.uid,
            task=task.name,
            scheduled_for=min(fire if fire is not None else past.started_at, past.started_at),
            started_at=past.started_at,
            ended_at=max(now, past.started_at),
            outcome=Outcome.LOST,
            message="the worker died under it",
            worker=self._place.worker,
            fence=fence,
        )
        counted = after_run(
            task, before, fire=told.scheduled_for, started_at=told.started_at, ended_at=now, outcome=told.outcome
        )
        kept = counted if once else _unserved(counted, before)
        self._place.observer.ended(task, told)
        record.lively().history.remember(0, told, task.policy.history_limit)
        record.lively().failed += 1
        self._ledger.put(task, kept, told, fence, weighty=is_weighty(task.policy))
        return kept


def _end(past: Past) -> float:
    return float("-inf") if past.ended_at is None else past.ended_at


def _unserved(counted: Past, before: Past) -> Past:
    """Count the failure, and leave the fire time to be served again."""
    return replace(
        counted,
        fired_at=before.fired_at,
        started_at=before.started_at,
        ended_at=before.ended_at,
        run_now=before.run_now,
        owed=before.owed,
    )


def _follow(run: Run, past: Past, outcome: Outcome) -> Past:
    """Return the past after a run."""
    run_now = run.task.switches.run_now if run.kind is FireKind.RUN_NOW else None
    after = after_run(
        run.task,
        past,
        fire=run.fire,
        started_at=run.started_at,
        ended_at=run.ended_at,
        outcome=outcome,
        run_now=run_now,
    )
    begun = run.claim is None
    if not run.redo or (begun and run.task.policy.guarantee is Guarantee.AT_MOST_ONCE):
        return after
    if run.before is not None and past.fired_at == run.fire:
        past = replace(past, fired_at=run.before.fired_at, owed=run.before.owed)
    return _unserved(after, past)
