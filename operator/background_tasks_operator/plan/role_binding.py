"""Who may do what the Role of a pool says: the workers' accounts.

Not here: what the Role says (`role`).
"""

from background_tasks.api import names
from background_tasks_operator.plan.metadata import metadata
from background_tasks_operator.plan.model import Manifest, PoolFacts
from background_tasks_operator.plan.role import RBAC, RBAC_GROUP


def role_binding(pool: PoolFacts) -> Manifest:
    """Bind the Role to the pool's account, and to the one that the template names."""
    name = names.workers_name(pool.name)
    accounts = dict.fromkeys((name, pool.spec.template.service_account_name or name))
    return {
        "apiVersion": RBAC,
        "kind": "RoleBinding",
        "metadata": metadata(pool, name),
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": pool.namespace} for account in accounts],
    }
