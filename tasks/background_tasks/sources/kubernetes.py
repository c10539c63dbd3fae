"""Tasks from a cluster: the BackgroundTasks of one pool in one namespace, as the engine's `TaskSource`.

Not here: list, watch, pauses (`services.kubernetes.reflector`), what a document may say (`api`). A task is its UID:
deleted and made again under its name it is another one. What only changes a status is no news to the engine.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from background_tasks.api import names
from background_tasks.api.convert import task_of
from background_tasks.api.read import read_resource
from background_tasks.api.refusals import refusal
from background_tasks.api.task import BackgroundTask
from background_tasks.domain.model import Task, TaskUid
from background_tasks.ports import Clock, Refusal, RefusedDocument, Removed, SourceEvent, Synced, Upserted
from background_tasks.services.kubernetes.client import Cluster
from background_tasks.services.kubernetes.reflector import Changed, Listed, Reflector, Told
from background_tasks.services.kubernetes.resources import BACKGROUND_TASKS
from background_tasks.sources.changes import same

type Body = dict[str, Any]

KEPT = ("name", "namespace", "uid", "generation", "creationTimestamp", "deletionTimestamp", "resourceVersion")
"""Of an object's metadata; 10,000 tasks are held at once while they are listed."""
AT_ONCE = 200
"""Bodies of a list looked at before others have their turn: some milliseconds, also where nothing is told."""
FIELD_SELECTOR = "spec.poolRef.name={pool}"

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Known:
    """What is remembered of one resource."""

    name: str
    """`namespace/name`."""
    stamp: tuple[object, ...] | None = None
    """Equal for two bodies that mean the same task; None: not known, look again."""
    task: Task | None = None
    """The last good version, which is armed."""
    refusals: tuple[Refusal, ...] = ()
    """Why the newest version is no task."""
    status: bytes | None = None
    """As JSON: a sixth of what it takes as dicts."""
    version: str = ""


