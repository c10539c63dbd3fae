"""Who the workers of a pool are, and what that identity may do: bound to the pool's Role.

Not here: what the Role holds (`role`).
"""

from background_tasks.api import names
from background_tasks_operator.plan.metadata import metadata
from background_tasks_operator.plan.model import Manifest, PoolFacts

RBAC_GROUP = "rbac.authorization.k8s.io"
RBAC = f"{RBAC_GROUP}/v1"


def service_account(pool: PoolFacts) -> Manifest:
    """Build the pool's own account.

    It stays where the template names another: workers that drain after the change still use it, and without an
    identity they could neither record their runs nor give their slots back.
    """
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(pool, names.workers_name(pool.name)),
    }


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
