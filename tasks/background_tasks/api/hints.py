"""What somebody probably meant: the nearest field, the nearest word, the mapping that a bare value stands for.

Not here: deciding that something is wrong.
"""

import re
import typing
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice

from pydantic import BaseModel

from background_tasks.api.faults import FieldPath

CUTOFF = 0.72
"""`polcy` finds `policy`, `foo` finds nothing."""
MOST = 3
_OTHER_WORDS = {
    "activedeadlineseconds": "spec.timeout",
    "args": "spec.params",
    "backofflimit": "spec.retry.attempts",
    "concurrencypolicy": "spec.overlap",
    "crontab": "spec.schedule.cron",
    "failedjobshistorylimit": "spec.historyLimit",
    "kwargs": "spec.params",
    "maxinstances": "spec.overlap",
    "misfiregracetime": "spec.missed",
    "pool": "spec.poolRef.name",
    "startingdeadlineseconds": "spec.missed",
    "successfuljobshistorylimit": "spec.historyLimit",
    "timezone": "spec.schedule.timeZone",
}
"""What CronJob, Celery and APScheduler call it, folded."""
_MAIN_FIELD = {
    "breaker": "failures",
    "continuous": "restartDelay",
    "metadata": "name",
    "missed": "policy",
    "objective": "maxLateness",
    "onStart": "cooldown",
    "poolRef": "name",
    "retry": "attempts",
}
"""The field that a bare value probably means: `retry: 3` is `retry: {attempts: 3}`."""
_EXAMPLES = {
    "apiVersion": "write background-tasks.dev/v1alpha1",
    "cron": 'write five fields such as "*/15 * * * *"',
    "duration": "write one such as 30m",
    "failures": "write how many failures in a row open it, such as 5",
    "maxLateness": "write one such as 30s",
    "maxReplicas": "write the most workers there may be",
    "metadata": "write {name: my-task}",
    "name": "write one such as kg-decay",
    "schedule": "write one such as {interval: 30s}",
    "spec": "write {task: my_task, schedule: {interval: 30s}}",
    "task": "write the name of a coroutine, such as kg_decay",
}


def fold(name: str) -> str:
    """Make `time_zone`, `time-zone`, `timezone` and `timeZone` one."""
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")


def nearest(word: str, known: Sequence[str]) -> str | None:
    """Return the known word that somebody probably meant, or None."""
    folded = {fold(name): name for name in known}
    close = get_close_matches(fold(word), folded, n=1, cutoff=CUTOFF)
    return folded[close[0]] if close else None


def choice(value: object, known: Sequence[str]) -> str:
    """Name the word that was meant, or all that may be written."""
    meant = nearest(value, known) if isinstance(value, str) else None
    return f"did you mean {meant}?" if meant else f"write {', '.join(known[:-1])} or {known[-1]}"


def missing(field: str) -> str:
    """Say what to write for a required field that is absent."""
    return f"is missing; {_EXAMPLES.get(field, 'add it')}"


def mapping_for(field: str, value: object) -> str:
    """Say which mapping a bare value probably stands for."""
    if field == "schedule" and isinstance(value, str | int):
        return f'write {{cron: "{value}"}}' if " " in str(value).strip() else f"write {{interval: {value}}}"
    if field in _MAIN_FIELD and isinstance(value, str | int) and not isinstance(value, bool):
        return f"write {{{_MAIN_FIELD[field]}: {value}}}"
    return (
        _EXAMPLES[field] if field in ("schedule", "metadata") else "write its fields below it, or {} for the defaults"
    )


def unknown_field(model: type[BaseModel], path: FieldPath) -> str:
    """Say that a field does not exist, and which one was probably meant: here first, then anywhere in the document."""
    name, parent = str(path[-1]), ".".join(part for part in path[:-1] if isinstance(part, str))
    everywhere = _all_fields(model)
    here = [whole.rpartition(".")[2] for whole in everywhere if whole.rpartition(".")[0] == parent]
    twin = next((field for field in here if fold(field) == fold(name)), None)
    elsewhere = [whole for whole in everywhere if fold(whole.rpartition(".")[2]) == fold(name)]
    meant = twin or " or ".join(elsewhere[:MOST]) or nearest(name, here) or _OTHER_WORDS.get(fold(name))
    if meant is None:
        word = nearest(name, [whole.rpartition(".")[2] for whole in everywhere])
        meant = next((whole for whole in everywhere if word and whole.rpartition(".")[2] == word), None)
    if meant is None:
        return f"is not a field; known here: {', '.join(here)}"
    return f"is not a field{' here' if '.' in meant else ''}; did you mean {meant}?"


@lru_cache(maxsize=8)
def _all_fields(model: type[BaseModel]) -> tuple[str, ...]:
    """Spell every field of a resource, indexes left out; shallow ones first."""
    return tuple(sorted(islice(_fields(model, ""), 1000), key=lambda whole: whole.count(".")))


def _fields(model: type[BaseModel], above: str) -> Iterator[str]:
    for name, info in model.model_fields.items():
        whole = f"{above}{info.alias or name}"
        yield whole
        below = _model_in(info.annotation)
        if below is not None:
            yield from _fields(below, f"{whole}.")


def _model_in(annotation: object) -> type[BaseModel] | None:
    """Find the model inside `Model | None`, `tuple[Model, ...]` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, typing.get_args(annotation))), None)


def words(expected: str) -> list[str]:
    """Read the words of a closed list out of pydantic's `'Skip', 'Queue' or 'Allow'`."""
    return re.findall(r"'([^']*)'", expected)
