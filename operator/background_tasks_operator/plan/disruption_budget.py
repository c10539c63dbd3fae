"""How many workers of a pool may be moved at one time by those who drain nodes: one."""

from background_tasks.api import names
from background_tasks_operator.plan.metadata import metadata, selector
from background_tasks_operator.plan.model import Manifest, PoolFacts


def disruption_budget(pool: PoolFacts) -> Manifest:
    """Build the budget. Of a pool of one the one may go: a drain must end, and its tasks start where it comes back."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(pool, names.workers_name(pool.name)),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": selector(pool)},
            # A worker that is not ready does no work: it must not hold up a node.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
