"""When a cron expression is due in a person's time zone: the next instant, and the last few that were missed.

Clock changes follow Debian's cron: a fixed time of day fires once (02:30 at 03:00 in spring), `*/n` keeps real time.
Not here: clocks, policies, storage. Instants are wall seconds since the epoch; five fields, so never under a minute.
"""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from background_tasks.errors import Refused

CRON_FIELDS = 5
FOLD = timedelta(hours=2)
"""Longest autumn change on record (double summer time): wall times inside it exist twice."""


def zone(name: str) -> ZoneInfo:
    """Return an IANA zone. Raises `Refused` with the fix."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Refused(f"tz is {name!r}: no such IANA time zone; write one like Europe/Berlin or UTC") from error


def check_cron(expr: str) -> None:
    """Raise `Refused` for what is not a cron expression of five fields that can ever be due."""
    fields = len(expr.split())
    if fields != CRON_FIELDS:
        raise Refused(f"expr is {expr!r}: {fields} fields; cron has 5: minute hour day month weekday")
    try:
        CronSim(expr, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise Refused(f"expr is {expr!r}: {error}; write five fields like 30 8 * * MON-FRI") from error


def next_after(expr: str, tz: str, after: float) -> float | None:
    """Return the first instant later than `after`, or None when there is none in 50 years."""
    return next(_forward(expr, tz, after), None)


def due_instants(expr: str, tz: str, first: float, now: float, limit: int) -> tuple[float, ...]:
    """Return the latest `limit` instants from `first` (itself one of them) to `now`, oldest first.

    The cost depends on `limit`, not on how long ago `first` was.
    """
    steps = _forward(expr, tz, first)
    found = [first]
    for instant in islice(steps, limit):
        if instant > now:
            return tuple(found)
        found.append(instant)
    latest = [instant for instant in islice(_backward(expr, tz, now), limit) if instant >= first]
    return tuple(reversed(latest))


def _forward(expr: str, tz: str, after: float) -> Iterator[float]:
    """Yield the instants later than `after`; inside a repeated hour the walk begins before it, so some are dropped."""
    for moment in CronSim(expr, datetime.fromtimestamp(after, _zone(tz))):
        instant = moment.timestamp()
        if instant > after:  # also drops the second of two wall times that a spring change makes one instant
            yield instant
            after = instant


def _backward(expr: str, tz: str, now: float) -> Iterator[float]:
    """Yield the instants up to `now`, latest first; begins behind a repeated hour for the same reason."""
    where = _zone(tz)
    start = datetime.fromtimestamp(now, UTC).replace(microsecond=0) + FOLD + timedelta(seconds=1)
    for moment in CronSim(expr, start.astimezone(where), reverse=True):
        instant = moment.timestamp()
        if instant <= now:
            yield instant
            now = math.nextafter(instant, 0.0)


@lru_cache(maxsize=1024)
def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else zone(name)
