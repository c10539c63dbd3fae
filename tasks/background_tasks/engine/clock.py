"""The one place that reads clocks and draws random numbers.

Not here: decisions about time (`domain`), timers (`scheduler`).
"""

import random
import time


class SystemClock:
    """The machine's own clocks (`ports.Clock`)."""

    __slots__ = ()
    is_machine = True
    """Tells it from an injected clock: where replicas must agree, the store's time is taken instead of this one."""

    def wall(self) -> float:
        """Seconds since the epoch; steps when somebody sets the clock."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds of CLOCK_MONOTONIC: the time base of asyncio's loop and of uvloop's."""
        return time.monotonic()

    def boottime(self) -> float:
        """Seconds that go on while the machine sleeps; CLOCK_MONOTONIC where the platform has no such clock."""
        return time.clock_gettime(_BOOTTIME)

    def draw(self) -> float:
        """A random number in [0, 1)."""
        return random.random()


_BOOTTIME: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady() -> float:
    """Seconds that never step, for what measures this process itself: virtual time does not reach it."""
    return time.perf_counter()


def cpu_used() -> float:
    """Seconds of a core that this process has used, all threads together."""
    return time.process_time()
