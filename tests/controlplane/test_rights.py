"""The operator and the workers hold exactly the rights that they use: an API server wrote down what they asked for."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart import render
from tests.controlplane.operators import Operator, Place, wait_for
from tests.controlplane.rights import Right, granted, kubeconfig, refused, used, without
from tests.controlplane.workers import Pool, served
from tests.testbed import session
from tests.testbed.session import ControlPlane

pytestmark = pytest.mark.controlplane
OPERATOR = "background-tasks-operator"
HOME = render.NAMESPACE
"""The operator's own namespace."""
TEAM = "team"
"""A namespace with pools."""
MONITORING = "monitoring.coreos.com"
"""A group that this cluster need not serve."""
OWNERSHIP: Right = ("background-tasks.dev", "workerpools/finalizers", "update")
"""Asked for by the admission of owner references, so in no log; a test of its own takes it away."""
SERVICE_MONITOR = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: servicemonitors.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {kind: ServiceMonitor, plural: servicemonitors}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""
MADE = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ConfigMap")

type Operate = Callable[..., Operator]


@pytest.fixture(scope="module")
def plane(kubernetes_binaries: None) -> Iterator[ControlPlane]:
    """Give a control plane that writes requests down, with what the chart makes before the operator starts."""
    with session.own(frozenset({"audit", "controllers"})) as mine:
        for name in (HOME, TEAM):
            mine.kubectl("create", "namespace", name)
        mine.kubectl("apply", "-f", "-", stdin=SERVICE_MONITOR)
        mine.kubectl("wait", "--for=condition=Established", "crd/servicemonitors.monitoring.coreos.com")
        mine.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(chart()))
        yield mine


@pytest.fixture(scope="module")
def operator_at_work(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Give a place where two replicas, each with no more than the chart's rights, did all that operators do."""
    folder = tmp_path_factory.mktemp("operators")
    own = kubeconfig(plane, HOME, OPERATOR, folder)
    replicas = [start(plane, folder, name, own) for name in ("operator-a", "operator-b")]
    try:
        yield exercised(Place(plane, TEAM), replicas)
    finally:
        for replica in replicas:
            replica.kill()


@pytest.fixture
def pool(plane: ControlPlane, operator_at_work: Place, tmp_path: Path) -> Iterator[Pool]:
    """Give the pool `default` of that place, whose workers will be processes."""
    yield from served(plane, TEAM, tmp_path)


def chart(*values: str) -> list[dict[str, Any]]:
    """Render what the operator is given before it starts."""
    return [body for body in yaml.safe_load_all(render.render(values, hooks=False)) if body and body["kind"] in MADE]


def rules(kind: str, name: str) -> list[dict[str, Any]]:
    """Return the rules of one of the chart's roles."""
    listed: list[dict[str, Any]] = chart_body(kind, name)["rules"]
    return listed


def chart_body(kind: str, name: str) -> dict[str, Any]:
    """Return one of the chart's objects."""
    (found,) = [body for body in chart() if body["kind"] == kind and body["metadata"]["name"] == name]
    return found


def start(plane: ControlPlane, folder: Path, name: str, own: Path, *, namespaces: str = "") -> Operator:
    """Start a replica that serves some namespaces, or the whole cluster, with a pod that owns its Lease."""
    uid = pod(plane, HOME, name)
    env = {"KUBECONFIG": str(own), "BGTASKS_OPERATOR_WATCH_NAMESPACES": namespaces, "BGTASKS_OPERATOR_POD_UID": uid}
    return Operator(Place(plane, HOME), folder, name, env)


def pod(plane: ControlPlane, namespace: str, name: str) -> str:
    """Make a pod that no node will run, and return its uid."""
    plane.kubectl("-n", namespace, "run", name, "--image=none", "--restart=Never")
    return plane.kubectl("-n", namespace, "get", "pod", name, "-o", "jsonpath={.metadata.uid}")


def exercised(place: Place, replicas: list[Operator]) -> Place:
    """Let them make, mend, change and remove every kind of object, tell every status, and hand the lead over."""
    wait_for(lambda: any(replica.leads() for replica in replicas), "a leader")
    place.task("first")
    place.deployment("default")
    rich = {"monitoring": {"serviceMonitor": True}, "autoscaling": {"maxReplicas": 2}}
    place.pool("rich", **rich)
    wait_for(lambda: place.all("hpa,servicemonitors") and len(place.all("hpa,servicemonitors")) == 2, "both are made")
    place.pool("rich", template={"serviceAccountName": "mine"})
    wait_for(lambda: not place.all("hpa,servicemonitors"), "both are gone")
    place.kubectl("delete", "service", "default-workers")
    wait_for(lambda: place.get("service", "default-workers"), "the service is back")
    wait_for(lambda: place.condition("bgt", "first", "Accepted"), "the task is told")
    wait_for(lambda: place.condition("bgp", "default", "Available"), "the pool is told")
    leader, standby = sorted(replicas, key=lambda replica: not replica.leads())
    assert leader.end(signal.SIGTERM) == 0
    wait_for(standby.leads, "the other leads")
    return place


def test_the_operator_is_given_what_it_uses_and_what_it_hands_on(plane: ControlPlane, operator_at_work: Place) -> None:
    """Each verb of its ClusterRole was used, or stands in the Role of workers, which it could not make otherwise."""
    handed_on = granted(operator_at_work.get("role", "default-workers")["rules"])  # type: ignore[index]
    given = granted(rules("ClusterRole", OPERATOR))
    needed = used(plane, f"{HOME}:{OPERATOR}", outside=HOME) | handed_on | {OWNERSHIP}
    assert (sorted(given - needed), sorted(needed - given)) == ([], [])


def test_the_lead_takes_what_its_role_gives(plane: ControlPlane, operator_at_work: Place) -> None:
    """Each verb of the Role in its own namespace was used."""
    given = granted(rules("Role", f"{OPERATOR}-leader"))
    needed = used(plane, f"{HOME}:{OPERATOR}", within=HOME)
    assert (sorted(given - needed), sorted(needed - given)) == ([], [])


def test_workers_use_what_the_operator_gives_them(plane: ControlPlane, pool: Pool, tmp_path: Path) -> None:
    """Each verb of their Role was used by workers that ran, claimed, handed over and left, and nothing was refused."""
    own = kubeconfig(plane, TEAM, "default-workers", tmp_path)
    pool.apply("often")
    pool.apply("once", guarantee="AtMostOnce", schedule={"every": "1s"})
    uids = {f"worker-{number}": pod(plane, TEAM, f"worker-{number}") for number in (1, 2)}
    first, _ = (pool.ready(kubeconfig=own, BGTASKS_POD_UID=uids[f"worker-{number}"])[0] for number in (1, 2))
    wait_for(lambda: len(pool.runs("often")) > 2 and pool.runs("once"), "both run")
    assert first.end() == 0
    before = len(pool.runs("often"))
    wait_for(lambda: len(pool.runs("often")) > before + 2, "the other goes on")
    given = granted(json.loads(pool.kubectl("get", "role", "default-workers", "-o", "json"))["rules"])
    account = f"{TEAM}:default-workers"
    wait_for(lambda: used(plane, account) == given, f"all of {sorted(given - used(plane, account))} is used", 20)
    assert refused(plane, account) == set()


def test_an_operator_of_some_namespaces_has_no_right_in_any_other(kubernetes_binaries: None, tmp_path: Path) -> None:
    """With `watchNamespaces` there is no ClusterRole of its own, and its Roles are enough for what it does there."""
    made = chart(f"watchNamespaces={{{TEAM}}}", "rbac.aggregate=false")
    assert {body["kind"] for body in made} & {"ClusterRole", "ClusterRoleBinding"} == set()
    with session.own(frozenset({"audit", "controllers"})) as mine:
        for name in (HOME, TEAM):
            mine.kubectl("create", "namespace", name)
        mine.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(made))
        replica = start(mine, tmp_path, "only", kubeconfig(mine, HOME, OPERATOR, tmp_path), namespaces=TEAM)
        try:
            place = Place(mine, TEAM)
            place.task("first")
            place.deployment("default")
            wait_for(lambda: place.condition("bgt", "first", "Accepted").get("status") == "True", "it is accepted")
            assert replica.end(signal.SIGTERM) == 0
            assert {right for right in refused(mine, f"{HOME}:{OPERATOR}") if right[0] != MONITORING} == set()
        finally:
            replica.kill()


