"""Several observers as one, and the one that logs.

Not here: metrics and spans. What happens very often is logged at `debug` and costs next to nothing when that is off;
what goes wrong is logged at `warning`, a task's own trouble in a bounded number of lines.
"""

from collections.abc import Callable
from typing import Any

import structlog

from background_tasks.domain.model import Outcome, RunRecord, SkipReason, Task
from background_tasks.domain.rates import Bucket, admit
from background_tasks.ports import Clock, Observer

TASK_PER_SECOND, TASK_BURST = 0.1, 5.0
"""Lines of one kind about one task."""
ALL_PER_SECOND, ALL_BURST = 50.0, 200.0
"""Lines about all tasks."""
MAX_BUCKETS = 10_000
_LEVELS = {
    Outcome.CANCELLED: "info",
    Outcome.SKIPPED: "info",
    Outcome.FAILED: "warning",
    Outcome.TIMED_OUT: "warning",
    Outcome.LOST: "warning",
    Outcome.SUPERSEDED: "warning",
}

log = structlog.get_logger("background_tasks.telemetry")


class Observers:
    """Tells each observer (`ports.Observer`). One that raises is logged; the others and the engine never notice."""

    def __init__(self, *observers: Observer) -> None:
        self._armed = tuple(each.armed for each in observers)
        self._started = tuple(each.started for each in observers)
        self._ended = tuple(each.ended for each in observers)
        self._skipped = tuple(each.skipped for each in observers)
        self._blocked = tuple(each.blocked for each in observers)
        self._slots_held = tuple(each.slots_held for each in observers)
        self._lease_renewed = tuple(each.lease_renewed for each in observers)

    def armed(self, count: int) -> None:
        """So many tasks are filed now."""
        _tell(self._armed, count)

    def started(self, task: Task, run_id: str, scheduled_for: float, lateness: float) -> None:
        """A run began."""
        _tell(self._started, task, run_id, scheduled_for, lateness)

    def ended(self, task: Task, run: RunRecord) -> None:
        """A run ended."""
        _tell(self._ended, task, run)

    def skipped(self, task: Task, scheduled_for: float, reason: SkipReason) -> None:
        """A fire time had no run."""
        _tell(self._skipped, task, scheduled_for, reason)

    def blocked(self, task: str, seconds: float, stack: str) -> None:
        """The loop was held by a task's code."""
        _tell(self._blocked, task, seconds, stack)

    def slots_held(self, count: int) -> None:
        """So many slots are ours."""
        _tell(self._slots_held, count)

    def lease_renewed(self, seconds: float, ok: bool) -> None:
        """A renewal took so long, and held or not."""
        _tell(self._lease_renewed, seconds, ok)


def _tell(methods: tuple[Callable[..., None], ...], *news: object) -> None:
    for method in methods:
        try:
            method(*news)
        except Exception:
            log.exception("observer_failed", observer=getattr(method, "__qualname__", repr(method)))


class LogObserver:
    """Logs what happens (`ports.Observer`), as logging is configured when it is made.

    Called from several threads; a line too many or too few does not matter.
    """

    def __init__(self, clock: Clock, logger: Any = None) -> None:
        self._clock = clock
        # Bound once: the lazy logger would look up its configuration for every line, also for those not written.
        self._log = (structlog.get_logger("background_tasks.run") if logger is None else logger).bind()
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._all: Bucket | None = None
        self._slots: int | None = None
        self._renewed = True

    def armed(self, count: int) -> None:
        """Nothing to say: it changes all the time."""

    def started(self, task: Task, run_id: str, scheduled_for: float, lateness: float) -> None:
        """A run began."""
        self._log.debug("run_started", task=task.name, run=run_id, lateness_s=lateness)

    def ended(self, task: Task, run: RunRecord) -> None:
        """A run ended: quiet when it succeeded, a warning when it did not."""
        seconds = run.ended_at - run.started_at
        if run.outcome is Outcome.SUCCEEDED:
            self._log.debug("run_ended", task=task.name, run=run.run_id, outcome=run.outcome.value, duration_s=seconds)
            return
        why = {"reason": run.reason, "message": run.message, "fence": str(run.fence) if run.fence else ""}
        facts = {"task": task.name, "run": run.run_id, "outcome": run.outcome.value, "attempt": run.attempt}
        facts |= {"duration_s": round(seconds, 6), **{name: text for name, text in why.items() if text}}
        self._say(_LEVELS[run.outcome], "run_ended", facts)

    def skipped(self, task: Task, scheduled_for: float, reason: SkipReason) -> None:
        """A fire time had no run."""
        self._log.debug("run_skipped", task=task.name, scheduled_for=scheduled_for, reason=str(reason))

    def blocked(self, task: str, seconds: float, stack: str) -> None:
        """The loop was held by a task's code."""
        self._say("warning", "loop_blocked", {"task": task, "seconds": round(seconds, 3), "stack": stack})

    def slots_held(self, count: int) -> None:
        """So many slots are ours; said when it changes."""
        if count != self._slots:
            self._slots = count
            self._log.info("slots_held", count=count)

    def lease_renewed(self, seconds: float, ok: bool) -> None:
        """A renewal did not hold, or holds again."""
        if not ok:
            self._say("warning", "lease_renewal_failed", {"task": "", "seconds": round(seconds, 3)})
        elif not self._renewed:
            self._log.info("lease_renewed_again", seconds=round(seconds, 3))
        self._renewed = ok

    def _say(self, level: str, event: str, facts: dict[str, object]) -> None:
        now = self._clock.monotonic()
        key = (event, str(facts["task"]))
        if len(self._buckets) >= MAX_BUCKETS:
            self._buckets.clear()
        before = self._buckets.get(key)
        self._buckets[key], may = admit(before, now, per_second=TASK_PER_SECOND, burst=TASK_BURST)
        if not may:
            return
        self._all, may = admit(self._all, now, per_second=ALL_PER_SECOND, burst=ALL_BURST)
        if not may:
            return
        held_back = before.held_back if before else 0
        getattr(self._log, level)(event, **facts, **({"not_logged": held_back} if held_back else {}))
