"""Where the metrics of a pool's workers are found.

Not here: scraping (`service_monitor`). Nothing is balanced: every worker tells of itself.
"""

from collections.abc import Iterator

from background_tasks.api import names
from background_tasks_operator.plan.metadata import metadata, selector
from background_tasks_operator.plan.model import Manifest, PoolFacts, Problem
from background_tasks_operator.plan.pods import PORT, PORT_NAME


def service(pool: PoolFacts) -> Manifest | None:
    """Build the headless Service; None where the pool's name cannot be that of a Service."""
    if not _can_be_named(pool):
        return None
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(pool, names.workers_name(pool.name)),
        "spec": {
            "clusterIP": "None",
            "selector": selector(pool),
            "ports": [{"name": PORT_NAME, "port": PORT, "targetPort": PORT_NAME, "protocol": "TCP"}],
        },
    }


def service_problems(pool: PoolFacts) -> Iterator[Problem]:
    """Tell why there is no Service."""
    if not _can_be_named(pool):
        told = f"metadata.name: {pool.name} begins with a digit, which no Service may: its metrics are not found"
        yield Problem(reason="NoService", message=f"{told}; make the pool under a name that begins with a letter")


def _can_be_named(pool: PoolFacts) -> bool:
    """A Service's name is a DNS label of the older kind (RFC 1035)."""
    return pool.name[0].isalpha()
