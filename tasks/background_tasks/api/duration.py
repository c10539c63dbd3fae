"""Durations as resources spell them (`90s`, `1h30m`, `1.5d`), to seconds and back without loss.

Not here: which durations a field allows; the models say that with the types at the end.
"""

import re
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator

from background_tasks.api.faults import fault
from background_tasks.api.rules import matches, quoted, rule, seconds, text_schema

PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
"""As in `1h30m`; also the pattern of the published schema."""
MAX_LENGTH = 32
LONGEST_S = 3650 * 86_400.0
"""Ten years: beyond it a typing error is likelier than a wish, and calendars overflow."""
SHORTEST_S = 0.001
"""One millisecond: what the loop's timer can tell apart."""

_WHOLE = re.compile(PATTERN.removeprefix("^").removesuffix("$"), re.ASCII)
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_MILLISECONDS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_SPOKEN = {
    **dict.fromkeys(("msec", "msecs", "millis", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("day", "days", "dt"), "d"),
    **dict.fromkeys(("week", "weeks"), "w"),
}
_EXAMPLE = "write a duration such as 30s, 5m or 1h30m"


def parse_duration(text: str) -> float:
    """Return the seconds of `1h30m`. Raises `ValueError` for anything that is not a duration."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration; {_EXAMPLE}")
    total = sum((Decimal(number) * _MILLISECONDS[unit] for number, unit in _PART.findall(text)), Decimal(0))
    return float(total / 1000)


def format_duration(seconds: float) -> str:
    """Return the shortest spelling, largest unit first: 5400 gives `1h30m`. Parsing it gives `seconds` again."""
    left = Decimal(repr(float(seconds))) * 1000
    if left == 0:
        return "0s"
    parts = []
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, _MILLISECONDS[unit])
        if count:
            parts.append(f"{int(count)}{unit}")
    if left:
        parts.append(f"{left.normalize():f}ms")
    return "".join(parts)


def _suggestion(value: str) -> str | None:
    """Guess what was meant by `30 sec`, `5min`, `PT5M` or `1w`; None where nothing comes to mind."""
    text = value.strip().lower().replace(" ", "").replace(",", ".").removeprefix("p").removeprefix("t")
    text = re.sub(r"[a-z]+", lambda word: _SPOKEN.get(word[0], word[0]), text)
    weeks = re.fullmatch(r"([0-9]+)w", text)
    if weeks:
        return f"{int(weeks[1]) * 7}d"
    text = f"{text}s" if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else text
    return text if _WHOLE.fullmatch(text) else None


def _checked(value: object, least: float, told: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise fault(f"is not a duration; {_EXAMPLE}")
    if not isinstance(value, str):
        raise fault(f"is a number without a unit; write {value}s" if value > 0 else f"is not a duration; {told}")
    if not _WHOLE.fullmatch(value) or len(value) > MAX_LENGTH:
        raise fault(_misspelled(value, told))
    seconds = parse_duration(value)
    if seconds > LONGEST_S:
        raise fault("is longer than ten years; write at most 3650d")
    if seconds < least:
        raise fault(f"is too short; {told}")
    return value


def _misspelled(value: str, told: str) -> str:
    if value.lstrip().startswith("-"):
        return f"is negative; {told}"
    if len(value) > MAX_LENGTH:
        return f"has more than {MAX_LENGTH} characters; {_EXAMPLE}"
    meant = _suggestion(value)
    return f"is not a duration; {f'did you mean {meant}?' if meant else _EXAMPLE}"


def check_duration(value: object) -> str:
    """Accept a duration of zero or more."""
    return _checked(value, 0.0, "write 0s or more, such as 30s")


def check_positive_duration(value: object) -> str:
    """Accept a duration of a millisecond or more."""
    return _checked(value, SHORTEST_S, "write 1ms or more, such as 30s")


_SHAPE = {"pattern": PATTERN, "maxLength": MAX_LENGTH}
_RULES = (
    matches(PATTERN, f"is not a duration; {_EXAMPLE}"),
    rule(f"{seconds('self')} <= {LONGEST_S}", "is longer than ten years; write at most 3650d", shown="self"),
)
# What is no duration at all is told so once: the guard keeps "too short" for those that can be read.
_NOT_ZERO = rule(
    f"!self.matches({quoted(PATTERN)}) || {seconds('self')} >= {SHORTEST_S}",
    "is too short; write 1ms or more, such as 30s",
    shown="self",
)
Duration = Annotated[str, BeforeValidator(check_duration), text_schema(*_RULES, **_SHAPE)]
"""Zero or more, at most ten years."""
PositiveDuration = Annotated[str, BeforeValidator(check_positive_duration), text_schema(*_RULES, _NOT_ZERO, **_SHAPE)]
"""A millisecond or more, at most ten years."""
