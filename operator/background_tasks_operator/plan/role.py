"""What a worker may do in its namespace: the least that it needs, each verb with its reason.

Not here: who it is (`service_account`). Kubernetes cannot narrow `list`, `watch` and `create` to a pool by label.
"""

from typing import Any

from background_tasks.api import names
from background_tasks_operator.plan.metadata import metadata
from background_tasks_operator.plan.model import Manifest, PoolFacts

RBAC_GROUP = "rbac.authorization.k8s.io"
RBAC = f"{RBAC_GROUP}/v1"


def role(pool: PoolFacts) -> Manifest:
    """Build the pool's Role."""
    table = names.slot_table_name(pool.name)
    return {
        "apiVersion": RBAC,
        "kind": "Role",
        "metadata": metadata(pool, names.workers_name(pool.name)),
        "rules": [
            # Its tasks: all that exist, then every change; one by one what an earlier holder wrote into them.
            _rule(names.GROUP, "backgroundtasks", "get", "list", "watch"),
            # Their status, by server-side apply; never their spec.
            _rule(names.GROUP, "backgroundtasks/status", "patch"),
            # Its own member lease: make, renew, give back. The others': see that they live.
            _rule("coordination.k8s.io", "leases", "create", "delete", "list", "update", "watch"),
            # The slot table, by name: read, follow, claim. The operator makes it.
            {**_rule("", "configmaps", "get", "list", "update", "watch"), "resourceNames": [table]},
        ],
    }


def _rule(group: str, resource: str, *verbs: str) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
