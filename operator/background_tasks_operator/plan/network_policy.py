"""Who may reach the pods of a pool: anyone, on the one port of metrics and probes.

Not here: what tasks may reach; that is theirs to know, and a policy of the namespace's own may narrow it.
"""

from background_tasks.api import names
from background_tasks_operator.plan.metadata import metadata, selector
from background_tasks_operator.plan.model import Manifest, PoolFacts
from background_tasks_operator.plan.pods import PORT


def network_policy(pool: PoolFacts) -> Manifest:
    """Build the policy: metrics and probes come in, nothing else."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(pool, names.workers_name(pool.name)),
        "spec": {
            "podSelector": {"matchLabels": selector(pool)},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": PORT, "protocol": "TCP"}]}],
        },
    }