@pytest.mark.parametrize(
    ("lacking", "told"),
    [
        pytest.param(OWNERSHIP, "cannot set blockOwnerDeletion", id="the right to own what it makes"),
        pytest.param(("", "configmaps", "update"), "attempting to grant RBAC permissions", id="a right to hand on"),
        pytest.param(
            ("apps", "deployments", "create"), 'cannot create resource "deployments"', id="a right of its own"
        ),
    ],
)
def test_an_operator_that_lacks_a_right_says_so(
    lacking: Right, told: str, plane: ControlPlane, operator_at_work: Place
) -> None:
    """The pool that it cannot make is Degraded, in the API server's own words; with the right it is made."""
    role = yaml.safe_dump(
        {**chart_body("ClusterRole", OPERATOR), "rules": without(rules("ClusterRole", OPERATOR), lacking)}
    )
    plane.kubectl("replace", "-f", "-", stdin=role)
    try:
        operator_at_work.pool("lacking")
        wait_for(lambda: told in operator_at_work.condition("bgp", "lacking", "Degraded").get("message", ""), told)
    finally:
        plane.kubectl("replace", "-f", "-", stdin=yaml.safe_dump(chart_body("ClusterRole", OPERATOR)))
    wait_for(
        lambda: operator_at_work.condition("bgp", "lacking", "Degraded").get("status") == "False", "it is mended", 90
    )
    operator_at_work.kubectl("delete", "bgp", "lacking")


@pytest.mark.parametrize(
    "lacking",
    [
        pytest.param(("background-tasks.dev", "backgroundtasks", "watch"), id="tasks"),
        pytest.param(("background-tasks.dev", "backgroundtasks/status", "patch"), id="status"),
        pytest.param(("coordination.k8s.io", "leases", "create"), id="leases"),
        pytest.param(("", "configmaps", "update"), id="slots"),
    ],
)
def test_a_worker_that_lacks_a_right_says_so(lacking: Right, plane: ControlPlane, pool: Pool, tmp_path: Path) -> None:
    """Its log names what it may not do, in the API server's own words; it goes on trying."""
    _, resource, verb = lacking
    role = json.loads(pool.kubectl("get", "role", "default-workers", "-o", "json"))
    account = f"lacks-{verb}-{resource.partition('/')[0]}"
    pool.kubectl("create", "serviceaccount", account)
    meta = {"name": account, "namespace": TEAM}
    pool.kubectl(
        "create", "-f", "-", stdin=json.dumps({**role, "metadata": meta, "rules": without(role["rules"], lacking)})
    )
    pool.kubectl("create", "rolebinding", account, f"--role={account}", f"--serviceaccount={TEAM}:{account}")
    pool.apply("often")
    worker = pool.start(kubeconfig=kubeconfig(plane, TEAM, account, tmp_path))
    told = json.dumps(f'cannot {verb} resource "{resource}"').strip('"')
    wait_for(lambda: told in worker.log.read_text(), f"the log says {told}")
    assert worker.process.poll() is None