class ClusterSource:
    """Implements `ports.TaskSource` over the tasks of `pool` in `namespace`. Watched once at a time."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        pool: str,
        clock: Clock,
        report: Callable[[str], None] = _log.warning,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._reflector = Reflector(
            cluster,
            BACKGROUND_TASKS,
            clock=clock,
            namespace=namespace,
            field_selector=FIELD_SELECTOR.format(pool=pool),
            report=report,
            trim=lean,
        )
        self._known: dict[TaskUid, _Known] = {}
        self._uids: dict[str, TaskUid] = {}
        """By `namespace/name`."""

    async def watch(self) -> AsyncGenerator[SourceEvent, None]:
        """Yield what exists, `Synced`, then changes; never ends. What fails is reported and tried again."""
        self._known, self._uids = {}, {}
        synced = False
        async with aclosing(self._reflector.events()) as told:
            async for news in told:
                async for event in self._events(news):
                    yield event
                if not synced and isinstance(news, Listed):
                    synced = True
                    yield Synced()

    def address(self, uid: TaskUid) -> tuple[str, str] | None:
        """Return namespace and name of a task that is there."""
        known = self._known.get(uid)
        if known is None:
            return None
        namespace, _, name = known.name.partition("/")
        return namespace, name

    def status_of(self, uid: TaskUid) -> Mapping[str, Any] | None:
        """Return the status that was seen last; None for a task that is not there or has none."""
        known = self._known.get(uid)
        if known is None or known.status is None:
            return None
        status: Mapping[str, Any] = json.loads(known.status)
        return status

    def version_of(self, uid: TaskUid) -> str | None:
        """Return the resourceVersion that was seen last."""
        known = self._known.get(uid)
        return None if known is None else known.version

    async def _events(self, news: Told) -> AsyncGenerator[SourceEvent, None]:
        if isinstance(news, Listed):
            for number, event in enumerate(self._all(news.bodies), start=1):
                if event is not None:
                    yield event
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)
            return
        for event in self._seen(news.body) if isinstance(news, Changed) else self._gone(_uid(news.body)):
            yield event

    def _all(self, bodies: tuple[Body, ...]) -> Iterator[SourceEvent | None]:
        """Tell what a list says: what is gone first, for its name may be another task's now. None: no news."""
        there = {_uid(body) for body in bodies}
        for uid in [uid for uid in self._known if uid not in there]:
            yield from self._gone(uid)
        for body in bodies:
            yield None
            yield from self._seen(body)

    def _gone(self, uid: TaskUid | None) -> Iterator[SourceEvent]:
        known = self._known.pop(uid, None) if uid else None
        if uid and known is not None:
            if self._uids.get(known.name) == uid:
                del self._uids[known.name]
            if known.task is not None or known.refusals:
                yield Removed(uid)

    def _seen(self, body: Body) -> Iterator[SourceEvent]:
        metadata = body["metadata"]
        name = f"{metadata.get('namespace')}/{metadata.get('name')}"
        uid = _uid(body)
        if uid is None:
            fix = "is no UID; let the API server give one"
            yield RefusedDocument(refusal(("metadata", "uid"), fix, metadata.get("uid"), lambda _: name))
            return
        if self._uids.get(name, uid) != uid:  # its deletion was not told to us
            yield from self._gone(self._uids[name])
        if metadata.get("deletionTimestamp"):  # only somebody's finalizer holds it: to people it is deleted
            yield from self._gone(uid)
            return
        known = self._known.setdefault(uid, _Known(name))
        self._uids[name] = uid
        known.status, known.version = body.get("status"), metadata.get("resourceVersion") or ""
        stamp = _stamp(metadata)
        if stamp is None or stamp != known.stamp:
            known.stamp = stamp
            yield from self._read(body, uid, known)

    def _read(self, body: Body, uid: TaskUid, known: _Known) -> Iterator[SourceEvent]:
        whole = {key: part for key, part in body.items() if key != "status"}
        found = read_resource(whole, lambda _: known.name)
        if isinstance(found, BackgroundTask) and found.spec.pool_ref.name != self._pool:
            yield from self._gone(uid)
        elif isinstance(found, BackgroundTask):
            task = task_of(found, seen_at=self._clock.wall())
            if known.task is None or known.refusals or not same(task, known.task):
                known.task, known.refusals = task, ()
                yield Upserted(task)
        else:
            told, known.refusals = known.refusals, _refusals(found, body, uid, known.name)
            yield from (RefusedDocument(fresh) for fresh in known.refusals if fresh not in told)


def lean(body: Body) -> Body:
    """Keep of an object what the engine or the status writer asks for; the status as JSON."""
    metadata = body["metadata"]
    kept = {key: metadata[key] for key in KEPT if key in metadata}
    annotations = metadata.get("annotations")
    if isinstance(annotations, Mapping):
        kept["annotations"] = {key: annotations[key] for key in names.ANNOTATIONS if key in annotations}
    elif annotations is not None:
        kept["annotations"] = annotations
    status = body.get("status")
    small: Body = {"apiVersion": body.get("apiVersion"), "kind": body.get("kind"), "metadata": kept}
    if "spec" in body:
        small["spec"] = body["spec"]
    if isinstance(status, Mapping) and status:
        small["status"] = json.dumps(status, separators=(",", ":")).encode()
    return small


def _uid(body: Body) -> TaskUid | None:
    uid = body["metadata"].get("uid")
    return TaskUid(uid) if isinstance(uid, str) and uid else None


def _stamp(metadata: Mapping[str, Any]) -> tuple[object, ...] | None:
    generation, annotations = metadata.get("generation"), metadata.get("annotations") or {}
    if not isinstance(generation, int) or not isinstance(annotations, Mapping):
        return None
    return (generation, *(annotations.get(key) for key in names.ANNOTATIONS))


def _refusals(found: object, body: Body, uid: TaskUid, name: str) -> tuple[Refusal, ...]:
    """Say why a body of the tasks' own resource is no task; every refusal names the task that it is about."""
    made: tuple[Refusal, ...] = getattr(found, "refusals", ())
    if not made:
        made = (refusal(("kind",), f"is not {names.TASK_KIND}", body.get("kind"), lambda _: name),)
    return tuple(replace(one, uid=uid) for one in made)
