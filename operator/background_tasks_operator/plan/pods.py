"""The pods of a pool: one container that passes Pod Security "restricted", and what the template may add to it.

Not here: how many there are and how they are replaced (`deployment`). No annotation keeps a pod from being moved.
"""

from collections.abc import Iterator
from math import ceil
from typing import Any

from background_tasks.api import names
from background_tasks.api.duration import parse_duration
from background_tasks_operator.plan.autoscaling import hpa_of
from background_tasks_operator.plan.environment import environment, environment_problems
from background_tasks_operator.plan.metadata import labels, selector
from background_tasks_operator.plan.model import Manifest, PoolFacts, Problem
from background_tasks_operator.settings import Settings

CONTAINER = "worker"
PORT_NAME = "metrics"
PORT = 8080
"""Probes and metrics."""
USER = 65532
"""`nonroot` of the images; a number, so that a kubelet can see that it is not root."""
FLUSH_S = 30
"""After `drainTimeout`: cancelled runs end, status is written, slots and lease are given back."""
SCRATCH = "bgtasks-tmp"
SCRATCH_PATH = "/tmp"
"""The one writable place below a read-only root."""
SCRATCH_SIZE = "64Mi"
"""It is memory and counts against the container's limit."""
CPU_REQUEST = "50m"
RESOURCES: dict[str, Any] = {"requests": {"cpu": CPU_REQUEST, "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
"""Where the template says nothing. No CPU limit: throttling would make starts late and renewals slow."""


def pod_template(pool: PoolFacts, settings: Settings) -> Manifest:
    """Build the template of a worker pod."""
    annotations = pool.spec.template.annotations
    meta: dict[str, Any] = {"labels": {**pool.spec.template.labels, **labels(pool)}}
    if annotations:
        meta["annotations"] = dict(annotations)
    return {"metadata": meta, "spec": _pod_spec(pool, settings)}


def pod_problems(pool: PoolFacts) -> Iterator[Problem]:
    """Tell what the template asks for and does not get."""
    yield from environment_problems(pool)
    ours = labels(pool)
    for name, value in pool.spec.template.labels.items():
        if ours.get(name, value) != value:
            told = f"spec.template.labels[{name}]: the operator sets this label to {ours[name]}"
            yield Problem(reason="TemplateConflict", message=f"{told}; remove it")
    for index, volume in enumerate(pool.spec.template.volumes):
        if volume.get("name") == SCRATCH:
            told = f"spec.template.volumes[{index}].name: {SCRATCH} is the operator's own volume"
            yield Problem(reason="TemplateConflict", message=f"{told}; choose another name")


def _pod_spec(pool: PoolFacts, settings: Settings) -> dict[str, Any]:
    template = pool.spec.template
    volumes = [dict(volume) for volume in template.volumes if volume.get("name") != SCRATCH]
    if not _brings_scratch(pool):
        volumes.insert(0, {"name": SCRATCH, "emptyDir": {"medium": "Memory", "sizeLimit": SCRATCH_SIZE}})
    optional = {
        "imagePullSecrets": [dict(secret) for secret in pool.spec.image_pull_secrets],
        "nodeSelector": dict(template.node_selector),
        "tolerations": [dict(toleration) for toleration in template.tolerations],
        "affinity": dict(template.affinity),
        "priorityClassName": template.priority_class_name,
        "volumes": volumes,
    }
    return {
        "serviceAccountName": template.service_account_name or names.workers_name(pool.name),
        "automountServiceAccountToken": True,
        # A Service called `bgtasks` would otherwise bring variables that begin with ours.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": ceil(parse_duration(pool.spec.drain_timeout)) + FLUSH_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": _spread(pool),
        "containers": [_container(pool, settings)],
        **{field: value for field, value in optional.items() if value},
    }


def _container(pool: PoolFacts, settings: Settings) -> dict[str, Any]:
    template = pool.spec.template
    mounts = [dict(mount) for mount in template.volume_mounts]
    if not _brings_scratch(pool):
        mounts.insert(0, {"name": SCRATCH, "mountPath": SCRATCH_PATH})
    optional = {"envFrom": [dict(source) for source in template.env_from], "volumeMounts": mounts}
    return {
        "name": CONTAINER,
        "image": pool.spec.image or settings.image,
        "imagePullPolicy": pool.spec.image_pull_policy if pool.spec.image else settings.image_pull_policy,
        "args": ["worker", "--cluster"],
        "ports": [{"name": PORT_NAME, "containerPort": PORT, "protocol": "TCP"}],
        "env": environment(pool),
        "resources": _resources(pool),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # Two minutes to import its modules; then a loop that is stuck for half a minute is replaced.
        "startupProbe": _probe("/livez", period=2, failures=60),
        "livenessProbe": _probe("/livez", period=10, failures=3),
        "readinessProbe": _probe("/readyz", period=2, failures=3),
        **{field: value for field, value in optional.items() if value},
    }


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": PORT_NAME},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _brings_scratch(pool: PoolFacts) -> bool:
    """Say whether the template mounts a volume of its own where ours would be."""
    return any(str(mount.get("mountPath")).rstrip("/") == SCRATCH_PATH for mount in pool.spec.template.volume_mounts)


def _resources(pool: PoolFacts) -> dict[str, Any]:
    """Return what the template says; an HPA counts percents of a CPU request, so with one there always is one."""
    given = dict(pool.spec.template.resources) or RESOURCES
    sides = [given.get(side, {}) for side in ("requests", "limits")]
    if hpa_of(pool) is None or not all(isinstance(side, dict) and "cpu" not in side for side in sides):
        return given
    return {**given, "requests": {"cpu": CPU_REQUEST, **sides[0]}}


def _spread(pool: PoolFacts) -> list[dict[str, Any]]:
    """Spread over nodes where the template does not say how; a constraint without a selector means this pool."""
    ours = {"labelSelector": {"matchLabels": selector(pool)}}
    given = pool.spec.template.topology_spread_constraints or (
        # Per revision: else the old pods would tell a rollout where the new ones go.
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "matchLabelKeys": ["pod-template-hash"],
        },
    )
    return [{**ours, **constraint} for constraint in given]
