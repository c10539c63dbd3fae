"""Keeps long-lived coroutines alive while this process leads, and only then.

Not here: how leadership is kept (`membership`), where it is stored, what the environment says (`worker.supervisor`).
Leading is holding the one slot of a pool; without a membership this process leads for ever.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from background_tasks.domain.model import Continuous, Fence, Retry
from background_tasks.domain.retrying import HELD_S, restart_delay
from background_tasks.engine.membership import Gained, Lost, Membership, SlotEvent, Surrender
from background_tasks.errors import NotLeader, Refused
from background_tasks.ports import Clock

type TaskFactory = Callable[[], Awaitable[object]]
type Join = Callable[[Callable[[SlotEvent], None]], Membership]

BACKOFF = Retry(initial_backoff=1.0, factor=2.0, max_backoff=60.0)
"""Between a crash and the next start, with full jitter; begins anew after a task held for five minutes."""
RESTART_S = 1.0
"""Between an end without an error and the next start."""
STOP_TIMEOUT_S = 10.0
"""A task that ignores its cancellation longer is named, and no longer waited for."""
NUDGE_S = 3.0
"""A task that goes on after its cancellation is cancelled again so often; until then it may clean up."""

_AT_ONCE = Continuous(restart_delay=0.0)
_log = logging.getLogger("background_tasks.supervisor")


class Supervisor:
    """Starts registered tasks when it gains leadership and cancels them when that ends. For one event loop."""

    def __init__(self, clock: Clock, join: Join | None) -> None:
        self._clock = clock
        self._join = join
        self._factories: dict[str, TaskFactory] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._root: asyncio.Task[None] | None = None
        self._membership: Membership | None = None
        self._leaving: Membership | None = None
        self._fence: Fence | None = None
        self._why = "nobody has been elected here yet"
        self._leads = False

    @property
    def leads(self) -> bool:
        """Say whether the tasks may run now, by this process's own clock."""
        if self._membership is None or not self._leads:
            return self._leads
        return self._membership.fence(0) is not None

    def register_task(self, name: str, task_factory: TaskFactory) -> None:
        """Have `task_factory()`, a coroutine, run whenever this process leads. May be called before or after `start`.

        Raises `Refused` for a name that is taken or a factory that cannot be called.
        """
        if name in self._factories:
            raise Refused(f"supervised task {name!r} is registered already; give another name")
        if not callable(task_factory):
            raise Refused(f"supervised task {name!r}: {task_factory!r} is not a function that returns a coroutine")
        self._factories[name] = task_factory
        if self._leads:
            self._launch(name)

    async def start(self) -> None:
        """Begin, without waiting for leadership. Starting again changes nothing."""
        if self._root is not None and not self._root.done():
            return
        self._told_to_stop = asyncio.Event()
        self._group = asyncio.TaskGroup()
        # The root of this loop's tree of asyncio tasks: `start` must not block, `shutdown` waits for it.
        self._root = asyncio.get_running_loop().create_task(self._live(), name="supervisor")
        await asyncio.sleep(0)

    async def verify(self) -> None:
        """Ask the store whether this process leads, now. Raises `NotLeader`, a `RuntimeError`, when it does not."""
        if self._join is None:
            return
        if self._membership is None or self._fence is None:
            raise NotLeader(f"this process is not the leader: {self._why}")
        await self._membership.verify(self._fence)

    async def shutdown(self) -> None:
        """Cancel the tasks, wait for them, release leadership. Safe to call twice, and before `start`."""
        root = self._root
        if root is None:
            return
        self._told_to_stop.set()
        await asyncio.wait({root}, timeout=STOP_TIMEOUT_S + NUDGE_S)
        if not root.done():
            _log.error("supervised tasks ignore their cancellation: %s", ", ".join(sorted(self._running)))
            return
        self._root = None
        root.result()

    async def _live(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with self._group:
                if self._join is None:
                    self._lead()
                else:
                    self._membership = self._join(lambda event: self._hop(loop, event))
                    self._membership.start()
                await self._told_to_stop.wait()
                await self._leave()
        finally:
            self._told_to_stop.set()
            self._leads, self._fence, self._why = False, None, "it has shut down"
            await self._leave()

    async def _leave(self) -> None:
        """Stop in order: the tasks, then the slot, then the lease."""
        membership, self._membership = self._membership, None
        if membership is not None:
            self._leaving = membership
            await asyncio.to_thread(membership.stop, STOP_TIMEOUT_S)
        await self._cancel_all()

    def _hop(self, loop: asyncio.AbstractEventLoop, event: SlotEvent) -> None:
        with contextlib.suppress(RuntimeError):  # a loop that has ended runs nothing that could be stopped
            loop.call_soon_threadsafe(self._hear, event)

    def _hear(self, event: SlotEvent) -> None:
        match event:
            case Gained(fence=fence):
                self._fence = fence
                if not self._told_to_stop.is_set():
                    self._lead()
            case Surrender() | Lost():
                self._leads = False
                if isinstance(event, Lost):
                    self._fence, self._why = None, event.reason
                self._yield_slot(event)

    def _lead(self) -> None:
        self._leads = True
        _log.info("leading: starting %d tasks", len(self._factories))
        for name in self._factories:
            self._launch(name)

    def _launch(self, name: str) -> None:
        if name not in self._running:
            self._running[name] = self._group.create_task(self._keep(name, self._factories[name]), name=name)

    def _yield_slot(self, event: Surrender | Lost) -> None:
        """Answer when nothing runs any more; at once where nothing does."""
        membership = self._membership or self._leaving
        assert membership is not None, "only a membership makes events"
        if self._running:
            self._group.create_task(self._answer(membership, event), name="stand down")
        else:
            membership.stopped(event.slot, event.fence)

    async def _answer(self, membership: Membership, event: Surrender | Lost) -> None:
        await self._cancel_all()
        membership.stopped(event.slot, event.fence)

    async def _cancel_all(self) -> None:
        while self._running:
            for task in self._running.values():
                task.cancel()
            await asyncio.wait(set(self._running.values()), timeout=NUDGE_S)
            self._running = {name: task for name, task in self._running.items() if not task.done()}

    async def _keep(self, name: str, factory: TaskFactory) -> None:
        """Run one task again and again, whatever it does, until it is cancelled from here."""
        failures = 0
        while True:
            began = self._clock.monotonic()
            error = await _crash_of(factory)
            held_for = self._clock.monotonic() - began
            if error is None:
                failures, delay = 0, RESTART_S
                _log.warning("supervised task %s ended; it starts again in %.1f s", name, delay)
            else:
                failures = 1 if held_for >= HELD_S else failures + 1
                delay = restart_delay(_AT_ONCE, BACKOFF, failures=failures, held_for=0.0, draw=self._clock.draw())
                _log.error("supervised task %s crashed; it starts again in %.1f s", name, delay, exc_info=error)
            await asyncio.sleep(delay)


async def _crash_of(factory: TaskFactory) -> BaseException | None:
    """Run a task to its end. Its own faults come back as values; a cancellation from here and Ctrl-C go through."""
    try:
        await factory()
    except asyncio.CancelledError as error:
        asyncio_task = asyncio.current_task()
        if asyncio_task is not None and asyncio_task.cancelling():
            raise
        return error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # the caller logs it; a task's SystemExit is not the program's
        return error
    return None
