"""How long to wait before another attempt, or before a long-lived task starts again.

Not here: the waiting. Backoff has full jitter (draw * ceiling), after "Exponential Backoff And Jitter",
AWS Architecture Blog, 2015: tasks that fail together do not come back together.
"""

from background_tasks.domain.model import Continuous, Retry

HELD_S = 300.0
"""A continuous task that held so long was well: its next failure counts as the first."""


def backoff_ceiling(retry: Retry, failures: int) -> float:
    """Return the longest wait after so many failures in a row (1 or more), in seconds."""
    try:
        return min(retry.max_backoff, retry.initial_backoff * retry.factor ** (failures - 1))
    except OverflowError:
        return retry.max_backoff


def retry_delay(retry: Retry, attempt: int, draw: float) -> float | None:
    """Return the seconds to wait after attempt number `attempt` (from 1) failed; None: give up.

    `draw` is a random number in [0, 1).
    """
    if attempt >= retry.attempts:
        return None
    return draw * backoff_ceiling(retry, attempt)


def restart_delay(cadence: Continuous, retry: Retry, *, failures: int, held_for: float, draw: float) -> float:
    """Return the seconds until a continuous task starts again: its restart delay, or the backoff where that is longer.

    `failures` counts those in a row. After it held for five minutes, or ended well, there is no backoff.
    """
    if failures <= 0 or held_for >= HELD_S:
        return cadence.restart_delay
    return max(cadence.restart_delay, draw * backoff_ceiling(retry, failures))
