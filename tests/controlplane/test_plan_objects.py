"""The objects of a pool before a real API server: it takes them, and taking them again changes nothing."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from background_tasks.api import names
from background_tasks.api.read import Unfit
from background_tasks_operator.plan import plan
from background_tasks_operator.plan.acceptance import acceptance, accepted_status
from background_tasks_operator.plan.default_pool import default_pool
from background_tasks_operator.plan.facts import deployment_state, pool_facts
from background_tasks_operator.plan.fingerprint import is_current, stamped
from background_tasks_operator.plan.model import Observed, PoolFacts
from background_tasks_operator.plan.pool_status import pool_status
from background_tasks_operator.settings import Settings

if TYPE_CHECKING:
    from tests.testbed.session import ControlPlane

type Apply = Callable[..., list[dict[str, Any]]]

SETTINGS = Settings(image="background-tasks:0.1.0", default_pool={"replicas": 0})
NOW = 1_767_225_600.0
FULL = {
    "image": "registry.example/mine:2",
    "imagePullSecrets": [{"name": "pull"}],
    "taskModules": ["my_app.tasks"],
    "flags": {"NIGHTLY": True, "$(POOL)": "$$"},
    "groups": [{"name": "mail", "maxConcurrent": 2}],
    "services": {
        "redis": {"url": "redis://cache:6379/0"},
        "knowledgeGraph": {"secretRef": {"name": "graph"}},
        "chatModel": {
            "url": "https://llm.example/v1",
            "model": "small",
            "apiKeySecretRef": {"name": "llm", "key": "k"},
        },
        "embeddings": {"secretRef": {"name": "llm", "key": "address"}},
    },
    "autoscaling": {"minReplicas": 2, "maxReplicas": 8, "scaleDownDelay": "2h"},
    "drainTimeout": "1500ms",
    "template": {
        "labels": {"team": "memory", "background-tasks.dev/pool": "other"},
        "annotations": {"example.com/note": "kept"},
        "serviceAccountName": "theirs",
        "env": [{"name": "TZ", "value": "UTC"}, {"name": "BGTASKS_POOL", "value": "other"}],
        "envFrom": [{"secretRef": {"name": "more", "optional": True}}],
        "volumes": [{"name": "data", "emptyDir": {}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "resources": {"requests": {"memory": "256Mi"}},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}
        ],
    },
}


@pytest.fixture
def restricted(control_plane: "ControlPlane", namespace: str) -> str:
    """Give a namespace that takes only pods of the strictest Pod Security level."""
    control_plane.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    return namespace


@pytest.fixture
def apply(control_plane: "ControlPlane", restricted: str) -> Apply:
    """Give `apply([object, ...])`: server-side, as the operator does; returns what the cluster made of each."""

    def apply(objects: Any, *more: str, manager: str = names.OPERATOR_MANAGER) -> list[dict[str, Any]]:
        flags = ("--server-side", "--force-conflicts", f"--field-manager={manager}", "--show-managed-fields")
        listed = {"apiVersion": "v1", "kind": "List", "items": [dict(one) for one in objects]}
        told = control_plane.kubectl(
            "apply", "-n", restricted, "-f", "-", "-o", "json", *flags, *more, stdin=json.dumps(listed)
        )
        answer = json.loads(told)
        return answer["items"] if answer["kind"] == "List" else [answer]

    return apply


@pytest.fixture
def made(control_plane: "ControlPlane", restricted: str) -> Callable[..., PoolFacts]:
    """Give `made(spec)`: the facts of a pool that the cluster has."""

    def make(spec: Mapping[str, Any]) -> PoolFacts:
        body = {**(default_pool(SETTINGS, restricted) or {}), "spec": spec}
        read = pool_facts(json.loads(control_plane.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(body))))
        assert not isinstance(read, Unfit)
        return read

    return make


@pytest.mark.parametrize("spec", [{}, FULL], ids=["plain", "full"])
def test_the_api_server_takes_every_object(apply: Apply, made: Callable[..., PoolFacts], spec: dict[str, Any]) -> None:
    """Schema and validation agree with what is built, and nothing of it is dropped on the way."""
    objects = plan(made(spec), SETTINGS, Observed()).objects
    taken = apply(map(stamped, objects), "--dry-run=server")
    assert [body["kind"] for body in taken] == [body["kind"] for body in objects]
    assert [body["kind"] for body, live in zip(objects, taken, strict=True) if not is_current(body, live)] == []


@pytest.mark.parametrize("spec", [{}, FULL], ids=["plain", "full"])
def test_pods_pass_the_strictest_level(apply: Apply, made: Callable[..., PoolFacts], spec: dict[str, Any]) -> None:
    """A pod as the Deployment makes it is let into a namespace that enforces Pod Security "restricted"."""
    [workers] = [body for body in plan(made(spec), SETTINGS, Observed()).objects if body["kind"] == "Deployment"]
    template = workers["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {**template["metadata"], "name": "one"}}
    account = template["spec"]["serviceAccountName"]
    apply([{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}])
    assert apply([pod], "--dry-run=server")[0]["spec"]["serviceAccountName"] == account


def test_a_pod_that_is_not_restricted_is_refused(control_plane: "ControlPlane", restricted: str) -> None:
    """The level is enforced here, else the test before this one would show nothing."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one"},
        "spec": {"containers": [{"name": "a", "image": "a"}]},
    }
    told = control_plane.kubectl(
        *("apply", "-n", restricted, "--dry-run=server", "-f", "-"), stdin=json.dumps(pod), check=False
    )
    assert "violates PodSecurity" in told


