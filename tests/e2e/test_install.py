"""A fresh cluster, Helm, and the four commands of README.md."""

import json

import pytest

from tests.e2e import readme
from tests.e2e.conftest import RELEASE, Shell
from tests.e2e.kubectl import Kubectl, until
from tests.e2e.place import EACH_SECOND, Place

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("installed")]


def test_the_four_commands_of_the_readme_end_in_a_running_task(kube: Kubectl, shell: Shell) -> None:
    """Install, apply, get, logs, as they stand there: a scheduler pod runs the task, and kubectl tells the truth."""
    _, apply, get, logs = readme.commands()
    shell(apply)
    until("the greeting", lambda: kube.task("greet"), lambda task: task.ready and task.runs)
    header, row = shell(get).splitlines()
    assert header.split() == ["NAME", "TASK", "SCHEDULE", "READY", "REASON", "LAST", "NEXT", "WORKER", "AGE"]
    shown = {name: row[header.index(name) :].split()[0] for name in header.split()}
    (pod,) = kube.pods("default")
    assert (shown["NAME"], shown["TASK"], shown["READY"]) == ("greet", "example_greet", "True")
    assert shown["WORKER"].startswith(pod["metadata"]["name"])
    assert shown["LAST"].endswith("s")
    assert shown["NEXT"].startswith("20")
    said = [json.loads(line) for line in shell(logs).splitlines() if line.startswith("{")]
    greeting = next(line for line in said if line["event"] == "hello")
    assert (greeting["task"], greeting["name"]) == ("default/greet", "everyone")


def test_helm_test_passes(shell: Shell) -> None:
    """A pod inside the cluster asks the operator's Service whether it is ready."""
    assert "Succeeded" in shell(f"helm test {RELEASE} --namespace {RELEASE}")


def test_two_replicas_are_ready_and_one_leads(kube: Kubectl) -> None:
    """Each renews a Lease of its own, which goes with its pod; one slot, so one leader."""
    here = kube.within(RELEASE)
    pods = {pod["metadata"]["uid"] for pod in here.items("pods", "-l", "app.kubernetes.io/part-of=background-tasks")}
    leases = here.items("leases")
    assert {owner["uid"] for lease in leases for owner in lease["metadata"]["ownerReferences"]} == pods
    assert len(pods) == len(leases) == 2
    (slot,) = json.loads(here.read("configmap", "background-tasks-operator-slots")["data"]["slots"])
    assert slot.partition(":")[2] in [lease["metadata"]["name"] for lease in leases]


def test_an_upgrade_of_the_release_hands_the_lead_over(kube: Kubectl, shell: Shell, place: Place) -> None:
    """Replicas are replaced one by one, no task notices, and what is declared afterwards is made."""
    place.pool()
    place.task("neighbour", **EACH_SECOND)
    place.wait_for_run("neighbour")
    before = set(kube.within(RELEASE)("get", "pods", "-o", "name").split())
    shell(f"helm upgrade {RELEASE} charts/background-tasks -n {RELEASE} --set operator.podAnnotations.note=b --wait")
    after = until(
        "the old replicas' end",
        lambda: kube.within(RELEASE)("get", "pods", "-o", "name"),
        lambda pods: not before & set(pods.split()),
    )
    assert len(after.split()) == 2
    place.pool("second")
    place.assert_exact("neighbour")


def test_the_notes_of_the_chart_end_in_a_running_task(kube: Kubectl, shell: Shell, namespace: str) -> None:
    """What Helm prints after an install can be typed as it stands."""
    notes = shell(f"helm get notes {RELEASE} --namespace {RELEASE}")
    block = notes[notes.index("  kubectl apply -f - <<EOF") :].partition("EOF\n\n")[0] + "EOF"
    typed = "\n".join(line.removeprefix("  ") for line in block.splitlines())
    shell(typed.replace("kubectl apply", f"kubectl --namespace {namespace} apply"))
    until("the greeting", lambda: kube.within(namespace).task("greet"), lambda task: task.ready)


def test_everything_runs_where_restricted_is_enforced(kube: Kubectl) -> None:
    """No object of ours was let in with a warning or held back: both namespaces enforce Pod Security "restricted"."""
    for name in (RELEASE, "default"):
        labels = kube.read("namespace", name)["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    events = kube.items("events", "-A", "--field-selector", "type=Warning,reason=FailedCreate")
    assert [event["message"] for event in events] == []
