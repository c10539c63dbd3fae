"""Time that jumps: an asyncio loop whose selector never waits, and the clock that it moves.

Not here: a simulation of several machines; one `VirtualTime` is one loop on one machine. Real sockets and threads may
be used on the loop, but whether they answer before the next timer is a matter of luck, except for threads of
`asyncio.to_thread`: time stands still while they work.
"""

import asyncio
import heapq
import random
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from types import TracebackType
from typing import Any, Self, TypeVarTuple, override

START = 1_767_225_600.0
"""Wall time at which a virtual clock begins unless told otherwise: 2026-01-01 00:00 UTC, a Thursday."""
PATIENCE_S = 2.0
"""Real seconds to wait for a thread or a socket when no timer is left that could be jumped to."""
_SAME_INSTANT_S = 1e-6
"""A jump that ends this close to a timer ends at the timer: `now + (when - now)` may miss it by a rounding."""

_Ts = TypeVarTuple("_Ts")


class Stuck(RuntimeError):
    """Everything waits for something that nothing can bring: no timer is armed, no thread works, no socket speaks."""


class VirtualTime:
    """A clock for tests (`ports.Clock`) and the loop that it drives. Use as a context manager, or the fixture.

    `now` starts at 0 and is what `loop.time()` and `monotonic()` say. `wall` starts at `START` or as given.
    Equal seeds draw equal numbers. `patience` is in real seconds: how long a silent thread or socket holds time up.
    """

    def __init__(self, *, wall: float = START, seed: int = 0, patience: float = PATIENCE_S) -> None:
        self.now = 0.0
        self.patience = patience
        self._wall_at_zero = wall
        self._slept = 0.0
        self._random = random.Random(seed)
        self._runner: asyncio.Runner | None = None

    # --- the clock -----------------------------------------------------------------------------------------------

    def wall(self) -> float:
        """Seconds since the epoch; moved by `step_wall`, and by everything that moves `now`."""
        return self._wall_at_zero + self._slept + self.now

    def monotonic(self) -> float:
        """Seconds on the loop's own time base."""
        return self.now

    def boottime(self) -> float:
        """Seconds that went on while the machine slept."""
        return self.now + self._slept

    def draw(self) -> float:
        """The next number in [0, 1) of the seed's sequence."""
        return self._random.random()

    def step_wall(self, seconds: float) -> None:
        """Step the wall clock, as a person or NTP does; negative is back. No timer of the loop moves."""
        self._wall_at_zero += seconds

    def set_wall(self, instant: float) -> None:
        """Step the wall clock to an instant (seconds since the epoch)."""
        self.step_wall(instant - self.wall())

    def sleep_machine(self, seconds: float) -> None:
        """Let the machine sleep: wall and boot time go on, the loop's time base and its timers do not."""
        self._slept += _positive(seconds)

    def stall(self, seconds: float) -> None:
        """Let time pass while the loop does nothing, as code that blocks it (or a stopped process) would."""
        self.now += _positive(seconds)

    # --- the loop ------------------------------------------------------------------------------------------------

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop; made when first asked for."""
        return self._runner_now().get_loop()

    def run[T](self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run to the end and return the result. Asyncio tasks that it left go on at the next `run` or `advance`.

        Raises what the coroutine raises, and `Stuck` when it waits for something that cannot come.
        """
        if _running_loop() is not None:
            coroutine.close()
            raise RuntimeError("a loop runs here already: use virtual_time in a plain `def` test, not in `async def`")
        return self._runner_now().run(coroutine)

    def advance(self, seconds: float) -> None:
        """Let the loop run for so many seconds, and do all that is due at the last instant, before this returns.

        Inside a coroutine use `await asyncio.sleep(seconds)`.
        """
        self.run(self._pass(self.now + _positive(seconds)))

    def close(self) -> None:
        """Cancel what still runs and close the loop. The clock stays readable."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()

    async def _pass(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, _JumpingLoop)
        await loop.stop_at(until)

    def _runner_now(self) -> asyncio.Runner:
        if self._runner is None:
            self._runner = asyncio.Runner(loop_factory=lambda: _JumpingLoop(self))
        return self._runner

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def clock_of(loop: asyncio.AbstractEventLoop) -> VirtualTime | None:
    """Return the virtual clock that a loop runs by; None for an ordinary loop."""
    return loop.clock if isinstance(loop, _JumpingLoop) else None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _positive(seconds: float) -> float:
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"time goes forward by a finite number of seconds, not by {seconds!r}")
    return seconds


class _JumpingLoop(asyncio.SelectorEventLoop):
    """An asyncio loop on virtual time."""

    def __init__(self, clock: VirtualTime) -> None:
        self.clock = clock
        self._instants: list[float] = []
        self._threads = 0
        self._until = float("inf")
        self._arrived: asyncio.Future[None] | None = None
        super().__init__(_JumpingSelector(self))
        # asyncio runs timers with `when < now + resolution`; its own 1e-9 vanishes beside a `now` of some months.
        self._clock_resolution = _SAME_INSTANT_S

    @override
    def time(self) -> float:
        return self.clock.now

    @override
    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Any = None
    ) -> asyncio.TimerHandle:
        heapq.heappush(self._instants, when)
        return super().call_at(when, callback, *args, context=context)

    @override
    def run_in_executor[*Ts, T](
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._threads += 1
        future.add_done_callback(self._thread_ended)
        return future

    @override
    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        self._threads += 1
        try:
            await super().shutdown_default_executor(timeout)
        finally:
            self._threads -= 1

    @property
    def patience(self) -> float:
        """Real seconds to wait for what is not a timer."""
        return self.clock.patience

    @property
    def works_in_threads(self) -> bool:
        """Whether a thread does something that the loop waits for."""
        return self._threads > 0

    def waits_for_the_world(self, seconds: float) -> bool:
        """Whether neither a timer nor an end of time is ahead."""
        return self.clock.now + seconds == self._until == float("inf")

    def stop_at(self, instant: float) -> "asyncio.Future[None]":
        """Return what is done when there is nothing more to do up to this instant."""
        self._until, self._arrived = instant, self.create_future()
        return self._arrived

    def jump(self, seconds: float) -> bool:
        """Move the clock to the next timer, exactly, or to where it is to stop. False: there is nowhere to go."""
        target = self.clock.now + seconds
        while self._instants and self._instants[0] < target - _SAME_INSTANT_S:
            heapq.heappop(self._instants)
        if self._instants and abs(self._instants[0] - target) <= _SAME_INSTANT_S:
            target = self._instants[0]
        if target > self._until:
            target, self._until = self._until, float("inf")
            if self._arrived is not None and not self._arrived.done():
                self._arrived.set_result(None)
        elif target == float("inf"):
            return False
        self.clock.now = max(self.clock.now, target)
        return True

    def _thread_ended(self, _: asyncio.Future[Any]) -> None:
        self._threads -= 1


class _JumpingSelector(selectors.DefaultSelector):
    """Looks at real sockets without waiting; where asyncio would wait for a timer, moves the clock instead."""

    def __init__(self, loop: _JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        waits = float("inf") if timeout is None else timeout
        if self._loop.works_in_threads or self._loop.waits_for_the_world(waits):
            ready = super().select(self._loop.patience)
        if not ready and not self._loop.jump(waits):
            raise Stuck("nothing is left that could wake the loop: no timer, no thread, no socket; what is awaited?")
        return ready
