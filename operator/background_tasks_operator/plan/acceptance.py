"""Whether a task is accepted: it can be read, and its pool exists. Told per task, and only when it changes.

Not here: whether it can run (`Ready`): only a worker knows its coroutine, params and services.
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


def accepted_status(task: Mapping[str, Any], condition: Condition, now: float) -> Manifest | None:
    """Build what is applied to the task's `status`; None where it tells the same already. `now` is wall seconds."""
    present = present_conditions(task.get("status")).get(ACCEPTED)
    identity = identity_of(task)
    if identity is None or is_told(condition, present):
        return None
    # The uid tells people whom it was about: the server does not compare it. A task made anew is judged anew anyway.
    uid = {"uid": identity.uid} if identity.uid else {}
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.TASK_KIND,
        "metadata": {"name": identity.name, "namespace": identity.namespace, **uid},
        "status": {"conditions": [body_of(condition, present, now)]},
    }


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


def _generation(task: Mapping[str, Any]) -> int:
    meta = task.get("metadata")
    found = meta.get("generation") if isinstance(meta, Mapping) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else 0
