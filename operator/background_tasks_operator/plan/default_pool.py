"""The pool `default`, made in the namespace of a task that asks for it: the first task on a fresh install runs.

Not here: when it is made (`acceptance.needs_default_pool`). Once made it belongs to people: it is created, not applied.
"""

from background_tasks.api import names
from background_tasks_operator.plan.model import Manifest
from background_tasks_operator.settings import Settings


def default_pool(settings: Settings, namespace: str) -> Manifest | None:
    """Build the pool; None where the settings say that none is made."""
    if settings.default_pool is None:
        return None
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.POOL_KIND,
        "metadata": {
            "name": names.DEFAULT_POOL,
            "namespace": namespace,
            "labels": {names.MANAGED_BY_LABEL: names.OPERATOR_APP, names.PART_OF_LABEL: names.PART_OF},
        },
        "spec": dict(settings.default_pool),
    }
