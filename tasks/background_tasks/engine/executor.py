"""Carries out runs: one asyncio task each, inside one TaskGroup that none outlives.

Not here: when to start one, what its end means for the schedule (`dispatch`). Whatever a coroutine does, raises or
refuses to do ends as an outcome of its own run; the worker and its neighbours never notice.

A run that is told to stop is cancelled and has a grace to clean up in. Then it is cancelled once more, for coroutines
that swallowed the first one. One that still goes on is recorded as it was told to end, shown as stuck, and keeps its
slot: what cannot be stopped must not be started a second time somewhere else. Python cannot end it; the process can,
and at the end of a drain that is what a worker does.
"""

import asyncio
import logging
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from background_tasks.authoring import TaskReport, enter_run
from background_tasks.domain.model import Outcome, SkipReason
from background_tasks.domain.retrying import retry_delay
from background_tasks.engine.reporting import Unwritable, kept
from background_tasks.engine.run import Run
from background_tasks.errors import NotLeader, Superseded
from background_tasks.ports import Clock, Observer

GRACE_S = 10.0
"""How long a run may take to stop after it was told to."""
LAST_CALL_S = 1.0
"""How long the second cancellation may take."""
MESSAGE_CHARS = 500
"""Longer messages are cut: they travel in status and ledger."""
_log = logging.getLogger(__name__)
_RETRIED = frozenset({Outcome.FAILED, Outcome.TIMED_OUT})
_REPORTED: Mapping[str, Outcome] = {
    "ok": Outcome.SUCCEEDED,
    "partial": Outcome.SUCCEEDED,
    "noop": Outcome.SUCCEEDED,
    "deferred": Outcome.SKIPPED,
    "superseded": Outcome.SUPERSEDED,
    "error": Outcome.FAILED,
}


