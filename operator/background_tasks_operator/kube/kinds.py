"""Every kind that is watched or written, and where the API serves it. Not here: what the objects are for."""

from collections.abc import Mapping

from background_tasks.api import names
from background_tasks.services.kubernetes import resources
from background_tasks.services.kubernetes.resources import Resource
from background_tasks_operator.plan.model import Capability

RESOURCES: Mapping[str, Resource] = {
    names.TASK_KIND: resources.BACKGROUND_TASKS,
    names.POOL_KIND: resources.WORKER_POOLS,
    "ServiceAccount": resources.SERVICE_ACCOUNTS,
    "Role": resources.ROLES,
    "RoleBinding": resources.ROLE_BINDINGS,
    "ConfigMap": resources.CONFIG_MAPS,
    "NetworkPolicy": resources.NETWORK_POLICIES,
    "PodDisruptionBudget": resources.POD_DISRUPTION_BUDGETS,
    "Service": resources.SERVICES,
    "Deployment": resources.DEPLOYMENTS,
    "HorizontalPodAutoscaler": resources.HORIZONTAL_POD_AUTOSCALERS,
    "ServiceMonitor": resources.SERVICE_MONITORS,
}
OPTIONAL: Mapping[str, Capability] = {"ServiceMonitor": Capability.SERVICE_MONITOR}
"""Kinds that a cluster may lack."""
OURS = f"{names.MANAGED_BY_LABEL}={names.OPERATOR_APP}"
"""What objects of pools are found by; tasks and pools are all ours."""
DECLARED = (names.TASK_KIND, names.POOL_KIND)


def selector(kind: str) -> str:
    """Return the label selector that leaves other people's objects out."""
    return "" if kind in DECLARED else OURS
