"""Conditions: a named observation in a status, whether it is told already, and since when it holds.

Not here: what is observed (`pool_status`, `acceptance`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

MESSAGE_LENGTH = 1024
"""Enough for a few sentences. A schema allows more; an etcd full of them is slow."""
CUT = "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What is known of one aspect of a resource."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    """One CamelCase word, for machines."""
    message: str
    """A sentence for people; where something is wrong it names the fix."""
    observed_generation: int
    """Of the spec that was looked at."""


def body_of(condition: Condition, present: Mapping[str, Any] | None, now: float) -> dict[str, Any]:
    """Spell a condition. `now` (wall seconds) becomes its time where the present one has another status, or is none."""
    since = present.get("lastTransitionTime") if present and present.get("status") == condition.status else None
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": _cut(condition.message),
        "observedGeneration": condition.observed_generation,
        "lastTransitionTime": since if isinstance(since, str) and since else time_text(now),
    }


def is_told(condition: Condition, present: Mapping[str, Any] | None) -> bool:
    """Say whether the present condition tells the same, so that nothing needs to be written."""
    return present is not None and body_of(condition, present, 0.0) == {field: present.get(field) for field in _FIELDS}


def present_conditions(status: object) -> dict[str, Mapping[str, Any]]:
    """Return the conditions of a status by type; what is no condition is left out, and is written anew."""
    found = status.get("conditions") if isinstance(status, Mapping) else None
    return {
        one["type"]: one
        for one in (found if isinstance(found, list) else [])
        if isinstance(one, Mapping) and isinstance(one.get("type"), str)
    }


def time_text(wall: float) -> str:
    """Spell wall seconds as Kubernetes does."""
    return datetime.fromtimestamp(int(wall), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cut(message: str) -> str:
    return message if len(message) <= MESSAGE_LENGTH else f"{message[: MESSAGE_LENGTH - len(CUT)]}{CUT}"


_FIELDS = ("type", "status", "reason", "message", "observedGeneration", "lastTransitionTime")
