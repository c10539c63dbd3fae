"""The Deployment of a pool: how many workers there are, and how they are replaced.

Not here: what a worker pod is (`pods`).
"""

from typing import Any

from background_tasks.api import names
from background_tasks_operator.plan.autoscaling import hpa_of
from background_tasks_operator.plan.metadata import metadata, selector
from background_tasks_operator.plan.model import Manifest, Observed, PoolFacts
from background_tasks_operator.plan.pods import pod_template
from background_tasks_operator.settings import Settings

KEPT_REVISIONS = 3


def deployment(pool: PoolFacts, settings: Settings) -> Manifest:
    """Build the Deployment. `replicas` is left out where an autoscaler owns it."""
    replicas: dict[str, Any] = {} if hpa_of(pool) else {"replicas": pool.spec.replicas}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(pool, names.workers_name(pool.name)),
        "spec": {
            **replicas,
            "selector": {"matchLabels": selector(pool)},
            "revisionHistoryLimit": KEPT_REVISIONS,
            # The new worker is ready, and a standby, before an old one gives its slots back.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": pod_template(pool, settings),
        },
    }


def handover(pool: PoolFacts, observed: Observed) -> Manifest | None:
    """Build the apply that keeps `replicas` when an autoscaler takes over.

    A field that its only manager leaves out of an apply falls back to its default: a pool of ten workers would drop
    to one. So another manager takes the field first (the Kubernetes docs: "transferring ownership").
    """
    now = observed.deployment
    if hpa_of(pool) is None or now is None or not now.replicas_ours:
        return None
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": names.workers_name(pool.name), "namespace": pool.namespace},
        "spec": {"replicas": now.wanted},
    }
