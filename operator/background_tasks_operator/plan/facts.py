"""From bodies that a cluster sent to what a plan is made of. What cannot be read is refused, or counts as not said.

Not here: what follows from it.
"""

from collections.abc import Mapping
from typing import Any

from background_tasks.api import names
from background_tasks.api.pool import WorkerPool
from background_tasks.api.read import Foreign, Unfit, identity_of, read_resource
from background_tasks.api.refusals import refusal
from background_tasks_operator.plan.model import DeploymentState, PoolFacts


def pool_facts(body: object) -> PoolFacts | Unfit:
    """Read a WorkerPool that a cluster sent, or say all that is wrong with it."""
    identity = identity_of(body)
    where = f"{identity.namespace}/{identity.name}" if identity else "a WorkerPool without a name"
    read = read_resource(body, lambda path: where)
    if isinstance(read, Unfit):
        return read
    if isinstance(read, Foreign) or not isinstance(read, WorkerPool):
        told = "is not a WorkerPool; write kind: WorkerPool"
        return Unfit((refusal(("kind",), told, read.kind, lambda path: where),))
    meta = read.metadata
    if meta.uid is None:
        told = "is missing: only a pool that a cluster knows has objects"
        return Unfit((refusal(("metadata", "uid"), told, None, lambda path: where, bare=True),))
    return PoolFacts(
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        generation=meta.generation or 1,
        spec=read.spec,
        deleting=meta.deletion_timestamp is not None,
    )


def deployment_state(body: Mapping[str, Any]) -> DeploymentState:
    """Read what a Deployment says of itself."""
    meta, spec, status = (_mapping(body.get(part)) for part in ("metadata", "spec", "status"))
    generation, seen = _count(meta.get("generation")), _count(status.get("observedGeneration"))
    conditions = {str(one.get("type")): one for one in _mappings(status.get("conditions"))}
    progress, failure = conditions.get("Progressing", {}), conditions.get("ReplicaFailure", {})
    return DeploymentState(
        replicas=_count(status.get("replicas")),
        ready=_count(status.get("readyReplicas")),
        updated=_count(status.get("updatedReplicas")),
        available=_count(status.get("availableReplicas")),
        unavailable=_count(status.get("unavailableReplicas")),
        wanted=_count(spec.get("replicas", 1)),
        current=0 < generation <= seen,
        stalled=_told(progress) if progress.get("status") == "False" else "",
        failure=_told(failure) if failure.get("status") == "True" else "",
        replicas_ours=any(_owns_replicas(entry) for entry in _mappings(meta.get("managedFields"))),
    )


def _owns_replicas(entry: Mapping[str, Any]) -> bool:
    fields = _mapping(_mapping(entry.get("fieldsV1")).get("f:spec"))
    applied = entry.get("manager") == names.OPERATOR_MANAGER and entry.get("operation") == "Apply"
    return applied and "f:replicas" in fields


def _told(condition: Mapping[str, Any]) -> str:
    reason, message = condition.get("reason"), condition.get("message")
    return ": ".join(text for text in (reason, message) if isinstance(text, str) and text) or "no reason is told"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
