"""`plan`: which objects must exist for a pool, and which must not. A pure function of what was declared and observed.

Not here: reading and applying (`reconcile`), clocks, clients.
"""

from collections.abc import Iterator

from background_tasks.api import names
from background_tasks_operator.plan.autoscaling import autoscaler, autoscaling_problems
from background_tasks_operator.plan.deployment import deployment, handover
from background_tasks_operator.plan.disruption_budget import disruption_budget
from background_tasks_operator.plan.model import Capability, Desired, Manifest, ObjectRef, Observed, PoolFacts, Problem
from background_tasks_operator.plan.monitoring import monitoring_problems, service_monitor
from background_tasks_operator.plan.network_policy import network_policy
from background_tasks_operator.plan.pods import pod_problems
from background_tasks_operator.plan.role import role
from background_tasks_operator.plan.role_binding import role_binding
from background_tasks_operator.plan.service import service, service_problems
from background_tasks_operator.plan.service_account import service_account
from background_tasks_operator.plan.slot_table import slot_table
from background_tasks_operator.settings import Settings

type Row = tuple[str, str, Manifest | None]
"""API version, kind, and the object or None."""


def plan(pool: PoolFacts, settings: Settings, observed: Observed) -> Desired:
    """Return all that must be true of the pool's objects. A pool that is going gets nothing new."""
    if pool.deleting:
        return Desired()
    rows = tuple(_rows(pool, settings, observed))
    moved = handover(pool, observed)
    return Desired(
        handovers=() if moved is None else (moved,),
        objects=tuple(built for _, _, built in rows if built is not None),
        absent=tuple(
            ObjectRef(api_version=version, kind=kind, name=names.workers_name(pool.name))
            for version, kind, built in rows
            if built is None
        ),
        problems=tuple(_problems(pool, observed)),
    )


def _rows(pool: PoolFacts, settings: Settings, observed: Observed) -> Iterator[Row]:
    """Yield every kind that is ours, what a worker needs before the workers. Kinds a cluster lacks are left out."""
    yield "v1", "ServiceAccount", service_account(pool)
    yield "rbac.authorization.k8s.io/v1", "Role", role(pool)
    yield "rbac.authorization.k8s.io/v1", "RoleBinding", role_binding(pool)
    yield "v1", "ConfigMap", slot_table(pool)
    yield "networking.k8s.io/v1", "NetworkPolicy", network_policy(pool)
    yield "policy/v1", "PodDisruptionBudget", disruption_budget(pool)
    yield "v1", "Service", service(pool)
    yield "apps/v1", "Deployment", deployment(pool, settings)
    yield "autoscaling/v2", "HorizontalPodAutoscaler", autoscaler(pool)
    if Capability.SERVICE_MONITOR in observed.capabilities:
        yield "monitoring.coreos.com/v1", "ServiceMonitor", service_monitor(pool, observed)


def _problems(pool: PoolFacts, observed: Observed) -> Iterator[Problem]:
    yield from pod_problems(pool)
    yield from autoscaling_problems(pool)
    yield from service_problems(pool)
    yield from monitoring_problems(pool, observed)
