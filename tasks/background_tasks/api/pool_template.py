"""What the pods of a pool may be told: a choice of a pod's own fields, in Kubernetes' own shapes.

Not here: image, arguments, probes and security of the pods, which are the operator's.
"""

from typing import Annotated, Any

from pydantic import Field

from background_tasks.api.fields import Flag, Maybe, Part, Subdomain

MAX_ITEMS = 64

Foreign = dict[str, Any]
"""A shape that Kubernetes defines and checks."""
Manifests = Annotated[tuple[Foreign, ...], Field(max_length=MAX_ITEMS)]
Texts = Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=MAX_ITEMS)]


class Template(Part):
    """What pods of the pool may be told; the rest is ours."""

    labels: Texts = Field({}, description="Labels added to each pod; those of the operator stay.")
    annotations: Texts = Field({}, description="Annotations added to each pod.")
    service_account_name: Maybe[Subdomain] = Field(
        None,
        description="A ServiceAccount of your own; it needs the rights of the Role that the operator makes for the "
        "pool. Absent: the operator makes one.",
    )
    env: Manifests = Field(
        (), description="Environment variables, as in a container; names that begin with BGTASKS_ are the operator's."
    )
    env_from: Manifests = Field((), description="Environment from ConfigMaps and Secrets, as in a container.")
    volumes: Manifests = Field((), description="Volumes, as in a pod; one at /tmp is there already.")
    volume_mounts: Manifests = Field((), description="Where the volumes are mounted, as in a container.")
    resources: Foreign = Field(
        {}, description="Requests and limits, as in a container. Absent: small ones.", max_length=MAX_ITEMS
    )
    node_selector: Texts = Field({}, description="Labels that a node must have, as in a pod.")
    tolerations: Manifests = Field((), description="Taints of nodes that are tolerated, as in a pod.")
    affinity: Foreign = Field({}, description="Affinity to nodes and pods, as in a pod.", max_length=MAX_ITEMS)
    topology_spread_constraints: Manifests = Field(
        (), description="How workers spread over zones and nodes, as in a pod. Absent: over nodes, where that can be."
    )
    priority_class_name: Maybe[Subdomain] = Field(None, description="PriorityClass of the pods.")


class Monitoring(Part):
    """Objects for the Prometheus operator."""

    service_monitor: Flag = Field(
        False, description="Make a ServiceMonitor, so that the Prometheus operator scrapes the workers."
    )
    rules: Flag = Field(False, description="Make a PrometheusRule with alerts. It has no effect yet.")
