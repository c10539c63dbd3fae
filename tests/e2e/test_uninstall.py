"""What is left when the release goes: the definitions with every task and pool, or nothing at all.

Last of all, as it takes the operator away from everybody; each test brings it back.
"""

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import RELEASE, Shell
from tests.e2e.kubectl import Kubectl, until
from tests.e2e.place import EACH_SECOND, Place

pytestmark = pytest.mark.e2e
OURS = "app.kubernetes.io/part-of=background-tasks"
DEFINITIONS = ["backgroundtasks.background-tasks.dev", "workerpools.background-tasks.dev"]
UNINSTALL = f"helm uninstall {RELEASE} --namespace {RELEASE} --wait"
INSTALL = f"helm install {RELEASE} charts/background-tasks --namespace {RELEASE} --wait"


@pytest.fixture
def busy(place: Place, shell: Shell) -> Iterator[Place]:
    """Give a pool with a task that runs; afterwards the release is as the other tests know it."""
    place.pool()
    place.task("neighbour", **EACH_SECOND)
    place.wait_for_run("neighbour")
    yield place
    shell(f"helm upgrade --install --reset-values {INSTALL.removeprefix('helm install ')}")


def everything(kube: Kubectl) -> set[str]:
    """Name all that there is of ours in the cluster, of any kind and in any namespace."""
    kinds = kube("api-resources", "--verbs=list", "-o", "name").split()
    asked = ",".join(kind for kind in kinds if kind not in ("events", "events.events.k8s.io"))
    form = "jsonpath={range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name}{'\\n'}{end}"
    return set(kube("get", asked, "-A", "-l", OURS, "-o", form).split())


def test_an_uninstalled_release_keeps_definitions_tasks_and_their_workers(
    busy: Place, kube: Kubectl, shell: Shell
) -> None:
    """With `crds.keep` nothing of the operator is left, no task misses a run, and a new install finds all of them."""
    shell(UNINSTALL)
    left = until("the operator's end", lambda: kube.within(RELEASE).items("pods"), lambda pods: not pods)
    assert left == []
    mine = {one for one in everything(kube) if one.split("/")[1] in ("", RELEASE)}
    assert mine == {f"CustomResourceDefinition//{name}" for name in DEFINITIONS}
    assert kube.within(RELEASE).items("leases") == []
    assert [one["metadata"]["name"] for one in kube.within(RELEASE).items("configmaps")] == ["kube-root-ca.crt"]
    shell(INSTALL)
    busy.task("later", schedule={"every": "1s"})
    busy.wait_for_run("later")
    until("acceptance", lambda: busy.kube.task("later"), lambda task: task.condition("Accepted")[0] == "True", 30)
    busy.assert_exact("neighbour")


def test_without_keep_nothing_at_all_is_left(busy: Place, kube: Kubectl, shell: Shell) -> None:
    """With `crds.keep=false` definitions go, with them tasks and pools, and with those workers and all else."""
    shell(f"helm upgrade {RELEASE} charts/background-tasks --namespace {RELEASE} --set crds.keep=false --wait")
    assert everything(kube)
    shell(UNINSTALL)
    until("the end of all of it", lambda: everything(kube), lambda left: not left, seconds=90)
    assert busy.kube.items("pods") == []
