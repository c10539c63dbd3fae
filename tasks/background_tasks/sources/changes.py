"""What a reload means for the tasks that are armed: a decision about two views, and nothing about files or time.

Laws: what did not change is not told. A file with a refusal keeps the tasks it had. A refusal is told once.
A task keeps its first sight as creation, and its generation rises when its spec changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from background_tasks.domain.model import Task, TaskUid
from background_tasks.ports import Refusal, RefusedDocument, Removed, SourceEvent, Upserted

UNSEEN = 0
"""Generation of a task whose document records none: it is counted here."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A task as a file declares it; generation and creation are `UNSEEN` unless a cluster recorded them."""

    task: Task
    file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """All that the files say at one moment."""

    tasks: Mapping[TaskUid, Declared] = field(default_factory=dict)
    refusals: tuple[Refusal, ...] = ()
    unsound: frozenset[Path] = frozenset()
    """Files with a refusal: what they no longer declare may only be misspelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What has been told so far."""

    armed: Mapping[TaskUid, Declared] = field(default_factory=dict)
    declared: Mapping[TaskUid, Declared] = field(default_factory=dict)
    refusals: tuple[Refusal, ...] = ()


def changes(view: View, loaded: Loaded, now: float) -> tuple[View, tuple[SourceEvent, ...]]:
    """Decide what to tell, and what has been told afterwards. `now`: wall seconds, the first sight of new tasks."""
    armed: dict[TaskUid, Declared] = {}
    events: list[SourceEvent] = []
    healed = {told.uid for told in view.refusals} - {found.uid for found in loaded.refusals}
    for uid, declared in loaded.tasks.items():
        before = view.armed.get(uid)
        if before is not None and view.declared.get(uid) is declared:
            armed[uid] = before
        else:
            armed[uid] = Declared(_aged(declared.task, before, now), declared.file)
        if before is None or not same(armed[uid].task, before.task) or uid in healed:
            events.append(Upserted(armed[uid].task))
    kept = {uid: old for uid, old in view.armed.items() if uid not in loaded.tasks and old.file in loaded.unsound}
    gone = [Removed(uid) for uid in view.armed if uid not in armed and uid not in kept]
    told = set(view.refusals)
    fresh = [RefusedDocument(found) for found in loaded.refusals if found not in told]
    after = View(armed=armed | kept, declared=loaded.tasks, refusals=loaded.refusals)
    return after, (*gone, *events, *fresh)


def same(one: Task, other: Task) -> bool:
    """Say whether two tasks mean the same; `1`, `1.0` and `true` in params are three things."""
    return one is other or (one == other and repr(one.params) == repr(other.params))


def _aged(task: Task, before: Task | Declared | None, now: float) -> Task:
    """Give a task its creation and generation: those of a cluster, else the ones it had, else the first."""
    old = before.task if isinstance(before, Declared) else before
    created_at = task.created_at or (now if old is None else old.created_at)
    if task.generation != UNSEEN:
        return replace(task, created_at=created_at)
    if old is None:
        return replace(task, created_at=created_at, generation=1)
    kept = replace(task, created_at=created_at, generation=old.generation)
    return kept if _same_spec(kept, old) else replace(kept, generation=old.generation + 1)


def _same_spec(one: Task, other: Task) -> bool:
    """Say whether two tasks have one spec; annotations (pause, run-now) are no part of it."""
    return (
        one.policy == other.policy
        and one.switches.suspend == other.switches.suspend
        and repr(one.params) == repr(other.params)
    )
