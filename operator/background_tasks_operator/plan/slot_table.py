"""The ConfigMap that the workers of a pool keep their slots in: the operator makes it, and never touches its `data`.

Not here: what stands in it (the runtime's `leases`). The workers need no right to make ConfigMaps.
"""

from background_tasks.api import names
from background_tasks_operator.plan.metadata import metadata
from background_tasks_operator.plan.model import Manifest, PoolFacts


def slot_table(pool: PoolFacts) -> Manifest:
    """Build it empty: a field that is not applied is not owned, so what the workers write stays."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(pool, names.slot_table_name(pool.name)),
    }
