"""What a plan is made of: a pool as declared, what was observed of it, and what must exist or must not.

Not here: how a body becomes these (`facts`), which objects there are (one builder per file), and any client.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from background_tasks.api.pool import PoolSpec

type Manifest = Mapping[str, Any]
"""An object as it is applied: only fields that are ours."""


class Capability(StrEnum):
    """Kinds that a cluster may lack, by `kind.group`."""

    SERVICE_MONITOR = "ServiceMonitor.monitoring.coreos.com"
    SCALED_OBJECT = "ScaledObject.keda.sh"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFacts:
    """A WorkerPool as its owner declared it."""

    namespace: str
    name: str
    uid: str
    generation: int = 1
    spec: PoolSpec
    deleting: bool = False
    """It is going: its objects go by their owner references, and none is made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRef:
    """One object by name, in the pool's namespace."""

    api_version: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentState:
    """What the Deployment says of itself; all zeros where it says nothing."""

    replicas: int = 0
    """Pods that exist and are not going."""
    ready: int = 0
    updated: int = 0
    available: int = 0
    unavailable: int = 0
    wanted: int = 1
    """`spec.replicas`, whoever wrote it."""
    current: bool = False
    """Its controller has seen the latest spec; before, the counts tell of an earlier one."""
    stalled: str = ""
    """Why the rollout does not go on (`ProgressDeadlineExceeded`), in Kubernetes' words."""
    failure: str = ""
    """Why pods cannot be made (`ReplicaFailure`), in Kubernetes' words."""
    replicas_ours: bool = False
    """Our field manager owns `spec.replicas`: leaving it out of an apply would reset it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCounts:
    """Tasks of a pool, counted by what their status tells."""

    total: int = 0
    ready: int = 0
    running: int = 0
    late: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What was read from the cluster about one pool."""

    deployment: DeploymentState | None = None
    """None: there is none."""
    slots_held: int = 0
    slots_total: int = 0
    """Rows of the slot table; 0: no worker has filled it yet."""
    tasks: TaskCounts = TaskCounts()
    capabilities: frozenset[Capability] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something asked for that cannot be had; the pool is `Degraded` until it is gone."""

    reason: str
    """CamelCase condition reason."""
    message: str
    """Names the field, what is wrong with it, and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """What must be true of one pool's objects."""

    handovers: tuple[Manifest, ...] = ()
    """Applied before `objects`, by the field manager `names.HANDOVER_MANAGER`: it takes over a field that we leave."""
    objects: tuple[Manifest, ...] = ()
    """Must exist; applied in this order."""
    absent: tuple[ObjectRef, ...] = ()
    """Must not exist; only an object that the pool controls (`owned_by`) may be deleted for it."""
    problems: tuple[Problem, ...] = ()
