"""From pydantic's errors to refusals: one sentence each, with the field's path, its value and what to write instead.

Not here: the checks themselves (they stand at the fields), and where a field stands in a file (`place` knows).
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from background_tasks.api import hints
from background_tasks.api.faults import FAULT, Fault, FieldPath
from background_tasks.domain.model import TaskUid
from background_tasks.ports import Refusal

type Place = Callable[[FieldPath], str]
"""Says where a field stands: `tasks.yaml:12 (document 3)`, or the resource's `namespace/name`."""

VALUE_LENGTH = 60
EMPTY = "is empty; give a value or remove the line"

_ONE_OF = ("enum", "literal_error")
_MAPPINGS = ("model_type", "model_attributes_type", "dict_type")
_LISTS = ("tuple_type", "list_type")
_SCALARS = {
    "int_type": ("is not a whole number", "one such as 5"),
    "int_from_float": ("is not a whole number", "one such as 5"),
    "float_type": ("is not a number", "one such as 2.5"),
    "bool_type": ("is neither true nor false", "true or false"),
}
_BOUNDS = {
    "greater_than_equal": "is too small; write {ge:g} or more",
    "less_than_equal": "is too large; write {le:g} or less",
    "string_too_long": "is too long; write at most {max_length} characters",
    "too_long": "has {actual_length} entries; write at most {max_length}",
}


def path_text(path: FieldPath) -> str:
    """Spell a path: `spec.blackouts[0].cron`; keys with dots or slashes stand in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part and not set(part) & set("./[] :"):
            text += f".{part}" if text else part
        else:
            text += f"[{part}]"
    return text


def value_text(value: object) -> str:
    """Show a value as JSON would, cut to a line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= VALUE_LENGTH else f"{text[: VALUE_LENGTH - 1]}…"


def refusal(
    path: FieldPath, message: str, value: object, place: Place, *, bare: bool = False, uid: TaskUid | None = None
) -> Refusal:
    """Make one refusal. Its message is a whole sentence: field, value (unless `bare`), what is wrong, what to write."""
    field = path_text(path)
    shown = "" if bare else f"{value_text(value)} "
    sentence = f"{field}: {shown}{message}" if field else f"{shown}{message}"
    return Refusal(where=place(path), field=field, value=value_text(value), message=sentence, uid=uid)


def refusals_of(
    error: ValidationError, model: type[BaseModel], place: Place, uid: TaskUid | None
) -> tuple[Refusal, ...]:
    """Translate all errors of one document, in the order of its fields."""
    found: list[Refusal] = []
    for detail in error.errors(include_url=False):
        for fault, path in _faults(detail, model):
            made = refusal(path, fault.message, fault.value, place, bare=fault.bare, uid=uid)
            if made not in found:
                found.append(made)
    return tuple(found)


def _faults(detail: ErrorDetails, model: type[BaseModel]) -> list[tuple[Fault, FieldPath]]:
    path, value, kind, context = detail["loc"], detail["input"], detail["type"], detail.get("ctx", {})
    if kind == FAULT and "faults" in context:
        return [(fault, path + fault.at) for fault in context["faults"]]
    if kind == "extra_forbidden":
        return [(Fault((), hints.unknown_field(model, path), value, bare=True), path)]
    field = str(path[-1]) if path else ""
    if kind == "missing":
        return [(Fault((), hints.missing(field), None, bare=True), path)]
    if value is None or kind == "string_too_short":
        return [(Fault((), EMPTY, value, bare=True), path)]
    if kind == FAULT:
        return [(Fault((), context["message"], value, bare=context["bare"]), path)]
    return [(Fault((), _sentence(kind, context, value, field) or f"cannot be used: {detail['msg']}", value), path)]


def _sentence(kind: str, context: Mapping[str, Any], value: object, field: str) -> str | None:
    """Say what is wrong with a value by pydantic's name for it; None: no words of our own."""
    if kind in _ONE_OF:
        return f"is not known; {hints.choice(value, hints.words(context['expected']))}"
    if kind == "too_long" and isinstance(value, str):
        kind = "string_too_long"
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**context)
    if kind in _MAPPINGS:
        return f"is not a mapping; {hints.mapping_for(field, value)}"
    if kind in _LISTS:
        return f"is not a list; write [{value}]" if isinstance(value, str | int) else "is not a list; write [...]"
    if kind == "string_type":
        return _not_text(value)
    if kind in _SCALARS:
        problem, example = _SCALARS[kind]
        return f"{problem}; write {value if _is_quoted(kind, value) else example}"
    return None


def _not_text(value: object) -> str:
    if isinstance(value, bool):
        return "is a truth value, as YAML reads on, off, yes and no; put the word in quotes"
    return (
        f'is a number; write "{value}"' if isinstance(value, int | float) else "is not text; write one word or sentence"
    )


def _is_quoted(kind: str, value: object) -> bool:
    """Say whether the quotes are all that is wrong: `"5"` for 5."""
    if not isinstance(value, str):
        return False
    return value in ("true", "false") if kind == "bool_type" else value.lstrip("-").isdecimal()
