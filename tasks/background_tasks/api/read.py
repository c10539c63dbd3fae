"""One document in, one resource out, or every reason why not; documents of other people are left alone.

Not here: bytes, YAML and files (`sources`). A body is what YAML or JSON make of a document.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from background_tasks.api import hints, names
from background_tasks.api.faults import FieldPath
from background_tasks.api.pool import WorkerPool
from background_tasks.api.refusals import Place, refusal, refusals_of
from background_tasks.api.task import BackgroundTask
from background_tasks.domain.model import TaskUid
from background_tasks.ports import Refusal

_SPACE = uuid.uuid5(uuid.NAMESPACE_DNS, names.GROUP)
_MODELS: Mapping[str, type[BackgroundTask] | type[WorkerPool]] = {
    names.TASK_KIND: BackgroundTask,
    names.POOL_KIND: WorkerPool,
}


@dataclass(frozen=True, slots=True)
class Unfit:
    """The document is ours and cannot be used."""

    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Foreign:
    """The document is somebody else's, such as a ConfigMap."""

    kind: str


@dataclass(frozen=True, slots=True)
class Identity:
    """What names a document, as far as it can be read; defaults where it says nothing."""

    kind: str
    namespace: str
    name: str
    pool: str
    uid: str | None = None

    @property
    def task_uid(self) -> TaskUid:
        """The UID a cluster gave, else the derived one."""
        return TaskUid(self.uid) if self.uid else uid_of(self.pool, self.namespace, self.name)


def uid_of(pool: str, namespace: str, name: str) -> TaskUid:
    """Derive the UID of a task that no cluster has seen: the same on every machine and after every restart."""
    return TaskUid(str(uuid.uuid5(_SPACE, f"{pool}/{namespace}/{name}")))


def identity_of(body: object) -> Identity | None:
    """Read who a document is, even where the rest of it is wrong; None without a usable name."""
    name = _text(body, "metadata", "name")
    if not name:
        return None
    return Identity(
        kind=_text(body, "kind") or "",
        namespace=_text(body, "metadata", "namespace") or names.DEFAULT_NAMESPACE,
        name=name,
        pool=_text(body, "spec", "poolRef", "name") or names.DEFAULT_POOL,
        uid=_text(body, "metadata", "uid"),
    )


def read_resource(body: object, place: Place) -> BackgroundTask | WorkerPool | Unfit | Foreign:
    """Make a resource of a document; all that is wrong with it comes at once."""
    if not isinstance(body, Mapping):
        return _unfit((), "is not a mapping; write apiVersion, kind, metadata and spec", body, place)
    kind, version = body.get("kind"), body.get("apiVersion")
    if kind not in _MODELS:
        return _other(kind, version, place)
    if version != names.API_VERSION:
        if version is None:
            return _unfit(("apiVersion",), hints.missing("apiVersion"), None, place)
        return _unfit(("apiVersion",), f"is not known for {kind}; write {names.API_VERSION}", version, place)
    model = _MODELS[str(kind)]
    try:
        return model.model_validate(body)
    except ValidationError as error:
        identity = identity_of(body)
        uid = identity.task_uid if identity and kind == names.TASK_KIND else None
        return Unfit(refusals_of(error, model, place, uid))


def _other(kind: object, version: object, place: Place) -> Unfit | Foreign:
    ours = isinstance(version, str) and (
        version.partition("/")[0] == names.GROUP or hints.nearest(version, [names.API_VERSION])
    )
    if isinstance(kind, str) and not ours:
        return Foreign(kind)
    if kind is None:
        return _unfit(("kind",), f"is missing; write {' or '.join(names.KINDS)}", None, place)
    if version is None or ours:
        return _unfit(("kind",), f"is not known; {hints.choice(kind, names.KINDS)}", kind, place)
    return _unfit(("kind",), "is not a kind; write one word such as BackgroundTask", kind, place)


def _unfit(path: FieldPath, message: str, value: object, place: Place) -> Unfit:
    return Unfit((refusal(path, message, value, place, bare=value is None),))


def _text(body: object, *path: str) -> str | None:
    for part in path:
        body = body.get(part) if isinstance(body, Mapping) else None
    return body if isinstance(body, str) else None
