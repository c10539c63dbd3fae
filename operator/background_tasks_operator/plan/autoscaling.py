"""Who decides how many workers there are: the pool's own `replicas`, or an autoscaler between two bounds.

Not here: the Deployment, which leaves `replicas` out where an autoscaler owns it.
"""

from collections.abc import Iterator
from math import ceil

from background_tasks.api import names
from background_tasks.api.duration import parse_duration
from background_tasks.api.pool import Autoscaling
from background_tasks_operator.plan.metadata import metadata
from background_tasks_operator.plan.model import Manifest, PoolFacts, Problem

LONGEST_WINDOW_S = 3600
"""An HPA remembers an hour of recommendations, no more."""


def hpa_of(pool: PoolFacts) -> Autoscaling | None:
    """Return what the HPA is told; None where none decides. KEDA does not yet, so `replicas` holds there."""
    wanted = pool.spec.autoscaling
    return wanted if wanted is not None and wanted.engine == "HPA" else None


def autoscaler(pool: PoolFacts) -> Manifest | None:
    """Build the HorizontalPodAutoscaler; None where the pool wants none."""
    wanted, name = hpa_of(pool), names.workers_name(pool.name)
    if wanted is None:
        return None
    target = {"type": "Utilization", "averageUtilization": wanted.target_cpu}
    window = min(ceil(parse_duration(wanted.scale_down_delay)), LONGEST_WINDOW_S)
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(pool, name),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": wanted.min_replicas,
            "maxReplicas": wanted.max_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": window}},
        },
    }


def autoscaling_problems(pool: PoolFacts) -> Iterator[Problem]:
    """Tell what cannot be had."""
    wanted = pool.spec.autoscaling
    if wanted is None:
        return
    if wanted.engine != "HPA":
        told = f"spec.autoscaling.engine: {wanted.engine} has no effect yet, and spec.replicas holds"
        yield Problem(reason="AutoscalerUnavailable", message=f"{told}; write HPA, or remove autoscaling")
    elif parse_duration(wanted.scale_down_delay) > LONGEST_WINDOW_S:
        told = f"spec.autoscaling.scaleDownDelay: an HPA waits for an hour at most, not {wanted.scale_down_delay}"
        yield Problem(reason="AutoscalerUnavailable", message=f"{told}; write 1h or less")
