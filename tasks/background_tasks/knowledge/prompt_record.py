"""What a scheduled prompt is: the draft that people give, the record that Redis holds, the envelope that goes out.

Every way in goes through one validation, the stored hash too: what somebody else wrote below our keys is refused with
its faults, never believed. Not here: reading and writing (`prompts`), when it fires (`prompt_turn`).
"""

import json
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from background_tasks.errors import Refused
from background_tasks.knowledge.keys import FIRED, json_key
from background_tasks.knowledge.recurrence import check, check_zone, next_after

YEAR_9000 = 221_845_392_000.0
"""No later instant: a calendar of four-digit years must still have room for the search of a next one."""
MAX_TEXT = 4_000
MAX_NAME = 200
MAX_TOLD = 500
"""Characters of an error that are kept and told: enough to fix it, too few to fill a channel."""

type Instant = Annotated[float, Field(ge=0, le=YEAR_9000, allow_inf_nan=False)]
type Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]


class Kind(StrEnum):
    """How often a prompt fires."""

    ONCE = "once"  # `expr` is an instant: 2026-03-29T08:30 in `tz`, or with an offset of its own
    CRON = "cron"  # `expr` has five fields: minute hour day month weekday


class MissedPolicy(StrEnum):
    """What becomes of instants that are found later than `max_lag_s`."""

    SKIP = "skip"  # nothing: wait for the next one
    LATEST = "latest"  # one catch-up for all of them, unless one on time fires anyway
    ALL = "all"  # each of the latest ten, oldest first


class Status(StrEnum):
    """Where a prompt stands. All but `active` are ends."""

    ACTIVE = "active"
    DONE = "done"  # fired for the last time
    MISSED = "missed"  # a single one whose instant passed unseen, with policy skip
    CANCELLED = "cancelled"
    INVALID = "invalid"  # its record cannot be understood; the owner was told
    FAILED = "failed"  # a single one that its sink refused to the last try


class PromptDraft(BaseModel):
    """What a person asks for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Name | None = Field(None, description="Chosen by us when left out. Any characters.")
    owner: Name = Field(description="Who asked for it, and is told when it cannot run.")
    channel: Name = Field(description="Where the prompt is answered.")
    text: str = Field(min_length=1, max_length=MAX_TEXT, description="What the assistant is asked at that time.")
    kind: Kind
    expr: str = Field(max_length=MAX_NAME, description="An instant (once) or five cron fields (cron).")
    tz: str = Field("UTC", max_length=64, description="IANA zone in which `expr` is meant.")
    missed_policy: MissedPolicy = MissedPolicy.LATEST
    max_lag_s: float = Field(
        300.0, ge=0, le=366 * 86_400, allow_inf_nan=False, description="Later than this an instant counts as missed."
    )

    @model_validator(mode="after")
    def _can_be_due(self) -> Self:
        if self.id is not None and self.id.startswith(FIRED):
            raise ValueError(f"id is {self.id!r}: may not begin with {FIRED!r}, the name of our own flags")
        try:
            if self.kind is Kind.CRON:
                check(self.expr, self.tz)
            else:
                instant_of(self.expr, self.tz)
        except Refused as refused:
            raise ValueError(str(refused)) from refused
        return self

    def first_instant(self, now: float) -> float | None:
        """Return the instant at which it fires first, or None for a cron expression that is never due again."""
        if self.kind is Kind.ONCE:
            return instant_of(self.expr, self.tz)
        return next_after(self.expr, self.tz, now)


class Prompt(PromptDraft):
    """A prompt as it stands in the store."""

    id: Name
    status: Status
    next_at: Instant | None = Field(None, description="The oldest instant that was not decided about yet.")
    fire_count: int = Field(0, ge=0)
    tries: int = Field(0, ge=0, description="Failed tries of the sink for the instant `next_at`.")
    created_at: Instant = 0.0
    updated_at: Instant = 0.0
    error: str = ""

    def occurrence(self, instant: float) -> str:
        """Name one firing: the id and the instant in milliseconds."""
        return json_key(self.id, round(instant * 1000))

    def fields(self) -> dict[str, str]:
        """Return the whole record as the hash's fields."""
        return to_fields(self.model_dump(exclude={"id"}))


