"""Whether a task that failed again and again may run: closed, open until an instant, or one probe.

Not here: counting failures and opening (`outcome`), or what becomes of fire times meanwhile (`plan`).
"""

from dataclasses import dataclass

from background_tasks.domain.model import Breaker, Past


@dataclass(frozen=True, slots=True)
class Closed:
    """Runs go on."""


@dataclass(frozen=True, slots=True)
class Open:
    """No scheduled run begins before `until` (wall seconds)."""

    until: float


@dataclass(frozen=True, slots=True)
class Probe:
    """The cooldown is over: the next run decides whether the breaker closes or opens again."""


type Gate = Closed | Open | Probe

CLOSED = Closed()
PROBE = Probe()


def opens_until(breaker: Breaker | None, past: Past, now: float) -> float | None:
    """Return the instant until which the breaker holds runs back, which may be over; None when it is closed.

    An opening that lies ahead (the clock stepped back) counts as now.
    """
    if breaker is None or past.opened_at is None:
        return None
    return min(past.opened_at, now) + breaker.cooldown


def gate(breaker: Breaker | None, past: Past, now: float) -> Gate:
    """Say what the breaker lets through at `now`."""
    until = opens_until(breaker, past, now)
    if until is None:
        return CLOSED
    return Open(until) if now < until else PROBE
