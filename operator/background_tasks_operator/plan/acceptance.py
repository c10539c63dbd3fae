"""Whether a task is accepted: it can be read, and its pool exists. And that nobody runs it, once no worker can say so.

Told per task, and only when it changes. Not here: whether it can run (`Ready`), while there is a worker: only a worker
knows its coroutine, params and services.
"""

from collections.abc import Container, Mapping
from typing import Any

from background_tasks.api import names
from background_tasks.api.read import Foreign, Identity, Unfit, identity_of, read_resource
from background_tasks_operator.plan.conditions import Condition, body_of, is_told, present_conditions
from background_tasks_operator.plan.model import Manifest

ACCEPTED = "Accepted"
POOL_NOT_FOUND = "PoolNotFound"
INVALID = "Invalid"
READY = "Ready"
NO_WORKER = "NoWorker"
VACANT_AFTER_S = 30.0
"""A pool that had no ready worker for so long has none: a rolling update, a moved pod or a slow probe is shorter."""
SILENT_AFTER_S = 90.0
"""A worker that is not ready may live all the same, and shows a busy task every 31 s: so long it may be silent."""


def acceptance(task: Mapping[str, Any], pools: Container[str]) -> Condition:
    """Judge a task that a cluster sent. `pools` names the WorkerPools of its namespace, with one that is being made."""
    identity = identity_of(task)
    where = f"{identity.namespace}/{identity.name}" if identity else "a task without a name"
    read = read_resource(task, lambda path: where)
    if isinstance(read, Unfit):
        return _refused(task, INVALID, "; ".join(refusal.message for refusal in read.refusals))
    if identity is None or isinstance(read, Foreign):
        return _refused(task, INVALID, f"kind: {task.get('kind')} is not known here; write {names.TASK_KIND}")
    if identity.pool not in pools:
        return _refused(task, POOL_NOT_FOUND, _no_pool(identity))
    message = f"workers of the pool {identity.pool} run it"
    return Condition(
        type=ACCEPTED, status="True", reason=ACCEPTED, message=message, observed_generation=_generation(task)
    )


def needs_default_pool(task: Mapping[str, Any], pools: Container[str]) -> bool:
    """Say whether the task names the pool `default` (or none) and there is none: then one is made."""
    identity = identity_of(task)
    return identity is not None and identity.pool == names.DEFAULT_POOL and names.DEFAULT_POOL not in pools


def no_worker(namespace: str, pool: str, generation: int, *, pool_exists: bool) -> Condition:
    """Say that nobody runs a task, and what to do about it."""
    look = f"kubectl -n {namespace} describe workerpool {pool}"
    message = (
        f"the pool {pool} has no ready worker; scale it up, or see what is wrong with its pods: {look}"
        if pool_exists
        else f"there is no WorkerPool {pool} in the namespace {namespace}, so no worker; see the condition {ACCEPTED}"
    )
    return Condition(type=READY, status="False", reason=NO_WORKER, message=message, observed_generation=generation)


def no_worker_told(status: object) -> Mapping[str, Any] | None:
    """Return the condition by which a task was told that nobody runs it; None: it tells something else."""
    found = present_conditions(status).get(READY)
    ours = found is not None and (found.get("status"), found.get("reason")) == ("False", NO_WORKER)
    return found if ours else None


def no_worker_from(*, vacant_since: float, changed_at: float) -> float:
    """Return from when on a task whose `Ready` is True is told that nobody runs it. All on one clock.

    Changes within the first seconds are last words of workers that went. A later one shows that a worker lives: it is
    not contradicted before it has been silent for long, or the two would go on writing over each other.
    """
    vacant = vacant_since + VACANT_AFTER_S
    return vacant if changed_at <= vacant else changed_at + SILENT_AFTER_S


def accepted_status(
    task: Mapping[str, Any], condition: Condition, now: float, *, ready: Condition | None = None
) -> Manifest | None:
    """Build what is applied to the task's `status`; None where it tells the same already. `now` is wall seconds.

    `ready` is told besides, by a forced apply over the version that was seen, and no other: a worker that came back
    wins. What was told so stays in each later apply, until a worker takes it back: left out it would be half deleted.
    """
    present = present_conditions(task.get("status"))
    held = no_worker_told(task.get("status"))
    identity = identity_of(task)
    if identity is None or (
        is_told(condition, present.get(ACCEPTED)) and (ready is None or is_told(ready, present.get(READY)))
    ):
        return None
    conditions = [body_of(condition, present.get(ACCEPTED), now)]
    if ready is not None:
        conditions.append(body_of(ready, present.get(READY), now))
    elif held is not None:
        conditions.append(dict(held))
    meta: dict[str, Any] = {"name": identity.name, "namespace": identity.namespace}
    if (
        identity.uid
    ):  # it tells people whom it was about: the server does not compare it. A task made anew is judged anew
        meta["uid"] = identity.uid
    if len(conditions) > 1 and (seen := _version(task)):
        meta["resourceVersion"] = seen
    status = {"conditions": conditions}
    return {"apiVersion": names.API_VERSION, "kind": names.TASK_KIND, "metadata": meta, "status": status}


def _no_pool(identity: Identity) -> str:
    place = f"the namespace {identity.namespace}"
    if identity.pool == names.DEFAULT_POOL:
        return f"spec.poolRef.name: there is no WorkerPool {identity.pool} in {place} and none is made here; create it"
    fix = "create it, name one that exists, or remove poolRef to use the pool default"
    return f"spec.poolRef.name: there is no WorkerPool {identity.pool} in {place}; {fix}"


def _refused(task: Mapping[str, Any], reason: str, message: str) -> Condition:
    return Condition(
        type=ACCEPTED, status="False", reason=reason, message=message, observed_generation=_generation(task)
    )


def _version(task: Mapping[str, Any]) -> str:
    meta = task.get("metadata")
    found = meta.get("resourceVersion") if isinstance(meta, Mapping) else None
    return found if isinstance(found, str) else ""


def _generation(task: Mapping[str, Any]) -> int:
    meta = task.get("metadata")
    found = meta.get("generation") if isinstance(meta, Mapping) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else 0
