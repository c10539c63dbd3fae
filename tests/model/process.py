"""A simulated process: an asyncio loop and a clock of its own; it can be stopped, put to sleep, killed.

All processes of a world share one thread; `walk.py` decides which loop takes its next step. What runs on the loop is
the production's code, unaware of all this.
"""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, override


class SimulatedClock:
    """A clock (`ports.Clock`) that runs at a rate of its own and shows what it likes; the world moves it."""

    def __init__(self, chance: Random, rate_error: float) -> None:
        self.rate = 1 + chance.uniform(-rate_error, rate_error)
        self._offset = chance.uniform(-1e6, 1e6)
        self._wall = chance.uniform(-1e9, 1e9)
        self._chance = chance
        self.real = 0.0
        """The world's time, which nobody in the world knows."""
        self.slept = 0.0

    def wall(self) -> float:
        """Seconds since the epoch, as wrong as somebody set them."""
        return self._wall + self.real * self.rate

    def boottime(self) -> float:
        """Seconds, with those in which the machine slept."""
        return self._offset + self.real * self.rate

    def monotonic(self) -> float:
        """Seconds, without them."""
        return self.boottime() - self.slept

    def draw(self) -> float:
        """A number in [0, 1)."""
        return self._chance.random()

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock wrong."""
        self._wall += seconds

    def real_at(self, monotonic: float) -> float:
        """Return the world's time at which the monotonic clock shows this."""
        return (monotonic + self.slept - self._offset) / self.rate


class _Silence:
    """A selector that nothing ever reaches."""

    def select(self, timeout: float | None = None) -> list[Any]:
        return []

    def close(self) -> None:
        """There is nothing to close."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """An asyncio loop that takes one step when it is told to."""

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__()
        self._clock = clock
        self._clock_resolution = 1e-6
        self._selector = _Silence()

    @override
    def time(self) -> float:
        return self._clock.monotonic()

    def _process_events(self, event_list: list[Any]) -> None:
        """Nothing comes from outside."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in the selector."""

    def due_at(self) -> float:
        """Return the world's time at which there is something to do: infinity is never, its opposite is now."""
        if self._ready:  # type: ignore[attr-defined]
            return float("-inf")
        timers = self._scheduled  # type: ignore[attr-defined]
        return self._clock.real_at(timers[0].when()) if timers else float("inf")

    def step(self) -> None:
        """Run what is due now."""
        asyncio._set_running_loop(self)
        try:
            self._run_once()  # type: ignore[attr-defined]
        finally:
            asyncio._set_running_loop(None)


class Process:
    """One process: loop, clock, and whether it runs."""

    def __init__(self, name: str, chance: Random, rate_error: float, now: float) -> None:
        self.name = name
        self.clock = SimulatedClock(chance, rate_error)
        self.clock.real = now
        self.loop = SimulatedLoop(self.clock)
        self.alive = True
        self.paused_until = now
        """When it goes on, or went on, after its last stop."""
        self.was_stopped = False
        self._asleep = False
        self.errors: list[str] = []
        self._main: list[asyncio.Task[Any]] = []
        self.loop.set_exception_handler(lambda loop, told: self.errors.append(str(told.get("exception", told))))

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start an asyncio task in it, which lives until it ends or the process dies."""
        task = self.loop.create_task(coroutine)
        self._main.append(task)
        task.add_done_callback(self._main.remove)
        return task

    def tell(self, what: Callable[[], object]) -> None:
        """Let something arrive; it is seen when the process runs."""
        if self.alive:
            self.loop.call_soon(what)

    def pause(self, now: float, seconds: float, *, asleep: bool) -> None:
        """Stop it for so long; asleep, its monotonic clock stands still as well."""
        self.wake(now)
        self.paused_until, self.was_stopped, self._asleep = now + seconds, True, asleep
        if asleep:
            self.clock.slept += seconds * self.clock.rate

    def wake(self, now: float) -> None:
        """Let it go on."""
        left = max(0.0, self.paused_until - now)
        if self._asleep:
            self.clock.slept -= left * self.clock.rate
        self.paused_until, self._asleep = self.paused_until - left, False

    def next_step(self, now: float) -> float:
        """Return the world's time at which it has something to do."""
        # From the timer alone, not from `now` and a rest: rounding must not depend on how often somebody asks.
        return max(now, self.loop.due_at(), self.paused_until)

    def step(self, now: float) -> None:
        """Let it do that."""
        self.clock.real = now
        self.loop.step()

    def kill(self) -> None:
        """End it at once: nothing of it runs again. (Its coroutines are closed; what they send goes nowhere.)"""
        self.alive = False

    def bury(self) -> None:
        """Close the loop of a dead process; must not be called from within it."""
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        while asyncio.all_tasks(self.loop):
            self.loop.step()
        self.loop.close()
