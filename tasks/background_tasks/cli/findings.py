"""What `bgtasks lint` looks at: each document alone, then all of them together.

Not here: how findings are printed.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from background_tasks.api import hints, names
from background_tasks.api.convert import task_of
from background_tasks.api.faults import FieldPath
from background_tasks.api.pool import WorkerPool
from background_tasks.api.read import Foreign, Unfit
from background_tasks.api.refusals import path_text, value_text
from background_tasks.api.task import BackgroundTask, TaskSpec
from background_tasks.domain.model import Task
from background_tasks.ports import Refusal
from background_tasks.sources.loading import Claim, Entry, Place, duplicates, file_refused, find_files, read_file

type Check = Callable[[Task], Refusal | None]
"""Says what keeps a sound task from running with the coroutines that are registered."""
type Pools = Mapping[tuple[str, str], WorkerPool | None]
"""By namespace and name; None: declared, but refused itself."""


class Level(StrEnum):
    """How much a finding matters."""

    ERROR = "error"  # it would be refused; counts for the exit code
    WARNING = "warning"  # it may be right: what it names may be elsewhere
    NOTE = "note"  # something was left alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to tell; the message begins with the field."""

    level: Level
    place: Place
    field: str = ""
    value: str = ""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that was found, by file and line."""

    findings: tuple[Finding, ...]
    files: int
    tasks: int
    pools: int

    def count(self, level: Level) -> int:
        """Count the findings of one level."""
        return sum(finding.level is level for finding in self.findings)


def inspect(paths: Sequence[Path], check: Check | None = None) -> Report:
    """Read all files and check every document, then what they say of each other."""
    files, entries = _entries(paths)
    pools = _pools(entries)
    findings = [finding for entry in entries for finding in _of_one(entry)]
    findings += [_refused(refusal) for refusal in duplicates(_claims(entries)).values()]
    for entry in entries:
        if isinstance(entry.found, BackgroundTask):
            findings += _of_many(entry, entry.found, pools)
            findings += _registered(entry, entry.found, check)
    kinds = Counter(entry.identity.kind for entry in entries if entry.identity is not None)
    order = {path: number for number, path in enumerate(files)}
    findings.sort(key=lambda finding: (order.get(finding.place.file, -1), finding.place.line))
    return Report(
        findings=tuple(findings),
        files=len(files),
        tasks=kinds[names.TASK_KIND],
        pools=kinds[names.POOL_KIND],
    )


def _entries(paths: Sequence[Path]) -> tuple[tuple[Path, ...], list[Entry]]:
    try:
        files = find_files(paths)
    except OSError as error:
        return (), [file_refused(Path(str(error.filename)), f"cannot be listed: {error.strerror}")]
    return files, [entry for path in files for entry in read_file(path)]


def _pools(entries: Sequence[Entry]) -> Pools:
    pools: dict[tuple[str, str], WorkerPool | None] = {}
    for entry in entries:
        if entry.identity is not None and entry.identity.kind == names.POOL_KIND:
            key = (entry.identity.namespace, entry.identity.name)
            pools[key] = pools.get(key) or (entry.found if isinstance(entry.found, WorkerPool) else None)
    return pools


def _claims(entries: Sequence[Entry]) -> Iterator[Claim]:
    for entry in entries:
        if entry.identity is not None and isinstance(entry.found, BackgroundTask | WorkerPool):
            yield entry.claim(entry.identity)


def _refused(refusal: Refusal) -> Finding:
    return Finding(
        level=Level.ERROR,
        place=Place.read(refusal.where),
        field=refusal.field,
        value=refusal.value,
        message=refusal.message,
    )


def _at(entry: Entry, level: Level, path: FieldPath, value: object, message: str) -> Finding:
    field = path_text(path)
    sentence = f"{field}: {value_text(value)} {message}"
    return Finding(level=level, place=entry.place_of(path), field=field, value=value_text(value), message=sentence)


def _of_one(entry: Entry) -> Iterator[Finding]:
    """Tell what one document says by itself."""
    if isinstance(entry.found, Unfit):
        yield from map(_refused, entry.found.refusals)
    elif isinstance(entry.found, Foreign):
        yield Finding(level=Level.NOTE, place=entry.place, message=f"{entry.found.kind} is left alone")
    else:
        for name in entry.found.metadata.annotations or {}:
            if name.startswith(f"{names.GROUP}/") and name not in names.ANNOTATIONS:
                message = f"is no annotation of ours; {hints.choice(name, names.ANNOTATIONS)}"
                yield _at(entry, Level.WARNING, ("metadata", "annotations", name), name, message)


def _of_many(entry: Entry, task: BackgroundTask, pools: Pools) -> Iterator[Finding]:
    """Tell what a task names and the other documents lack."""
    key = (task.metadata.namespace, task.spec.pool_ref.name)
    if key not in pools:
        yield from _without_pool(entry, task, [name for namespace, name in pools if namespace == key[0]])
        return
    pool = pools[key]
    if pool is not None:
        yield from _in_pool(entry, task.spec, pool)


def _without_pool(entry: Entry, task: BackgroundTask, known: Sequence[str]) -> Iterator[Finding]:
    name, group = task.spec.pool_ref.name, task.spec.group
    if name != names.DEFAULT_POOL:
        near = hints.nearest(name, known)
        fix = f"did you mean {near}?" if near else "add a WorkerPool of this name, or correct it"
        yield _at(entry, Level.WARNING, ("spec", "poolRef", "name"), name, f"is not declared here; {fix}")
    elif group is not None:
        fix = f"add a WorkerPool named {name} with this group"
        yield _at(entry, Level.WARNING, ("spec", "group"), group, f"is a group of no pool here; {fix}")


def _in_pool(entry: Entry, spec: TaskSpec, pool: WorkerPool) -> Iterator[Finding]:
    name, groups = spec.pool_ref.name, [group.name for group in pool.spec.groups]
    if spec.group is not None and spec.group not in groups:
        near = hints.nearest(spec.group, groups)
        fix = f"did you mean {near}?" if near else "add it to spec.groups of the pool, or leave it out"
        yield _at(entry, Level.ERROR, ("spec", "group"), spec.group, f"is not a group of pool {name}; {fix}")
    module, _, attribute = spec.task.partition(":")
    if attribute and not any(module == root or module.startswith(f"{root}.") for root in pool.spec.task_modules):
        message = f"is outside taskModules of pool {name}; add {module} there"
        yield _at(entry, Level.ERROR, ("spec", "task"), spec.task, message)


def _registered(entry: Entry, resource: BackgroundTask, check: Check | None) -> Iterator[Finding]:
    refusal = check(task_of(resource, seen_at=0.0)) if check is not None else None
    if refusal is None:
        return
    told = refusal.message.partition(": ")[0]
    field = told if told.startswith(refusal.field) else refusal.field
    yield Finding(
        level=Level.ERROR,
        place=entry.place_of(tuple(field.split("."))),
        field=field,
        value=refusal.value,
        message=refusal.message if field == told else f"{field}: {refusal.message}",
    )
