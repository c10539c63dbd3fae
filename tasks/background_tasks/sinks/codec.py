"""How pasts and runs are written as JSON, and read back with suspicion: what is not as written is a `ValueError`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any

from background_tasks.domain.model import EMPTY, NO_PAST, Fence, Outcome, Past, RunRecord, TaskUid

_PAST_FIELDS = tuple(field.name for field in fields(Past))
_TEXTS = frozenset({"run_now"})
LATEST_INSTANT = 1e11
"""Wall seconds; the year 5138."""


def dump_past(past: Past) -> str:
    """Write what differs from a task that never ran."""
    return _json({name: value for name in _PAST_FIELDS if (value := getattr(past, name)) != getattr(NO_PAST, name)})


def load_past(text: str) -> Past:
    """Read a past. Fields of a later release are left out. Raises `ValueError` naming the field."""
    raw = _mapping(text)
    return Past(**{name: _past_field(name, raw[name]) for name in _PAST_FIELDS if name in raw})


def _past_field(name: str, value: object) -> Any:
    if name == "outcome":
        return Outcome(str(value))
    if name in _TEXTS and isinstance(value, str):
        return value
    if name == "failures" and isinstance(value, int) and value >= 0:
        return value
    if name not in _TEXTS and name != "failures":
        return _instant(name, value)
    raise ValueError(f"{name} is {value!r}")


def _instant(name: str, value: object) -> float:
    """Accept wall seconds of this epoch: what lies outside was not written by us and would break calendars."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LATEST_INSTANT:
        return float(value)
    raise ValueError(f"{name} is {value!r}, not an instant")


def dump_run(run: RunRecord) -> str:
    """Write a run; a report that JSON cannot hold is written as its words."""
    raw = {field.name: getattr(run, field.name) for field in fields(RunRecord)}
    raw["fence"] = None if run.fence is None else asdict(run.fence)
    raw["report"] = dict(run.report)
    return _json(raw)


def load_run(text: str) -> RunRecord:
    """Read a run. Raises `ValueError` for anything that is none."""
    raw = _mapping(text)
    try:
        return RunRecord(
            run_id=str(raw["run_id"]),
            uid=TaskUid(str(raw["uid"])),
            task=str(raw["task"]),
            scheduled_for=_instant("scheduled_for", raw["scheduled_for"]),
            started_at=_instant("started_at", raw["started_at"]),
            ended_at=_instant("ended_at", raw["ended_at"]),
            outcome=Outcome(raw["outcome"]),
            attempt=int(raw.get("attempt", 1)),
            reason=str(raw.get("reason", "")),
            message=str(raw.get("message", "")),
            worker=str(raw.get("worker", "")),
            fence=None if raw.get("fence") is None else Fence(**raw["fence"]),
            report=raw["report"] if isinstance(raw.get("report"), dict) else EMPTY,
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a run: {error}") from error


def dump_status(status: Mapping[str, object]) -> str:
    """Write a status object."""
    return _json(dict(status))


def load_status(text: str) -> Mapping[str, object]:
    """Read a status object. Raises `ValueError` for anything that is none."""
    return _mapping(text)


def read_or_report[T](load: Callable[[str], T], text: str, where: str, report: Callable[[str], None]) -> T | None:
    """Read one entry; one that cannot be read is reported with its place and the remedy, and is None."""
    try:
        return load(text)
    except (ValueError, OverflowError, RecursionError) as error:
        report(
            f"{where} cannot be read ({error}) and is left out: {text[:80]!r}; delete it, or leave it to the next write"
        )
        return None


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), default=str)


def _mapping(text: str) -> dict[str, Any]:
    raw = json.loads(text)
    if not isinstance(raw, dict):
        raise ValueError(f"not an object but {type(raw).__name__}")
    return raw