class Envelope(BaseModel):
    """What a firing puts on the inbound stream, or sends to a webhook."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    occurrence: str = Field(min_length=1, description="Names this firing; a consumer drops one that it has seen.")
    kind: Literal["prompt", "prompt_invalid"] = "prompt"
    prompt: str
    owner: str
    channel: str
    text: str
    scheduled_for: float
    fired_at: float

    def entry(self) -> dict[str, str]:
        """Return the stream entry's fields."""
        return {"occurrence": self.occurrence, "envelope": self.model_dump_json()}

    @classmethod
    def of(cls, prompt: Prompt, instant: float, now: float) -> "Envelope":
        """Make the envelope of one firing."""
        return cls(
            occurrence=prompt.occurrence(instant),
            prompt=prompt.id,
            owner=prompt.owner,
            channel=prompt.channel,
            text=prompt.text,
            scheduled_for=instant,
            fired_at=now,
        )

    @classmethod
    def of_invalid(cls, prompt_id: str, fields: Mapping[str, str], why: str, now: float) -> "Envelope":
        """Tell the owner of a record that cannot be understood, as far as it names one."""
        return cls(
            occurrence=json_key(prompt_id, "invalid"),
            kind="prompt_invalid",
            prompt=prompt_id,
            owner=fields.get("owner", "")[:MAX_NAME],
            channel=fields.get("channel", "")[:MAX_NAME],
            text=f"The scheduled prompt {prompt_id[:MAX_NAME]!r} cannot run and was stopped: {why}",
            scheduled_for=now,
            fired_at=now,
        )


_TIMES = frozenset({"next_at", "created_at", "updated_at"})
_STORED = frozenset(Prompt.model_fields) - {"id"}


def to_fields(values: Mapping[str, object]) -> dict[str, str]:
    """Spell values as a hash's fields: instants as whole milliseconds, None as nothing."""
    return {name: _spell(name, value) for name, value in values.items()}


def read_prompt(prompt_id: str, fields: Mapping[str, str]) -> Prompt:
    """Read a stored hash. Raises `Refused` with every fault; unknown fields are left alone."""
    values: dict[str, object] = {name: value for name, value in fields.items() if name in _STORED}
    try:
        for name in _TIMES & values.keys():
            values[name] = _read_ms(name, fields[name])
        prompt = Prompt.model_validate({**values, "id": prompt_id})
    except ValidationError as error:
        raise Refused(faults(error)) from error
    if prompt.status is Status.ACTIVE and prompt.next_at is None:
        raise Refused("next_at is empty in an active prompt; add the prompt again")
    return prompt


def draft(fields: Mapping[str, object]) -> PromptDraft:
    """Read a draft. Raises `Refused` with every fault at once."""
    try:
        return PromptDraft.model_validate(dict(fields))
    except ValidationError as error:
        raise Refused(faults(error)) from error


def faults(error: ValidationError) -> str:
    """Say a validation's faults in one line: field, value, what is wrong."""
    told = []
    for fault in error.errors(include_url=False):
        where = ".".join(str(part) for part in fault["loc"])
        value = "" if fault["type"] in {"missing", "value_error"} else f" is {str(fault['input'])[:60]!r}"
        told.append(f"{where}{value}: {fault['msg']}" if where else fault["msg"].removeprefix("Value error, "))
    return "; ".join(told)[:MAX_TOLD]


def instant_of(expr: str, tz: str) -> float:
    """Read an ISO instant; without an offset it is wall time in `tz`. Raises `Refused`."""
    check_zone(tz)
    try:
        moment = datetime.fromisoformat(expr)
        instant = (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(tz))).timestamp()
    except (ValueError, OverflowError) as error:
        raise Refused(f"expr is {expr!r}: {error}; write an instant like 2026-03-29T08:30") from error
    if not 0 <= instant <= YEAR_9000:
        raise Refused(f"expr is {expr!r}: outside the years 1970 to 9000")
    return instant


def _spell(name: str, value: object) -> str:
    if value is None:
        return ""
    if name in _TIMES:
        return str(round(float(str(value)) * 1000))
    return str(value) if isinstance(value, str) else json.dumps(value)


def _read_ms(name: str, value: str) -> float | None:
    if value == "":
        return None
    if not (value.isascii() and value.isdigit()):
        raise Refused(f"{name} is {value[:60]!r}: not a number of milliseconds")
    return int(value) / 1000