def test_a_second_apply_changes_nothing(apply: Apply, made: Callable[..., PoolFacts]) -> None:
    """The same plan again is no write: no object gets a new version, and each counts as current."""
    objects = plan(made({"replicas": 0}), SETTINGS, Observed()).objects
    first, again = apply(map(stamped, objects)), apply(map(stamped, objects))
    assert [ours(body) for body in again] == [ours(body) for body in first]
    assert all(is_current(body, live) for body, live in zip(objects, again, strict=True))


def test_workers_keep_what_they_wrote(apply: Apply, made: Callable[..., PoolFacts]) -> None:
    """The slot table is made once and never emptied by the next apply."""
    [table] = [body for body in plan(made({}), SETTINGS, Observed()).objects if body["kind"] == "ConfigMap"]
    apply([table])
    apply([{**table, "data": {"realm": "r"}}], manager=names.WORKER_MANAGER)
    assert apply([table])[0]["data"] == {"realm": "r"}


def test_an_autoscaler_takes_over_without_a_drop(apply: Apply, made: Callable[..., PoolFacts]) -> None:
    """`replicas` is handed over before it is left out, and comes back when the autoscaler goes."""
    pool = made({"replicas": 3})
    scaled = replace(pool, spec=pool.spec.model_validate({"replicas": 3, "autoscaling": {"maxReplicas": 8}}))
    [before] = apply(workers(pool, Observed()))
    observed = Observed(deployment=deployment_state(before))
    assert observed.deployment is not None
    assert observed.deployment.replicas_ours
    apply(plan(scaled, SETTINGS, observed).handovers, "--validate=false", manager=names.HANDOVER_MANAGER)
    [after] = apply(workers(scaled, observed))
    state = deployment_state(after)
    assert (state.wanted, state.replicas_ours) == (3, False)
    assert plan(scaled, SETTINGS, Observed(deployment=state)).handovers == ()
    assert deployment_state(apply(workers(replace(pool, spec=pool.spec.model_validate({})), observed))[0]).wanted == 1


def test_a_status_can_be_shown(apply: Apply, made: Callable[..., PoolFacts]) -> None:
    """The definitions of both resources know every field of the statuses that are built."""
    pool = made({})
    head = {"apiVersion": names.API_VERSION, "kind": names.POOL_KIND, "metadata": {"name": pool.name}}
    status = pool_status(pool, Observed(), None, NOW)
    [shown] = apply([{**head, "status": status}], "--subresource=status")
    assert shown["status"] == status
    task = {
        **head,
        "kind": names.TASK_KIND,
        "metadata": {"name": "decay"},
        "spec": {"task": "kg_decay", "schedule": {"every": "1h"}},
    }
    [live] = apply([task], manager="a-person")
    write = accepted_status(live, acceptance(live, {pool.name}), NOW)
    assert write is not None
    [told] = apply([write], "--subresource=status", "--validate=false")
    assert told["status"] == write["status"]
    assert accepted_status(told, acceptance(told, {pool.name}), NOW) is None


def workers(pool: PoolFacts, observed: Observed) -> list[Mapping[str, Any]]:
    """Return the Deployment of a plan."""
    return [body for body in plan(pool, SETTINGS, observed).objects if body["kind"] == "Deployment"]


def ours(body: Mapping[str, Any]) -> tuple[object, ...]:
    """Return what a write of ours would change: a controller writes beside us, and only into its own fields."""
    meta = body["metadata"]
    entries = [entry for entry in meta["managedFields"] if entry["manager"] == names.OPERATOR_MANAGER]
    version = None if body["kind"] in ("Deployment", "PodDisruptionBudget") else meta["resourceVersion"]
    return meta["name"], meta["uid"], meta.get("generation"), version, entries
