"""The heart: one timer, one heap; what is due starts, what ended is filed again.

Not here: what a plan says (`domain.plan`), carrying out a run (`executor`), which slots are ours (`slots`), where
outcomes go (`outcomes`).

Starts come first, since lateness is measured there: a herd is started in chunks, and what ended meanwhile is settled in
chunks after it. Neither holds the loop for longer than `HOLD_S`. Instants of the timetable are loop time; the wall
clock is looked at whenever the timer wakes, and when it stepped, all that hangs on it is planned anew, in chunks.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from background_tasks.domain.herd import CHUNK
from background_tasks.domain.model import Continuous, Interval, SkipReason
from background_tasks.domain.plan import FireKind, plan
from background_tasks.engine.binding import Binding
from background_tasks.engine.records import Armed
from background_tasks.engine.run import Run
from background_tasks.engine.timetable import Timetable
from background_tasks.ports import Clock, Observer

if TYPE_CHECKING:
    from background_tasks.engine.outcomes import Outcomes
    from background_tasks.engine.runs import Runs

HOLD_S = 0.005
"""The longest that starts or settlements go on before the loop gets air."""
STEP_S = 0.5
"""A change of wall minus loop time beyond this is a step of the clock: everything is filed anew."""
DRIFT_S = 0.001
"""A smaller one counts for what is filed from then on."""
CLOCK_CHECK_S = 5.0
"""While nothing is due, the clocks are compared this often."""
EARLY_S = 1e-6
"""A timer may fire this much early (rounding of the loop's own times); more is a coarse loop."""
COARSE_S = 0.001
"""Loops that wake early (uvloop counts whole milliseconds) are asked for no shorter sleep: it would spin."""
TELL_S = 0.25
"""The number of armed tasks changes with every start; the observer hears of it this often."""
STARVED_S = 0.1
"""Settlements wait for starts that are due, but no longer than this."""


class Dispatcher:
    """Wakes when something is due and hands it to `on_due`; plans and files whatever `arm` is given."""

    def __init__(self, clock: Clock, observer: Observer, *, up_since: float | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self.clock = self._clock = clock
        self._observer = observer
        self.runs: Runs
        self.outcomes: Outcomes
        self.timetable: Timetable[Armed] = Timetable(clock.monotonic())
        self.offset = clock.wall() - clock.monotonic()
        """Wall minus loop time, as of the last look."""
        self.wall = clock.wall()
        """Wall time of the last look."""
        self._base = self.offset
        self.up_since = clock.wall() if up_since is None else up_since
        self.closed = True
        self.over: asyncio.Future[None] = self._loop.create_future()
        """Done when there is nothing more to do; failed when the engine itself is broken."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._armed = -1
        self._tell_at = float("-inf")
        self._coarse = False
        self._in_batch = self._sooner = False
        self._chunk_left = False
        self._runs: deque[Run] = deque()
        self._settling = False
        self._deferred_at: float | None = None
        self._replans: Iterator[Armed] | None = None
        self._step = 0.0

    # --- filing --------------------------------------------------------------------------------------------------

    def arm(self, record: Armed) -> bool:
        """Plan the task and file it; False when there is nothing to wait for."""
        assert record.past is not None
        now = self._clock.wall()
        planned = plan(record.task, record.past, now, self._clock.draw(), up_since=self.up_since)
        if planned.skipped:
            for fire, reason in planned.skips:
                self.outcomes.skipped(record, fire, reason)
            if planned.skipped > len(planned.skips):
                self.outcomes.skipped(record, now, SkipReason.MISSED, planned.skipped - len(planned.skips))
        record.past = planned.past
        if planned.when is None or planned.fire is None or self.closed:
            self.timetable.unfile(record)
            return False
        record.fire = planned.fire
        record.kind = planned.kind
        self.file(record, planned.when - self.offset)
        return True

    def file(self, record: Armed, when: float) -> None:
        """Make the task due at an instant of the loop's time."""
        self.timetable.file(record, when)
        if when < self._timer_at:
            if self._in_batch:
                self._sooner = True
            else:
                self._set_timer()

    def look_again(self, record: Armed, seconds: float) -> None:
        """Have a task that is due, and cannot start, be due again a little later."""
        self.file(record, self._clock.monotonic() + seconds)

    def later(self, seconds: float, work: Callable[[], bool]) -> None:
        """Do a little `work`, later and again and again, until it says that nothing is left. Starts go first."""
        self._loop.call_later(seconds, self._do, work, self._clock.monotonic() + seconds)

    def _do(self, work: Callable[[], bool], since: float) -> None:
        monotonic = self._clock.monotonic
        now = monotonic()
        if self._chunk_left and now - since < STARVED_S:
            self._loop.call_soon(self._do, work, since)
            return
        more = True
        with self._batch():
            while more and monotonic() - now < HOLD_S:
                more = work()
        if more:
            self._loop.call_soon(self._do, work, now)

    # --- waking --------------------------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        if self._chunk_left or self.closed:
            return
        timetable, now = self.timetable, self._clock.monotonic()
        if timetable.armed != self._armed and now >= self._tell_at:
            self._armed, self._tell_at = timetable.armed, now + TELL_S
            self._observer.armed(self._armed)
        timetable.sweep()
        when = timetable.next_when()
        if when is None:
            self._drop_timer()
            return
        when = min(when, now + CLOCK_CHECK_S)
        if self._coarse:
            when = max(when, now + COARSE_S)
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
        self._timer_at = when
        # A loop may answer an older time than it is now (uvloop caches it): what it is asked for must be as old.
        stale = now - self._loop.time()
        self._timer = self._loop.call_at(when - stale if stale > COARSE_S else when, self._wake)

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, float("inf")

    def _wake(self) -> None:
        now = self._clock.monotonic()
        if self._timer is not None and self._timer_at - now > EARLY_S:
            self._coarse = True
        self._drop_timer()
        if self.closed:
            return
        self._compare_clocks(now)
        with self._batch():
            self._chunk_left = self._start_due(now)
        if self._chunk_left:
            self._loop.call_soon(self._wake)

    def _start_due(self, now: float) -> bool:
        """Start what is due, one chunk; True when there may be more."""
        pop, on_due = self.timetable.pop_due, self.runs.due
        monotonic, until = self._clock.monotonic, now + HOLD_S
        for count in range(1, CHUNK + 1):
            record = pop(now + EARLY_S)
            if record is None:
                return False
            on_due(record)
            if not count & 7 and monotonic() > until:
                break
        return True

    @contextmanager
    def _batch(self) -> Iterator[None]:
        """Look at the timer once for all that is filed inside. An error here is a bug: it ends the scheduler."""
        self._in_batch = True
        try:
            yield
        except BaseException as error:
            self.close()
            if not self.over.done():
                self.over.set_exception(error)
            raise
        finally:
            self._in_batch = False
        if self._sooner or self._timer is None:
            self._sooner = False
            self._set_timer()

    def open(self) -> None:
        """Begin to start what is due."""
        self.closed = self.over.done()

    def close(self) -> None:
        """Start nothing more."""
        self.closed = True
        self._drop_timer()

    def finish(self) -> None:
        """There is nothing more to do."""
        self.close()
        if not self.over.done():
            self.over.set_result(None)

    # --- what ended -----------------------------------------------------------------------------

    def settle(self, run: Run) -> None:
        """Have a run that ended looked at soon."""
        self._runs.append(run)
        if not self._settling:
            self._settling = True
            self._loop.call_soon(self._settle)

    def settle_now(self) -> None:
        """Look at all of them before this returns."""
        while self._runs:
            self.runs.finish(self._runs.popleft())

    def _settle(self) -> None:
        now = self._clock.monotonic()
        if self._chunk_left and (self._deferred_at is None or now - self._deferred_at < STARVED_S):
            self._deferred_at = self._deferred_at or now
            self._loop.call_soon(self._settle)
            return
        self._deferred_at = None
        monotonic, until = self._clock.monotonic, now + HOLD_S
        with self._batch():
            count = 0
            while self._runs:
                self.runs.finish(self._runs.popleft())
                count += 1
                if not count & 7 and monotonic() > until:
                    break
        self._settling = bool(self._runs)
        if self._settling:
            self._loop.call_soon(self._settle)

    # --- steps of the clock --------------------------------------------------------------------------------------

    def _compare_clocks(self, now: float) -> None:
        self.wall = self._clock.wall()
        if abs(self.wall - now - self.offset) < DRIFT_S:
            return
        self.offset = self._clock.wall() - self._clock.monotonic()  # once more: we may have slept between two looks
        step = self.offset - self._base
        if abs(step) <= STEP_S:
            return
        if self._replans is None:
            self._loop.call_soon(self._replan)
        else:  # a second step before the first was worked off: finish that one
            for record in self._replans:
                self._follow_step(record, self._step)
        self._base, self._step = self.offset, step
        self._replans = iter(self.timetable)

    def _replan(self) -> None:
        if self._replans is None or self.closed:
            return
        until = self._clock.monotonic() + HOLD_S
        for record in self._replans:
            self._follow_step(record, self._step)
            if self._clock.monotonic() > until:
                self._loop.call_soon(self._replan)
                return
        self._replans = None
        self.timetable.sweep()

    def _follow_step(self, record: Armed, step: float) -> None:
        """Re-file what hangs on the wall clock; what counts from the end of a run keeps its instant."""
        past = record.past
        if past is None or not isinstance(record.binding, Binding):
            return
        if isinstance(record.task.policy.schedule.cadence, Interval | Continuous):
            record.fire += step
            record.past = replace(
                past,
                fired_at=None if past.fired_at is None else past.fired_at + step,
                started_at=None if past.started_at is None else past.started_at + step,
                ended_at=None if past.ended_at is None else past.ended_at + step,
            )
            if not record.task.policy.schedule.blackouts:
                return
        if self.timetable.is_filed(record) and record.kind is not FireKind.RUN_NOW:
            self.arm(record)
