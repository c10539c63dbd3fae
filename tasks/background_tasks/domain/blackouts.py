"""When nothing may be due: whether an instant lies in a blackout, and when it ends.

Not here: what a blackout does to a fire time. Windows are half open: at its very end a blackout is over.
"""

from functools import lru_cache

from background_tasks.domain.cron import cron_after, cron_latest
from background_tasks.domain.model import Blackout

BUCKET_S = 3600.0
"""Windows are learnt by the hour and remembered: a task that fires each second asks 3,600 times in one."""
STEPS = 64
"""Windows that are crossed in search of an open instant; beyond it we say there is none."""
JOINED = 64
"""Starts that are joined to one window: with `STEPS`, eleven years of days closed one by one, 170 days of hours."""

type Window = tuple[float, float]


@lru_cache(maxsize=4096)
def _windows(blackout: Blackout, bucket: int) -> tuple[Window, ...]:
    """List the windows that touch an hour; a very patched one may be told shorter than it is."""
    low, high = bucket * BUCKET_S, (bucket + 1) * BUCKET_S
    starts, duration = blackout.starts, blackout.duration
    found: list[Window] = []
    start = cron_after(starts, low - duration)
    while start is not None and start < high:
        last = start
        for _ in range(JOINED):
            later = cron_latest(starts, last + duration, last)
            if later is None:
                break
            last = later
        found.append((start, last + duration))
        start = cron_after(starts, last + duration)
    return tuple(found)


def window_at(blackouts: tuple[Blackout, ...], instant: float) -> Window | None:
    """Return a window that covers the instant, or None. Others may join it at either end."""
    bucket = int(instant // BUCKET_S)
    for blackout in blackouts:
        for start, end in _windows(blackout, bucket):
            if start <= instant < end:
                return start, end
    return None


def open_at(blackouts: tuple[Blackout, ...], instant: float) -> float | None:
    """Return the first instant from `instant` on that no blackout covers; None when there is none in sight."""
    for _ in range(STEPS):
        window = window_at(blackouts, instant)
        if window is None:
            return instant
        instant = window[1]
    return None
