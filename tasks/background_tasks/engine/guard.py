"""The watchdog of the loop: sees from a thread that the loop does not answer, and names whose code holds it.

Not here: what to do about a task that does it again and again (`scheduler`). Time that the whole process did not run
(a stopped or starved process) is not a block and is not told.

The loop beats every `BEAT_S`; the thread looks every `LOOK_S`. While a beat is overdue, the thread asks at each look
which run the loop is in, and copies its stack at the first. A block beyond the threshold is told when it is over, and
every `STILL_S` while it lasts. It is a task's if that task was in the loop at nearly every look, and at two at least:
on a busy machine any innocent run may be the one that was interrupted.
"""

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from background_tasks.authoring import RunContext, run_of
from background_tasks.domain.model import TaskUid
from background_tasks.engine.clock import cpu_used, steady
from background_tasks.ports import Observer

THRESHOLD_S = 0.1
"""Longer than this the loop must not be held."""
BEAT_S = 0.05
LOOK_S = 0.025
STILL_S = 5.0
"""A block that lasts is told this often."""
NEARLY = 0.75
"""Share of the looks: the loop may be past the culprit, and not yet at the beat, when it is looked at last."""
STACK_LINES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The loop was held."""

    seconds: float
    task: str
    """Empty: no one task was seen in it nearly each time."""
    uid: TaskUid | None
    stack: str
    over: bool
    """False: it still lasts."""


class LoopGuard:
    """Watches the running loop until `stop`. `on_block` is called in the guard's thread."""

    def __init__(self, on_block: Callable[[Block], None], *, threshold: float = THRESHOLD_S) -> None:
        self._on_block = on_block
        self._threshold = threshold
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._beat_at = steady()
        self._beats = 0
        self._timer: asyncio.TimerHandle | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop guard", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        self._beat_at = steady()
        self._beats += 1
        self._timer = self._loop.call_later(BEAT_S, self._beat)

    def _watch(self) -> None:
        block: _Seen | None = None
        looked, used = steady(), cpu_used()
        while not self._over.wait(LOOK_S):
            now, cpu = steady(), cpu_used()
            slept_through = now - looked > self._threshold and cpu - used < (now - looked) / 2
            looked, used = now, cpu
            if slept_through:  # nobody ran, the loop least of all
                self._beat_at = now
                block = None
                continue
            block = self._look(block, now)

    def _look(self, block: "_Seen | None", now: float) -> "_Seen | None":
        """Look at the loop; return the block that goes on."""
        if block is not None and block.beats != self._beats:
            held = self._beat_at - block.since
            if held > self._threshold:
                self._tell(block, held, over=True)
            block = None
        held = now - self._beat_at - BEAT_S
        if held < LOOK_S:
            return block
        block = block or _Seen(self._beat_at + BEAT_S, self._beats)
        block.look(self._whose(), self._stack)
        if held - block.told > STILL_S:
            block.told = held
            self._tell(block, held, over=False)
        return block

    def _whose(self) -> RunContext[object] | None:
        try:
            current = asyncio.current_task(self._loop)
        except RuntimeError:  # the loop's table changed under our eyes
            return None
        return None if current is None else run_of(current.get_context())

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._thread_id)  # noqa: SLF001  # the documented way to see another thread
        return "".join(traceback.format_stack(frame)[-STACK_LINES:]) if frame is not None else ""

    def _tell(self, block: "_Seen", seconds: float, *, over: bool) -> None:
        run = block.culprit
        self._on_block(
            Block(
                seconds=seconds,
                task=run.task.name if run is not None else "",
                uid=run.task.uid if run is not None else None,
                stack=block.stack,
                over=over,
            )
        )


def watch(observer: Observer, on_blocked: Callable[[TaskUid], None]) -> LoopGuard:
    """Guard the running loop: every block goes to the observer (in the guard's thread), and when it is over and was
    one task's, to `on_blocked` (on the loop)."""
    loop = asyncio.get_running_loop()

    def told(block: Block) -> None:
        observer.blocked(block.task, block.seconds, block.stack)
        if block.over and block.uid is not None:
            loop.call_soon_threadsafe(on_blocked, block.uid)

    guard = LoopGuard(told)
    guard.start()
    return guard


class _Seen:
    """What the looks at one block came to."""

    def __init__(self, since: float, beats: int) -> None:
        self.since = since
        self.beats = beats
        self.told = 0.0
        self.stack = ""
        self._looks: list[RunContext[object] | None] = []

    def look(self, run: RunContext[object] | None, stack: Callable[[], str]) -> None:
        """Add a look; the stack is that of the first one that saw the run."""
        if not self.stack or (run is not None and not any(self._looks)):
            self.stack = stack()
        self._looks.append(run)

    @property
    def culprit(self) -> RunContext[object] | None:
        """The run that was seen nearly each time, if there is one."""
        seen = [run for run in self._looks if run is not None]
        run = max(seen, key=seen.count, default=None)
        times = seen.count(run) if run is not None else 0
        return run if times > 1 and times >= NEARLY * len(self._looks) else None