class Executor:
    """Starts runs eagerly (a run that awaits nothing never meets the loop's queue) and sees each to its end."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        *,
        clock: Clock,
        observer: Observer,
        on_end: Callable[[Run], None],
        on_stuck: Callable[[Run], None],
        grace: float = GRACE_S,
    ) -> None:
        self._group = group
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._observer = observer
        self._on_end = on_end
        self._on_stuck = on_stuck
        self._grace = grace
        self._usual: Any = None
        self._once: Any = self._eager
        self._stopping: dict[Run, asyncio.TimerHandle] = {}
        """Runs that were told to stop, and the end of their patience."""

    def start(self, run: Run) -> None:
        """Begin the run now, up to its first real wait, before this returns."""
        # TaskGroup cannot start eagerly before Python 3.14. The factory stands for this one asyncio task: what the
        # coroutine itself creates is made by whatever factory the loop had.
        self._usual = self._loop.get_task_factory()
        self._loop.set_task_factory(self._once)
        life = self._live(run)
        try:
            self._group.create_task(life)
        except RuntimeError:  # the group is closing: nothing was started
            self._loop.set_task_factory(self._usual)
            life.close()
            run.outcome, run.message = Outcome.CANCELLED, "the worker was stopping"
            self._on_end(run)

    def stop(self, run: Run, cause: Outcome, message: str) -> None:
        """Tell the run to end with this outcome; returns at once. A lost fence is stronger than any other cause."""
        if run.outcome is not None or run.asyncio_task is None:
            return
        if run.cause is None or cause is Outcome.SUPERSEDED:
            run.cause, run.cause_message = cause, message
        if run not in self._stopping:
            self._stopping[run] = self._loop.call_later(self._grace, self._call_again, run)
            self._cancel(run)

    def close(self) -> None:
        """Set no timer any more."""
        for timer in self._stopping.values():
            timer.cancel()

    def _eager(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> "asyncio.Task[object]":
        loop.set_task_factory(self._usual)
        options["eager_start"] = True
        return asyncio.Task(coroutine, loop=loop, **options)

    async def _live(self, run: Run) -> None:
        run.asyncio_task = asyncio.current_task()
        enter_run(run.context)
        try:
            goes_on = run.claim is None or await self._claim(run)
            if goes_on:
                run.started_at = started_at = self._clock.wall()
                self._observer.started(run.task, run.run_id, run.fire, started_at - run.fire)
            while goes_on:
                self._limit(run)
                try:
                    _judge_result(run, await run.call(run.context))
                except BaseException as error:  # noqa: BLE001  # SystemExit of a task is its failure, not our end
                    self._judge_error(run, error)
                self._settle_attempt(run)
                goes_on = run.outcome in _RETRIED and await self._again(run)
        except asyncio.CancelledError:
            run.outcome, run.message = run.cause or Outcome.CANCELLED, run.cause_message
        finally:
            self._end(run)

    async def _claim(self, run: Run) -> bool:
        assert run.claim is not None
        run.started_at = self._clock.wall()
        try:
            if await run.claim(run):
                run.claim = None
                return True
        except (Superseded, NotLeader) as error:
            run.outcome, run.message = Outcome.SUPERSEDED, describe(error)
        else:
            run.outcome, run.message = Outcome.SKIPPED, "this fire time was claimed before"
        return False

    def _limit(self, run: Run) -> None:
        timeout = run.task.policy.timeout
        if timeout is not None:
            run.timer = self._loop.call_later(timeout, self._time_out, run, timeout)

    def _settle_attempt(self, run: Run) -> None:
        """Why a run was told to stop counts more than what it made of it."""
        if run.timer is not None:
            run.timer.cancel()
            run.timer = None
        if run.cause is not None:
            run.outcome, run.reason, run.message = run.cause, "", run.cause_message

    def _judge_error(self, run: Run, error: BaseException) -> None:
        if run.cause is not None:
            return
        run.message = describe(error)
        if isinstance(error, Superseded | NotLeader):
            run.outcome = Outcome.SUPERSEDED
        elif not isinstance(error, asyncio.CancelledError):
            run.outcome = Outcome.FAILED
            past = run.record.past
            if past is None or not past.failures:  # the first in a row has its stack in the log, the others their line
                _log.error("run %s of %s failed", run.run_id, run.task.name, exc_info=error)
        elif run.asyncio_task is not None and run.asyncio_task.cancelling() > run.cancels:
            run.outcome, run.message = Outcome.CANCELLED, "the worker was stopped"
        else:
            run.outcome, run.message = Outcome.FAILED, "it raised CancelledError, and nobody had cancelled it"
        if isinstance(error, Unwritable) or not isinstance(error, Exception):
            run.last = True  # the work is done, or the exit was meant

    async def _again(self, run: Run) -> bool:
        """Wait for the next attempt; False: that was the last one."""
        retry = run.task.policy.retry
        if run.last or run.stuck or run.attempt >= retry.attempts or run.cause not in (None, Outcome.TIMED_OUT):
            return False
        delay = retry_delay(retry, run.attempt, self._clock.draw())
        if delay is None:
            return False
        self._forgive(run)
        outcome, message = run.outcome, run.message
        run.outcome = None
        await asyncio.sleep(delay)
        run.attempt += 1
        run.context.attempt = run.attempt
        _log.info("run %s of %s: attempt %d after %s: %s", run.run_id, run.task.name, run.attempt, outcome, message)
        run.message = ""
        return True

    def _forgive(self, run: Run) -> None:
        """Take back the cancellation that a timeout was: the next attempt begins clean."""
        self._patient_no_more(run)
        while run.cancels and run.asyncio_task is not None:
            run.asyncio_task.uncancel()
            run.cancels -= 1
        run.cause, run.cause_message = None, ""

    def _time_out(self, run: Run, timeout: float) -> None:
        run.timer = None
        self.stop(run, Outcome.TIMED_OUT, f"it passed its timeout of {timeout:g} s")

    def _end(self, run: Run) -> None:
        run.ended_at = max(self._clock.wall(), run.started_at)
        self._patient_no_more(run)
        if run.outcome is None:
            run.outcome = Outcome.CANCELLED
        self._on_end(run)

    def _cancel(self, run: Run) -> None:
        if run.asyncio_task is not None and run.asyncio_task.cancel(run.cause_message):
            run.cancels += 1

    def _call_again(self, run: Run) -> None:
        self._cancel(run)
        self._stopping[run] = self._loop.call_later(LAST_CALL_S, self._give_up, run)

    def _give_up(self, run: Run) -> None:
        del self._stopping[run]
        run.stuck = True
        run.ended_at = max(self._clock.wall(), run.started_at)
        run.message = f"{run.cause_message}; it ignored its cancellation for {self._grace:g} s and goes on"
        self._on_stuck(run)

    def _patient_no_more(self, run: Run) -> None:
        timer = self._stopping.pop(run, None)
        if timer is not None:
            timer.cancel()


def describe(error: BaseException) -> str:
    """Say an error in one line, whatever its `__str__` does."""
    return "".join(traceback.format_exception_only(error)).strip()[:MESSAGE_CHARS]


def _judge_result(run: Run, result: object) -> None:
    run.outcome = Outcome.SUCCEEDED
    if isinstance(result, TaskReport):
        run.outcome = _REPORTED[result.outcome]
        run.reason = SkipReason.DEFERRED.value if result.outcome == "deferred" else ""
        run.message = (result.reason or "; ".join(result.errors))[:MESSAGE_CHARS]
        run.report = kept(result.model_dump(exclude_defaults=True), run.task.name)
    elif isinstance(result, Mapping):
        run.report = kept(result, run.task.name)
