"""Instants, durations and schedules as people and resources read them.

Not here: reading them back; `api` does that, and understands all that is written here.
"""

from datetime import UTC, datetime, timedelta

from background_tasks.domain.declared import Cadence, Continuous, Cron, Every, Interval, OnStart

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms"))
_LAST_MS = 253_402_300_799_999
"""The end of the year 9999, as far as RFC 3339 goes."""


def rfc3339(instant: float) -> str:
    """Write wall seconds as `2026-01-31T12:00:00Z`, with milliseconds where there are some."""
    moment = _EPOCH + timedelta(milliseconds=min(round(instant * 1000), _LAST_MS))
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds").replace("+00:00", "Z")


def spell(seconds: float) -> str:
    """Write a duration as `1h30m`; from a minute on to the second, from ten days on to the minute. Never negative."""
    rest = max(0, round(seconds * 1000))
    step = 60_000 if rest >= 864_000_000 else 1000 if rest >= 60_000 else 1
    rest = (rest + step // 2) // step * step
    parts = []
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def cadence_text(cadence: Cadence) -> str:
    """Write a cadence as a column has room for it, in the words of its field: `every 5m`, `0 9 * * MON Asia/Tokyo`."""
    match cadence:
        case Interval(seconds=seconds):
            return f"interval {spell(seconds)}"
        case Every(seconds=seconds):
            return f"every {spell(seconds)}"
        case Cron(expression=expression, zone=zone):
            return expression if zone == "UTC" else f"{expression} {zone}"
        case Continuous():
            return "continuous"
        case OnStart():
            return "onStart"
