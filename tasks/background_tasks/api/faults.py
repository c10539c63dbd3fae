"""How a check inside a model says what is wrong: a sentence about the value, and the field it belongs to.

Not here: turning it into a `ports.Refusal` with a place (`refusals`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic_core import PydanticCustomError

type FieldPath = tuple[str | int, ...]
"""Keys and indexes from the top of a document, as in `("spec", "blackouts", 0, "cron")`."""

FAULT = "fault"
"""The pydantic error type of all our own checks."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong below the model that found it."""

    at: FieldPath
    """Relative to that model; empty: the model itself."""
    message: str
    """Predicate and fix, such as `is too short; write 1ms or more`. The value is put before it."""
    value: object = None
    bare: bool = False
    """The message stands alone: no value is put before it."""


def fault(message: str, *, bare: bool = False) -> PydanticCustomError:
    """Make the error for a check of one field; the field and its value are known from where it is raised."""
    return PydanticCustomError(FAULT, "{message}", {"message": message, "bare": bare})


def raise_faults(found: Iterable[Fault]) -> None:
    """Raise all that a check between fields found, if anything."""
    faults = tuple(found)
    if faults:
        raise PydanticCustomError(FAULT, "{message}", {"message": faults[0].message, "faults": faults})
