"""`WorkerPool`: the processes that run tasks, what they are given, and how they prove that they live.

Not here: its services and its pods (`pool_services`, `pool_template`), the objects that an operator makes of it.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, model_validator

from background_tasks.api.duration import Duration, PositiveDuration, parse_duration
from background_tasks.api.faults import Fault, fault, raise_faults
from background_tasks.api.fields import Label, Maybe, Part, patterned
from background_tasks.api.metadata import ObjectMeta
from background_tasks.api.pool_services import Services
from background_tasks.api.pool_template import MAX_ITEMS, Manifests, Monitoring, Template
from background_tasks.api.rules import longer, rule, ruled, seconds
from background_tasks.api.task import MODULE_NAME

MAX_SLOTS = 1024
MAX_WORKERS = 1000
POOL_NAME_LENGTH = 52
"""Objects of a pool add a suffix, and a label value has 63 characters."""

FLAG_LENGTH = 1024
MODULE_LENGTH = 253
_MODULE_FIX = "is not the name of a module; write one such as my_app.tasks"


def check_flag(value: object) -> bool | int | float | str:
    """Accept what a configuration switch may be."""
    if not isinstance(value, bool | int | float | str):
        raise fault("cannot be a flag; write true, false, a number or text")
    if isinstance(value, str) and len(value) > FLAG_LENGTH:
        raise fault(f"is too long; write at most {FLAG_LENGTH} characters")
    return value


FlagValue = Annotated[
    Any,
    AfterValidator(check_flag),
    WithJsonSchema({"description": "true, false, a number or text.", "x-kubernetes-preserve-unknown-fields": True}),
]


def check_module(value: str) -> str:
    """Accept the dotted name of a module."""
    if not MODULE_NAME.fullmatch(value):
        raise fault(_MODULE_FIX)
    return value


Module = Annotated[
    str,
    Field(max_length=MODULE_LENGTH),
    AfterValidator(check_module),
    patterned(MODULE_NAME, MODULE_LENGTH, _MODULE_FIX),
]


class Group(Part):
    """Tasks that share one slot and a cap."""

    name: Label = Field(description="Name that tasks give as spec.group.")
    max_concurrent: Annotated[int, Field(strict=True, ge=1, le=1000)] = Field(
        1, description="So many runs of the group at one time, in the whole pool."
    )


class Lease(Part):
    """How a worker proves that it lives."""

    model_config = ConfigDict(
        json_schema_extra=ruled(
            rule(
                longer(seconds("self.duration"), seconds("self.renewDeadline")),
                "is not longer than renewDeadline; write more: a worker must stand down before others take over",
                at=".duration",
                shown="self.duration",
            ),
            rule(
                longer(seconds("self.renewDeadline"), f"2.0 * {seconds('self.retryPeriod')}"),
                "is not longer than twice retryPeriod; write more: one lost renewal must not cost the slots",
                at=".renewDeadline",
                shown="self.renewDeadline",
            ),
        )
    )

    backend: Literal["Kubernetes", "Redis"] = Field(
        "Kubernetes",
        description="Where leases and slots are kept: Lease objects and a ConfigMap, or the Redis of services.redis. "
        "It cannot be changed.",
        json_schema_extra=ruled(
            rule("self == oldSelf", "cannot be changed: old and new workers would both act; make a new pool")
        ),
    )
    duration: PositiveDuration = Field(
        "12s", description="A lease that is not renewed for so long counts as dead, and its slots pass on."
    )
    renew_deadline: PositiveDuration = Field(
        "8s", description="A worker whose renewals fail for so long stops acting; shorter than duration."
    )
    retry_period: PositiveDuration = Field("3s", description="Time between renewals; renewDeadline is longer than two.")

    @model_validator(mode="after")
    def _deadlines_nest(self) -> "Lease":
        duration, deadline, period = map(parse_duration, (self.duration, self.renew_deadline, self.retry_period))
        faults = []
        if duration <= deadline:
            fix = f"write more than {self.renew_deadline}: a worker must stand down before others take over"
            faults.append(Fault(("duration",), f"is not longer than renewDeadline; {fix}", self.duration))
        if deadline <= 2 * period:
            fix = f"write more than twice {self.retry_period}: one lost renewal must not cost the slots"
            message = f"is not longer than twice retryPeriod; {fix}"
            faults.append(Fault(("renewDeadline",), message, self.renew_deadline))
        raise_faults(faults)
        return self


class Autoscaling(Part):
    """How many workers, by load."""

    model_config = ConfigDict(
        json_schema_extra=ruled(
            rule(
                "self.minReplicas <= self.maxReplicas",
                "is more than maxReplicas; write at most that",
                at=".minReplicas",
            )
        )
    )

    engine: Literal["HPA", "KEDA"] = Field(
        "HPA",
        description="HPA: by CPU use. KEDA: by the load that is coming; it has no effect yet, and replicas holds.",
    )
    min_replicas: Annotated[int, Field(strict=True, ge=1, le=MAX_WORKERS)] = Field(
        1, description="At least so many workers."
    )
    max_replicas: Annotated[int, Field(strict=True, ge=1, le=MAX_WORKERS)] = Field(
        description="At most so many workers, and no more than slots."
    )
    target_cpu: Annotated[int, Field(strict=True, ge=1, le=100)] = Field(
        70, description="CPU use that is aimed at, in percent of the request.", alias="targetCPU"
    )
    scale_down_delay: Duration = Field("5m", description="Load has to be low for so long before a worker goes.")

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> "Autoscaling":
        if self.min_replicas > self.max_replicas:
            message = f"is more than maxReplicas; write at most {self.max_replicas}"
            raise_faults([Fault(("minReplicas",), message, self.min_replicas)])
        return self


class PoolSpec(Part):
    """What a WorkerPool declares."""

    model_config = ConfigDict(
        json_schema_extra=ruled(
            rule(
                'self.lease.backend != "Redis" || (has(self.services) && has(self.services.redis))',
                "needs a Redis; give services.redis, or write Kubernetes",
                at=".lease.backend",
            ),
            rule(
                'self.lease.backend != "Redis" || oldSelf.lease.backend != "Redis" || '
                "self.services.redis == oldSelf.services.redis",
                "cannot be changed where it holds the leases: old and new workers would both act; make a new pool",
                at=".services.redis",
            ),
            rule(
                "!has(self.autoscaling) || self.autoscaling.maxReplicas <= self.slots",
                "is more than slots: a worker without a slot is idle; write at most as many",
                at=".autoscaling.maxReplicas",
            ),
        )
    )

    image: Maybe[Annotated[str, Field(min_length=1, max_length=512)]] = Field(
        None, description="Image of the workers; its entry point is bgtasks. Absent: the operator's own choice."
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="When the image is pulled: Always, IfNotPresent or Never."
    )
    image_pull_secrets: Manifests = Field((), description="Secrets with which the image is pulled, as in a pod.")
    replicas: Annotated[int, Field(strict=True, ge=0, le=MAX_WORKERS)] = Field(
        1, description="Number of workers; what /scale writes. Without effect while an autoscaler decides."
    )
    slots: Annotated[int, Field(strict=True, ge=1, le=MAX_SLOTS)] = Field(
        16,
        description="Shares into which the pool's tasks are divided; each has one holder. It cannot be changed.",
        json_schema_extra=ruled(
            rule(
                "self == oldSelf", "cannot be changed: it decides which worker runs what; make a new pool of that size"
            )
        ),
    )
    lease: Lease = Field(Lease(), description="How a worker proves that it lives.")
    task_modules: Annotated[tuple[Module, ...], Field(max_length=MAX_ITEMS)] = Field(
        (), description="Modules that each worker imports; tasks may name their coroutines."
    )
    services: Services = Field(
        Services(), description="The outside worlds that tasks are given. What is absent, no task may require."
    )
    flags: dict[str, FlagValue] = Field(
        {}, description="Switches that coroutines ask for, by their own names.", max_length=256
    )
    groups: Annotated[tuple[Group, ...], Field(max_length=MAX_ITEMS)] = Field(
        (),
        description="Groups of tasks, each with a cap on runs at one time.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    autoscaling: Maybe[Autoscaling] = Field(
        None, description="Lets an autoscaler decide how many workers there are. Absent: replicas holds."
    )
    drain_timeout: Duration = Field("60s", description="When a worker stops, runs may go on so long.")
    template: Template = Field(
        Template(), description="What pods of the pool may be told: a choice of a pod's own fields."
    )
    monitoring: Monitoring = Field(Monitoring(), description="Objects for the Prometheus operator.")

    @model_validator(mode="after")
    def _fits_together(self) -> "PoolSpec":
        raise_faults(self._faults())
        return self

    def _faults(self) -> Iterator[Fault]:
        if self.lease.backend == "Redis" and self.services.redis is None:
            fix = "give services.redis, or write Kubernetes"
            yield Fault(("lease", "backend"), f"needs a Redis; {fix}", self.lease.backend)
        if self.autoscaling is not None and self.autoscaling.max_replicas > self.slots:
            message = f"is more than slots: a worker without a slot is idle; write at most {self.slots}"
            yield Fault(("autoscaling", "maxReplicas"), message, self.autoscaling.max_replicas)
        seen: set[str] = set()
        for index, group in enumerate(self.groups):
            if group.name in seen:
                yield Fault(("groups", index, "name"), "is there twice; give each group once", group.name)
            seen.add(group.name)


class PoolMeta(ObjectMeta):
    """Metadata of a pool, whose name becomes part of other names."""

    name: Annotated[Label, Field(max_length=POOL_NAME_LENGTH)]


class WorkerPool(Part):
    """The workers that run tasks."""

    api_version: Literal["background-tasks.dev/v1alpha1"]
    kind: Literal["WorkerPool"]
    metadata: PoolMeta
    spec: PoolSpec = Field(PoolSpec(), description="What the pool is like.")
    status: Maybe[dict[str, Any]] = Field(None, description="Written by the operator; ignored when read.")
