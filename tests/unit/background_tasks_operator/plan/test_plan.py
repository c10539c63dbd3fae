"""Which objects a pool has, which it must not have, and what it cannot have."""

from collections.abc import Callable

from background_tasks_operator.plan import plan
from background_tasks_operator.plan.model import (
    Capability,
    DeploymentState,
    Desired,
    ObjectRef,
    Observed,
    PoolFacts,
)
from background_tasks_operator.settings import Settings

type PoolOf = Callable[..., PoolFacts]

PLAIN = [
    ("ServiceAccount", "crawl-workers"),
    ("Role", "crawl-workers"),
    ("RoleBinding", "crawl-workers"),
    ("ConfigMap", "crawl-slots"),
    ("NetworkPolicy", "crawl-workers"),
    ("PodDisruptionBudget", "crawl-workers"),
    ("Service", "crawl-workers"),
    ("Deployment", "crawl-workers"),
]


def made(desired: Desired) -> list[tuple[str, str]]:
    """Name the objects that must exist."""
    return [(body["kind"], body["metadata"]["name"]) for body in desired.objects]


def reasons(desired: Desired) -> list[tuple[str, str]]:
    """Name the problems and the fields they are about."""
    return [(problem.reason, problem.message.partition(":")[0]) for problem in desired.problems]


def test_a_plain_pool_has_these_objects(pool_of: PoolOf, settings: Settings) -> None:
    """What a worker needs is there before the workers; an autoscaler must not be."""
    desired = plan(pool_of(), settings, Observed())
    assert made(desired) == PLAIN
    assert desired.absent == (
        ObjectRef(api_version="autoscaling/v2", kind="HorizontalPodAutoscaler", name="crawl-workers"),
    )
    assert (desired.handovers, desired.problems) == ((), ())


def test_what_is_asked_for_comes_on_top(pool_of: PoolOf, settings: Settings) -> None:
    """An autoscaler and a ServiceMonitor, where the cluster knows them; then nothing must be absent."""
    pool = pool_of(autoscaling={"maxReplicas": 4}, monitoring={"serviceMonitor": True})
    observed = Observed(
        deployment=DeploymentState(wanted=3, replicas_ours=True),
        capabilities=frozenset({Capability.SERVICE_MONITOR}),
    )
    desired = plan(pool, settings, observed)
    assert made(desired) == [*PLAIN, ("HorizontalPodAutoscaler", "crawl-workers"), ("ServiceMonitor", "crawl-workers")]
    assert (desired.absent, desired.problems) == ((), ())
    assert [body["spec"] for body in desired.handovers] == [{"replicas": 3}]


def test_what_is_no_longer_asked_for_must_go(pool_of: PoolOf, settings: Settings) -> None:
    """A kind that a cluster does not know is not even looked for."""
    observed = Observed(capabilities=frozenset({Capability.SERVICE_MONITOR}))
    assert [ref.kind for ref in plan(pool_of(), settings, observed).absent] == [
        "HorizontalPodAutoscaler",
        "ServiceMonitor",
    ]


def test_a_pool_that_goes_gets_nothing(pool_of: PoolOf, settings: Settings) -> None:
    """Its objects are collected by owner; made again they would hold it up."""
    assert plan(pool_of(deleting=True), settings, Observed()) == Desired()


def test_what_cannot_be_had_is_told(pool_of: PoolOf, settings: Settings) -> None:
    """Each wish that is not met is a problem that names its field; the rest is made."""
    pool = pool_of(
        "1st",
        autoscaling={"engine": "KEDA", "maxReplicas": 4},
        monitoring={"serviceMonitor": True, "rules": True},
        template={
            "env": [{"name": "BGTASKS_POOL"}],
            "labels": {"app.kubernetes.io/name": "mine"},
            "volumes": [{"name": "bgtasks-tmp"}],
        },
    )
    desired = plan(pool, settings, Observed())
    assert reasons(desired) == [
        ("TemplateConflict", "spec.template.env[0].name"),
        ("TemplateConflict", "spec.template.labels[app.kubernetes.io/name]"),
        ("TemplateConflict", "spec.template.volumes[0].name"),
        ("AutoscalerUnavailable", "spec.autoscaling.engine"),
        ("NoService", "metadata.name"),
        ("MonitoringUnavailable", "spec.monitoring.serviceMonitor"),
        ("MonitoringUnavailable", "spec.monitoring.rules"),
    ]
    assert [kind for kind, _ in made(desired)] == [kind for kind, _ in PLAIN if kind != "Service"]


def test_an_autoscaler_waits_for_an_hour_at_most(pool_of: PoolOf, settings: Settings) -> None:
    """A longer wait would be refused by the cluster: an hour is used, and that is told."""
    desired = plan(pool_of(autoscaling={"maxReplicas": 4, "scaleDownDelay": "2h"}), settings, Observed())
    [autoscaler] = [body for body in desired.objects if body["kind"] == "HorizontalPodAutoscaler"]
    assert autoscaler["spec"]["behavior"] == {"scaleDown": {"stabilizationWindowSeconds": 3600}}
    assert reasons(desired) == [("AutoscalerUnavailable", "spec.autoscaling.scaleDownDelay")]
