"""The Deployment of a pool and its pods."""

from collections.abc import Callable
from typing import Any

from background_tasks_operator.plan.deployment import deployment, handover
from background_tasks_operator.plan.model import DeploymentState, Observed, PoolFacts
from background_tasks_operator.settings import Settings

type PoolOf = Callable[..., PoolFacts]
type Meta = Callable[[str], dict[str, Any]]

SELECTOR = {"app.kubernetes.io/name": "background-tasks-worker", "background-tasks.dev/pool": "crawl"}


def pod(pool: PoolFacts, settings: Settings) -> Any:
    """Return the spec of a pod of the pool."""
    return deployment(pool, settings)["spec"]["template"]["spec"]


def test_a_plain_pool_has_a_plain_deployment(pool_of: PoolOf, meta: Meta, settings: Settings) -> None:
    """Workers are replaced one by one, a new one ready before an old one leaves."""
    built = deployment(pool_of(replicas=2), settings)
    head = meta("crawl-workers")
    assert {**built, "spec": {key: value for key, value in built["spec"].items() if key != "template"}} == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": head,
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": SELECTOR},
            "revisionHistoryLimit": 3,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        },
    }
    assert built["spec"]["template"]["metadata"] == {"labels": head["labels"]}


def test_a_plain_pod_is_restricted(pool_of: PoolOf, settings: Settings) -> None:
    """A pod runs as nobody, spreads over nodes, and has time to drain."""
    spec = pod(pool_of(), settings)
    assert {key: value for key, value in spec.items() if key != "containers"} == {
        "serviceAccountName": "crawl-workers",
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 90,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "labelSelector": {"matchLabels": SELECTOR},
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "matchLabelKeys": ["pod-template-hash"],
            }
        ],
        "volumes": [{"name": "bgtasks-tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}],
    }


def test_a_plain_container_is_the_worker(pool_of: PoolOf, settings: Settings) -> None:
    """One container: the operator's image, the worker command, probes, nothing writable but /tmp."""
    [container] = pod(pool_of(), settings)["containers"]
    probe = {"timeoutSeconds": 5, "httpGet": {"path": "/livez", "port": "metrics"}}
    assert {key: value for key, value in container.items() if key != "env"} == {
        "name": "worker",
        "image": "registry.example/background-tasks:0.1.0",
        "imagePullPolicy": "Always",
        "args": ["worker", "--cluster"],
        "ports": [{"name": "metrics", "containerPort": 8080, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": {**probe, "periodSeconds": 2, "failureThreshold": 60},
        "livenessProbe": {**probe, "periodSeconds": 10, "failureThreshold": 3},
        "readinessProbe": {
            **probe,
            "httpGet": {"path": "/readyz", "port": "metrics"},
            "periodSeconds": 2,
            "failureThreshold": 3,
        },
        "volumeMounts": [{"name": "bgtasks-tmp", "mountPath": "/tmp"}],
    }


def test_an_image_of_ones_own_has_its_own_policy(pool_of: PoolOf, settings: Settings) -> None:
    """The operator's pull policy goes with the operator's image only."""
    [container] = pod(pool_of(image="mine:2", imagePullPolicy="Never"), settings)["containers"]
    assert (container["image"], container["imagePullPolicy"]) == ("mine:2", "Never")


def test_the_pod_has_time_to_drain(pool_of: PoolOf, settings: Settings) -> None:
    """Half a minute more than the drain, so that a run that is cut off is still recorded; part seconds count whole."""
    assert pod(pool_of(drainTimeout="90500ms"), settings)["terminationGracePeriodSeconds"] == 121


def test_the_template_comes_through(pool_of: PoolOf, settings: Settings) -> None:
    """What people may choose of a pod stands where Kubernetes wants it."""
    scheduling = {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "priorityClassName": "low",
    }
    template = {
        **scheduling,
        "serviceAccountName": "theirs",
        "resources": {"requests": {"memory": "1Gi"}},
        "envFrom": [{"configMapRef": {"name": "more"}}],
        "volumes": [{"name": "data", "emptyDir": {}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    spec = pod(pool_of(template=template, imagePullSecrets=[{"name": "pull"}]), settings)
    [container] = spec["containers"]
    assert {key: spec[key] for key in scheduling} == scheduling
    assert (spec["serviceAccountName"], spec["imagePullSecrets"]) == ("theirs", [{"name": "pull"}])
    assert [volume["name"] for volume in spec["volumes"]] == ["bgtasks-tmp", "data"]
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp", "/data"]
    assert container["envFrom"] == [{"configMapRef": {"name": "more"}}]
    assert container["resources"] == {"requests": {"memory": "1Gi"}}


def test_labels_of_the_template_go_below_ours(pool_of: PoolOf, settings: Settings) -> None:
    """People add labels and annotations; they cannot take a pod out of its pool."""
    template = {
        "labels": {"team": "memory", "background-tasks.dev/pool": "other"},
        "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
    }
    head = deployment(pool_of(template=template), settings)["spec"]["template"]["metadata"]
    assert head["labels"]["team"] == "memory"
    assert head["labels"]["background-tasks.dev/pool"] == "crawl"
    assert head["annotations"] == {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}


def test_a_tmp_of_ones_own_replaces_ours(pool_of: PoolOf, settings: Settings) -> None:
    """Two mounts at one place would be refused: theirs is meant."""
    template = {"volumes": [{"name": "big"}], "volumeMounts": [{"name": "big", "mountPath": "/tmp/"}]}
    spec = pod(pool_of(template=template), settings)
    assert spec["volumes"] == [{"name": "big"}]
    assert spec["containers"][0]["volumeMounts"] == [{"name": "big", "mountPath": "/tmp/"}]


def test_a_spread_of_ones_own_means_this_pool(pool_of: PoolOf, settings: Settings) -> None:
    """A constraint without a selector would match no pod at all."""
    zone = {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
    chosen = {**zone, "labelSelector": {"matchLabels": {"team": "memory"}}}
    spec = pod(pool_of(template={"topologySpreadConstraints": [zone, chosen]}), settings)
    assert spec["topologySpreadConstraints"] == [{**zone, "labelSelector": {"matchLabels": SELECTOR}}, chosen]


def test_an_autoscaler_owns_the_number(pool_of: PoolOf, settings: Settings) -> None:
    """With an HPA the Deployment says nothing of replicas; with KEDA, which does not scale yet, it does."""
    hpa, keda = ({"engine": engine, "maxReplicas": 4} for engine in ("HPA", "KEDA"))
    assert "replicas" not in deployment(pool_of(replicas=2, autoscaling=hpa), settings)["spec"]
    assert deployment(pool_of(replicas=2, autoscaling=keda), settings)["spec"]["replicas"] == 2


def test_an_autoscaled_pod_requests_cpu(pool_of: PoolOf, settings: Settings) -> None:
    """An HPA counts percents of the request: without one it could do nothing."""
    resources = {"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}}
    pool = pool_of(autoscaling={"maxReplicas": 4}, template={"resources": resources})
    [container] = pod(pool, settings)["containers"]
    assert container["resources"] == {"requests": {"cpu": "50m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}


def test_a_number_that_was_ours_is_handed_over(pool_of: PoolOf) -> None:
    """Another manager takes `replicas` first, so that ten workers do not drop to one when an autoscaler comes."""
    pool = pool_of(autoscaling={"maxReplicas": 12})
    ours, theirs = (DeploymentState(wanted=10, replicas_ours=mine) for mine in (True, False))
    assert handover(pool, Observed(deployment=ours)) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "crawl-workers", "namespace": "demo"},
        "spec": {"replicas": 10},
    }
    assert handover(pool, Observed(deployment=theirs)) is None
    assert handover(pool, Observed()) is None
    assert handover(pool_of(replicas=10), Observed(deployment=ours)) is None
