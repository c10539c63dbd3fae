"""Kinds of field that several models share: names, time zones, cron expressions, counts, values that may be absent.

A field that is absent has a default; a field that is there and empty (`timeout:`) is a slip, and is told.
"""

import re
from functools import lru_cache
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from background_tasks.api.cron_shape import CRON_SHAPE, FIVE_FIELDS
from background_tasks.api.faults import fault
from background_tasks.api.rules import matches, quoted, rule, text_schema
from background_tasks.domain import cron
from background_tasks.domain.model import Cron

T = TypeVar("T")

LABEL_LENGTH = 63
SUBDOMAIN_LENGTH = 253
ZONE_LENGTH = 64
CRON_LENGTH = 128

LABEL_WORDS = "small letters, digits and inner '-'"
SUBDOMAIN_WORDS = "small letters, digits, '-' and '.', and begin and end with a letter or digit"

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*", re.ASCII)


class Part(BaseModel):
    """Base of all models: camelCase outside, frozen, unknown fields refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, hide_input_in_errors=True)


def _not_empty(value: object) -> object:
    if value is None:
        raise fault("is empty; give a value or remove the line", bare=True)
    return value


Maybe = Annotated[T | None, BeforeValidator(_not_empty)]
"""A field that may be absent, and may not be null."""


def _name(value: str, pattern: re.Pattern[str], allowed: str) -> str:
    if pattern.fullmatch(value):
        return value
    meant = re.sub(r"[^a-z0-9.-]+" if "." in allowed else r"[^a-z0-9-]+", "-", value.lower()).strip("-.")
    raise fault(f"may hold only {allowed}; write {meant if pattern.fullmatch(meant) else 'a name such as kg-decay'}")


def check_label(value: str) -> str:
    """Accept a DNS label, as namespaces, pools and groups need."""
    return _name(value, _LABEL, LABEL_WORDS)


def check_subdomain(value: str) -> str:
    """Accept a DNS subdomain, as names of resources need."""
    return _name(value, _SUBDOMAIN, SUBDOMAIN_WORDS)


@lru_cache(maxsize=1024)
def _zone_problem(zone: str) -> str | None:
    return cron.check_zone(zone)


@lru_cache(maxsize=4096)
def _cron_problem(expression: str) -> str | None:
    """Say why a cron cannot be used. That is the same in every zone: none skips or doubles a whole day."""
    return cron.check_cron(expression)


def check_zone(value: str) -> str:
    """Accept an IANA time zone that this machine's database knows."""
    problem = _zone_problem(value)
    if problem:
        raise fault(problem, bare=True)
    return value


def check_cron(value: str) -> str:
    """Accept five cron fields that fire at some time."""
    problem = _cron_problem(value)
    if problem:
        raise fault(problem, bare=True)
    return value


def patterned(pattern: re.Pattern[str], length: int, message: str) -> WithJsonSchema:
    """Make the schema of a text that has to match; the message tells the fix, which a pattern does not."""
    whole = f"^({pattern.pattern})$"
    return text_schema(matches(whole, message), pattern=whole, maxLength=length)


def cron_of(expression: str, zone: str | None) -> Cron:
    """Build the domain's cron; without a zone it is UTC."""
    return Cron(expression=expression, zone=zone or "UTC")


Text = Annotated[str, Field(min_length=1, max_length=1024)]
Label = Annotated[
    str,
    Field(max_length=LABEL_LENGTH),
    AfterValidator(check_label),
    patterned(_LABEL, LABEL_LENGTH, f"may hold only {LABEL_WORDS}; write a name such as kg-decay"),
]
Subdomain = Annotated[
    str,
    Field(max_length=SUBDOMAIN_LENGTH),
    AfterValidator(check_subdomain),
    patterned(_SUBDOMAIN, SUBDOMAIN_LENGTH, f"may hold only {SUBDOMAIN_WORDS}; write a name such as kg-decay"),
]
# A zone that the API server does not know makes the rule itself fail; it then tells the zone, and this message.
_ZONE = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"
"""As in `America/Argentina/Buenos_Aires`; an offset is none."""
_KNOWN = rule('timestamp("2000-01-01T00:00:00Z").getHours(self) >= 0', "give an IANA name such as Europe/Berlin")
Zone = Annotated[
    str,
    Field(max_length=ZONE_LENGTH),
    AfterValidator(check_zone),
    text_schema(
        _KNOWN,
        matches(_ZONE, "is not a time zone; give an IANA name such as Europe/Berlin"),
        rule(
            'self != "Local"', "is not the same zone everywhere; give an IANA name such as Europe/Berlin", shown="self"
        ),
        pattern=_ZONE,
        maxLength=ZONE_LENGTH,
    ),
]
CronExpression = Annotated[
    str,
    Field(max_length=CRON_LENGTH),
    AfterValidator(check_cron),
    text_schema(
        matches(FIVE_FIELDS, "has not five fields; give five: minute, hour, day of month, month, day of week"),
        rule(
            f"!self.matches({quoted(FIVE_FIELDS)}) || self.matches({quoted(CRON_SHAPE)})",
            "cannot be read; see `man 5 crontab` for what a field may say",
            shown="self",
        ),
        maxLength=CRON_LENGTH,
    ),
]
Flag = Annotated[bool, Field(strict=True)]
