"""Who the workers of a pool are.

Not here: what that identity may do (`role`, `role_binding`).
"""

from background_tasks.api import names
from background_tasks_operator.plan.metadata import metadata
from background_tasks_operator.plan.model import Manifest, PoolFacts


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
