"""Each object of a pool but its Deployment, whole."""

from collections.abc import Callable
from typing import Any

from background_tasks_operator.plan.autoscaling import autoscaler
from background_tasks_operator.plan.disruption_budget import disruption_budget
from background_tasks_operator.plan.model import Capability, Observed, PoolFacts
from background_tasks_operator.plan.monitoring import service_monitor
from background_tasks_operator.plan.network_policy import network_policy
from background_tasks_operator.plan.role import role
from background_tasks_operator.plan.role_binding import role_binding
from background_tasks_operator.plan.service import service
from background_tasks_operator.plan.service_account import service_account
from background_tasks_operator.plan.slot_table import slot_table

type PoolOf = Callable[..., PoolFacts]
type Meta = Callable[[str], dict[str, Any]]

SELECTOR = {"app.kubernetes.io/name": "background-tasks-worker", "background-tasks.dev/pool": "crawl"}


def test_a_pool_has_an_account(pool_of: PoolOf, meta: Meta) -> None:
    """The account is the pool's own, also where the template names another: draining workers still use it."""
    own = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("crawl-workers")}
    assert service_account(pool_of()) == own
    assert service_account(pool_of(template={"serviceAccountName": "theirs"})) == own


def test_the_role_holds_the_least(pool_of: PoolOf, meta: Meta) -> None:
    """A worker sees tasks, writes status, keeps leases, and reads and claims in the slot table by its name."""
    assert role(pool_of()) == {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": meta("crawl-workers"),
        "rules": [
            {
                "apiGroups": ["background-tasks.dev"],
                "resources": ["backgroundtasks"],
                "verbs": ["get", "list", "watch"],
            },
            {"apiGroups": ["background-tasks.dev"], "resources": ["backgroundtasks/status"], "verbs": ["patch"]},
            {
                "apiGroups": ["coordination.k8s.io"],
                "resources": ["leases"],
                "verbs": ["create", "delete", "list", "update", "watch"],
            },
            {
                "apiGroups": [""],
                "resources": ["configmaps"],
                "verbs": ["get", "list", "update", "watch"],
                "resourceNames": ["crawl-slots"],
            },
        ],
    }


def test_the_role_is_bound_to_the_account(pool_of: PoolOf, meta: Meta) -> None:
    """The pool's account may do what the Role says."""
    assert role_binding(pool_of()) == {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": meta("crawl-workers"),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "crawl-workers"},
        "subjects": [{"kind": "ServiceAccount", "name": "crawl-workers", "namespace": "demo"}],
    }


def test_an_account_of_ones_own_is_bound_too(pool_of: PoolOf) -> None:
    """While workers move from one account to the other, both may work."""
    bound = role_binding(pool_of(template={"serviceAccountName": "theirs"}))["subjects"]
    assert [subject["name"] for subject in bound] == ["crawl-workers", "theirs"]


def test_the_slot_table_is_made_empty(pool_of: PoolOf, meta: Meta) -> None:
    """The operator owns no data in it: what workers write is never taken back."""
    assert slot_table(pool_of()) == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("crawl-slots")}


def test_one_worker_may_be_moved_at_a_time(pool_of: PoolOf, meta: Meta) -> None:
    """A drain takes one worker after the other, and is not held up by one that does not work."""
    assert disruption_budget(pool_of()) == {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": meta("crawl-workers"),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": SELECTOR},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def test_metrics_have_a_headless_service(pool_of: PoolOf, meta: Meta) -> None:
    """Each worker is found by itself: nothing is balanced."""
    assert service(pool_of()) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta("crawl-workers"),
        "spec": {
            "clusterIP": "None",
            "selector": SELECTOR,
            "ports": [{"name": "metrics", "port": 8080, "targetPort": "metrics", "protocol": "TCP"}],
        },
    }


def test_only_metrics_and_probes_come_in(pool_of: PoolOf, meta: Meta) -> None:
    """The policy opens one port inwards and says nothing of the way out."""
    assert network_policy(pool_of()) == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": meta("crawl-workers"),
        "spec": {
            "podSelector": {"matchLabels": SELECTOR},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": 8080, "protocol": "TCP"}]}],
        },
    }


def test_an_autoscaler_keeps_within_its_bounds(pool_of: PoolOf, meta: Meta) -> None:
    """The HPA moves between the pool's bounds by CPU, and waits before workers go."""
    scaling = {"minReplicas": 2, "maxReplicas": 8, "targetCPU": 60, "scaleDownDelay": "90s"}
    assert autoscaler(pool_of(autoscaling=scaling)) == {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": meta("crawl-workers"),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "crawl-workers"},
            "minReplicas": 2,
            "maxReplicas": 8,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}},
                }
            ],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 90}},
        },
    }


def test_a_pool_without_autoscaling_has_no_autoscaler(pool_of: PoolOf) -> None:
    """Nobody but the pool decides then; neither does KEDA yet."""
    assert autoscaler(pool_of()) is None
    assert autoscaler(pool_of(autoscaling={"engine": "KEDA", "maxReplicas": 4})) is None


def test_a_service_monitor_needs_its_kind_and_a_wish(pool_of: PoolOf, meta: Meta) -> None:
    """The Prometheus operator is told of a pool that wants it, where the cluster has one."""
    there = Observed(capabilities=frozenset({Capability.SERVICE_MONITOR}))
    wished = pool_of(monitoring={"serviceMonitor": True})
    assert service_monitor(wished, there) == {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": meta("crawl-workers"),
        "spec": {
            "selector": {"matchLabels": SELECTOR},
            "endpoints": [{"port": "metrics", "path": "/metrics"}],
        },
    }
    assert service_monitor(wished, Observed()) is None
    assert service_monitor(pool_of(), there) is None
