"""Fire times of a cron expression, on top of cronsim: the next one, the latest one, and whether it is fit at all.

Not here: parsing (cronsim's), grids, offsets, policies. Local time follows two laws, pinned by table tests:

- An hour field that leaves hours out (`30 2 * * *`, `*/30 2 * * *`, `0 */2 * * *`) means the clock on the wall: a
  skipped local time fires once, at the change; a doubled one fires once, the first time.
- An hour field of all 24 hours (`*/30 * * * *`) keeps the rhythm of elapsed time through both changes (as Debian's).
"""

import copy
import math
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from difflib import get_close_matches
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from background_tasks.domain.model import Cron

FIELDS = 5
"""cronsim also reads a sixth field, seconds; resources do not have it."""
LOOK_BACK_S = 120.0
"""First guess of how far back the latest fire time lies; doubled until one is found."""
GAPS_SEEN = 50
"""Fire times looked at to learn the smallest gap of an expression."""
ANCHOR = 1_704_067_200
"""2024-01-01T00:00Z, a leap year: a fixed instant, so that what is learnt of an expression never depends on today."""


@lru_cache(maxsize=4096)
def _parsed(expression: str, zone: str) -> tuple[CronSim, tzinfo]:
    """Parse once; copies are moved, this one never is."""
    region: tzinfo = UTC if zone == "UTC" else ZoneInfo(zone)
    anchor = datetime.fromtimestamp(ANCHOR, region)
    parsed = CronSim(expression, anchor)
    if len(parsed.hours) == 24 or region is UTC:
        return parsed, region
    # cronsim drops `*/30 2 * * *` on the day whose 02:00 to 03:00 is skipped; spelled out as lists it keeps our law.
    parts = parsed.parts[1:]
    parts[0] = ",".join(str(minute) for minute in sorted(parsed.minutes))
    parts[1] = ",".join(str(hour) for hour in sorted(parsed.hours))
    return CronSim(" ".join(parts), anchor), region


def cron_after(cron: Cron, instant: float) -> float | None:
    """Return the first fire time after `instant`, or None when there is none within 50 years."""
    parsed, region = _parsed(cron.expression, cron.zone)
    walker = copy.copy(parsed)
    local = datetime.fromtimestamp(math.floor(instant), region)
    walker.dt = local if walker.fixup_tz is None else local.replace(tzinfo=None)
    for moment in walker:
        found = moment.timestamp()
        if found > instant:  # a doubled hour, or one skipped time after another, may give an instant again
            return found
    return None


def cron_latest(cron: Cron, instant: float, floor: float) -> float | None:
    """Return the last fire time in (floor, instant], or None. Cost grows with the gap, not with the way to `floor`."""
    back = LOOK_BACK_S
    while True:
        start = max(instant - back, floor)
        found, candidate = None, cron_after(cron, start)
        while candidate is not None and candidate <= instant:
            found, candidate = candidate, cron_after(cron, candidate)
        if found is not None or start <= floor:
            return found
        back *= 2


@lru_cache(maxsize=4096)
def smallest_gap(cron: Cron) -> float:
    """Return the smallest distance between two neighbouring fire times among the first 50 after a fixed anchor."""
    times = [found] if (found := cron_after(cron, ANCHOR)) is not None else []
    while times and len(times) < GAPS_SEEN and (found := cron_after(cron, times[-1])) is not None:
        times.append(found)
    return min((later - sooner for sooner, later in pairwise(times)), default=0.0)


def check_cron(expression: str, zone: str = "UTC") -> str | None:
    """Return what is wrong with a cron in one sentence that names the fix, or None when it is fit."""
    fields = expression.split()
    if len(fields) != FIELDS:
        return (
            f"cron {expression!r} has {len(fields)} fields; give five: minute, hour, day of month, month, day of week"
        )
    if (fault := check_zone(zone)) is not None:
        return fault
    try:
        never = never_fires(Cron(expression=expression, zone=zone))
    except CronSimError as refused:
        if not _reads_in_any_month(fields):
            return f"cron {expression!r} cannot be read ({refused}); see `man 5 crontab` for what a field may say"
        never = True  # the parser refuses a day that none of its months has
    return f"cron {expression!r} never fires: no such date exists; correct the day or the month" if never else None


def _reads_in_any_month(fields: Sequence[str]) -> bool:
    """Say whether a cron could be read if its months were any, and its days were."""
    minute, hour, day, month, weekday = fields
    for trial in ((minute, hour, day, "*", weekday), (minute, hour, "*", month, weekday)):
        try:
            CronSim(" ".join(trial), datetime.fromtimestamp(ANCHOR, UTC))
        except CronSimError:
            return False
    return True


def check_zone(zone: str) -> str | None:
    """Return what is wrong with a time zone's name, with the nearest names that exist, or None."""
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = available_timezones()
        near = get_close_matches(zone.replace(" ", "_"), known, n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else "give an IANA name such as Europe/Berlin"
        return f"time zone {zone!r} is not known; {hint}"
    return None


def never_fires(cron: Cron) -> bool:
    """Say whether a cron has no fire time at all. Raises `CronSimError` for one that cannot be read."""
    return cron_after(cron, ANCHOR) is None
