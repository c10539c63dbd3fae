"""What the Prometheus operator is told of a pool, where a cluster has one.

Not here: the metrics themselves (the runtime's `telemetry`).
"""

from collections.abc import Iterator

from background_tasks.api import names
from background_tasks_operator.plan.metadata import metadata, selector
from background_tasks_operator.plan.model import Capability, Manifest, Observed, PoolFacts, Problem
from background_tasks_operator.plan.pods import PORT_NAME

REASON = "MonitoringUnavailable"


def service_monitor(pool: PoolFacts, observed: Observed) -> Manifest | None:
    """Build the ServiceMonitor; None where the pool wants none or the cluster does not know the kind."""
    if not pool.spec.monitoring.service_monitor or Capability.SERVICE_MONITOR not in observed.capabilities:
        return None
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": metadata(pool, names.workers_name(pool.name)),
        "spec": {
            "selector": {"matchLabels": selector(pool)},
            "endpoints": [{"port": PORT_NAME, "path": "/metrics"}],
        },
    }


def monitoring_problems(pool: PoolFacts, observed: Observed) -> Iterator[Problem]:
    """Tell what cannot be had."""
    wanted = pool.spec.monitoring
    if wanted.service_monitor and Capability.SERVICE_MONITOR not in observed.capabilities:
        told = "spec.monitoring.serviceMonitor: true needs the kind ServiceMonitor, which this cluster does not know"
        yield Problem(reason=REASON, message=f"{told}; install the Prometheus operator, or write false")
    if wanted.rules:
        told = "spec.monitoring.rules: true has no effect yet"
        yield Problem(reason=REASON, message=f"{told}; write false, and give Prometheus rules of your own")
