"""When a prompt's cron expression is due in its owner's time zone: the next instant, and the last few of those missed.

Cron itself, clock changes included, is `domain.cron`. Not here: clocks, policies, storage. Instants are wall seconds.
"""

import math

from background_tasks.domain import cron
from background_tasks.domain.model import Cron
from background_tasks.errors import Refused


def check(expr: str, tz: str) -> None:
    """Raise `Refused` for what is not a cron expression of five fields that is ever due in an IANA zone."""
    if (fault := cron.check_cron(expr, tz)) is not None:
        raise Refused(fault)


def check_zone(tz: str) -> None:
    """Raise `Refused` for what is not an IANA time zone."""
    if (fault := cron.check_zone(tz)) is not None:
        raise Refused(fault)


def next_after(expr: str, tz: str, after: float) -> float | None:
    """Return the first instant later than `after`, or None when there is none in 50 years."""
    return cron.cron_after(Cron(expression=expr, zone=tz), after)


def due_instants(expr: str, tz: str, first: float, now: float, limit: int) -> tuple[float, ...]:
    """Return the latest `limit` instants from `first` (itself one of them) to `now`, oldest first.

    The cost depends on `limit` and on the gaps, not on how long ago `first` was.
    """
    found, following = [first], next_after(expr, tz, first)
    while following is not None and following <= now and len(found) <= limit:
        found.append(following)
        following = next_after(expr, tz, following)
    return tuple(found) if len(found) <= limit else _latest(Cron(expression=expr, zone=tz), first, now, limit)


def _latest(expression: Cron, first: float, now: float, limit: int) -> tuple[float, ...]:
    found: list[float] = []
    instant = cron.cron_latest(expression, now, first)
    while instant is not None and len(found) < limit:
        found.append(instant)
        instant = cron.cron_latest(expression, math.nextafter(instant, 0.0), first)
    return tuple(reversed(found))
