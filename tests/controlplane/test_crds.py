"""The definitions in a real API server: what it accepts, what it says when it refuses, what kubectl shows of them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes import client, config

from background_tasks.api import names
from background_tasks.api.crd import crd
from background_tasks.api.read import read_resource
from background_tasks.api.task import BackgroundTask
from background_tasks.domain.model import NO_PAST, Cron, Outcome, Policy, RunRecord, Schedule, Task, TaskUid
from background_tasks.domain.status import Observed, status
from tests.testbed.session import PROJECT, ControlPlane

PLURALS = {names.TASK_KIND: "backgroundtasks", names.POOL_KIND: "workerpools"}
TABLES = Path(__file__).parents[1] / "fixtures" / "definitions"
DOCUMENTS = [
    pytest.param(kind, document, id=f"{kind}: {document['says']}")
    for kind, file in ((names.TASK_KIND, "tasks.yaml"), (names.POOL_KIND, "pools.yaml"))
    for document in yaml.safe_load((TABLES / file).read_text())
]
UNITS = ("ms", "s", "m", "h", "d")
POOL = "apiVersion: background-tasks.dev/v1alpha1\nkind: WorkerPool\nmetadata: {name: default}\n"
TASK = """
apiVersion: background-tasks.dev/v1alpha1
kind: BackgroundTask
metadata: {name: digest}
spec: {task: digest, schedule: {cron: 0 9 * * MON, timeZone: Europe/Berlin}}
"""
STATUS = {
    "apiVersion": names.API_VERSION,
    "kind": names.TASK_KIND,
    "metadata": {"name": "digest"},
}
ACCEPTED = {
    "type": "Accepted",
    "status": "True",
    "reason": "Accepted",
    "message": "workers of the pool default run it",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


@pytest.fixture(scope="module")
def api(control_plane: ControlPlane) -> Iterator[Any]:
    """Connect once: a process per document would take a minute."""
    connect: Any = config.new_client_from_config
    with connect(str(control_plane.kubeconfig)) as connection:
        yield client.CustomObjectsApi(connection)


def dry_run(api: Any, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Create as `kubectl create --validate=strict --dry-run=server` does; return the object, or why not."""
    plural = PLURALS[body["kind"]]
    options = {"dry_run": "All", "field_validation": "Strict"}
    try:
        made = api.create_namespaced_custom_object(names.GROUP, names.VERSION, "default", plural, body, **options)
    except client.ApiException as refused:
        return {}, str(json.loads(refused.body or "{}")["message"])
    return made, ""


@pytest.mark.parametrize(("kind", "document"), DOCUMENTS)
def test_a_document_is_accepted_or_refused(api: Any, kind: str, document: Mapping[str, Any]) -> None:
    """A refusal says what the table says; what is accepted means the same to our reader with the defaults filled in."""
    meta = {"name": "one", "namespace": "default", **document.get("metadata", {})}
    body = {"apiVersion": names.API_VERSION, "kind": kind, "metadata": meta, "spec": document["spec"]}

    made, refused = dry_run(api, body)

    if "told" in document:
        assert document["told"] in refused
        return
    assert refused == ""
    if "differs" not in document:
        bare, filled = (
            read_resource({**body, "spec": spec}, lambda path: "here") for spec in (body["spec"], made["spec"])
        )
        assert filled == bare


PART = st.tuples(st.decimals(0, 99, places=3).map(lambda number: f"{number.normalize():f}"), st.sampled_from(UNITS))
DURATION = st.lists(PART.map("".join), min_size=1, max_size=3).map("".join)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(every=DURATION, jitter=DURATION)
def test_durations_are_compared_as_our_reader_compares_them(api: Any, every: str, jitter: str) -> None:
    """A sum over units, made by a rule of the definition, comes to what our own reading of durations comes to."""
    spec = {"task": "digest", "schedule": {"every": every, "jitter": jitter}}
    body = {"apiVersion": names.API_VERSION, "kind": names.TASK_KIND, "metadata": {"name": "one"}, "spec": spec}

    _, refused = dry_run(api, body)

    assert (refused == "") == isinstance(read_resource(body, lambda path: "here"), BackgroundTask), refused


def test_every_sample_is_accepted(control_plane: ControlPlane, namespace: str) -> None:
    """The samples can be applied as they are, with no field that the cluster does not know."""
    folder = PROJECT / "manifests" / "samples"
    written = [document for file in folder.glob("*.yaml") for document in yaml.safe_load_all(file.read_text())]

    told = control_plane.kubectl(
        "create", "--dry-run=server", "--validate=strict", "-n", namespace, "-f", str(folder), "-o", "name"
    )

    assert len(told.splitlines()) == len(written) > 20


def test_a_person_is_told_the_fix(control_plane: ControlPlane, namespace: str) -> None:
    """kubectl shows the message behind the field's path."""
    wrong = TASK.replace("timeZone", "every: 0s, timeZone")

    told = control_plane.kubectl("create", "-n", namespace, "-f", "-", stdin=wrong, check=False)

    assert 'spec.schedule.every: Invalid value: "string": "0s" is too short; write 1ms or more, such as 30s' in told
    assert "exactly one of interval, every, cron, continuous, onStart; found every and cron" in told


def test_the_number_of_slots_stays(control_plane: ControlPlane, namespace: str) -> None:
    """Tasks belong to slots by their number: another one would hand runs to the wrong workers."""
    control_plane.kubectl("create", "-n", namespace, "-f", "-", stdin=POOL)
    patch = ["patch", "bgp", "default", "-n", namespace, "--type=merge", "-p"]

    told = control_plane.kubectl(*patch, '{"spec": {"slots": 4}}', check=False)

    assert "spec.slots" in told
    assert "cannot be changed: it decides which worker runs what; make a new pool of that size" in told
    assert "patched" in control_plane.kubectl(*patch, '{"spec": {"slots": 16, "replicas": 2}}')


def test_the_place_of_leases_stays(control_plane: ControlPlane, namespace: str) -> None:
    """A rollout has old and new workers side by side: with leases in two places, both would act."""
    spec = '{"lease": {"backend": "Redis"}, "services": {"redis": {"url": "redis://one"}}}'
    for body in (POOL, f"{POOL.replace('default', 'other')}spec: {spec}"):
        control_plane.kubectl("create", "-n", namespace, "-f", "-", stdin=body)
    patch = ["patch", "-n", namespace, "--type=merge", "-p"]
    elsewhere = '{"spec": {"services": {"redis": {"url": "redis://two"}}}}'

    told = control_plane.kubectl(*patch, f'{{"spec": {spec}}}', "bgp", "default", check=False)
    moved = control_plane.kubectl(*patch, elsewhere, "bgp", "other", check=False)

    assert "spec.lease.backend" in told
    assert "cannot be changed: old and new workers would both act; make a new pool" in told
    assert "spec.services.redis" in moved
    assert "cannot be changed where it holds the leases" in moved


def test_a_pool_is_scaled(control_plane: ControlPlane, namespace: str) -> None:
    """`kubectl scale` and autoscalers reach replicas, status.replicas and the selector through /scale."""
    control_plane.kubectl("create", "-n", namespace, "-f", "-", stdin=POOL)
    seen = {"status": {"replicas": 2, "selector": "a=b"}}
    merge = ["--type=merge", "-p", json.dumps(seen)]
    control_plane.kubectl("patch", "bgp", "default", "-n", namespace, "--subresource=status", *merge)

    control_plane.kubectl("scale", "bgp", "default", "-n", namespace, "--replicas=5")

    scale = control_plane.kubectl("get", "bgp", "default", "-n", namespace, "--subresource=scale", "-o", "json")
    assert (json.loads(scale)["spec"], json.loads(scale)["status"]) == (
        {"replicas": 5},
        {"replicas": 2, "selector": "a=b"},
    )


def test_tasks_are_found_by_their_pool(control_plane: ControlPlane, namespace: str) -> None:
    """A worker watches the tasks of its own pool; one that names no pool is of the pool `default`."""
    control_plane.kubectl("create", "-n", namespace, "-f", "-", stdin=TASK)
    get = ["get", "bgt", "-n", namespace, "-o", "name", "--field-selector"]

    assert "digest" in control_plane.kubectl(*get, "spec.poolRef.name=default")
    assert "digest" not in control_plane.kubectl(*get, "spec.poolRef.name=other")


def worker_status() -> dict[str, Any]:
    """Build what a worker tells of the task, and the ledger that it keeps there."""
    schedule = Schedule(cadence=Cron(expression="0 9 * * MON", zone="Europe/Berlin"))
    policy = Policy(coroutine="digest", schedule=schedule, max_lateness=5, history_limit=1)
    task = Task(uid=TaskUid("u"), name="t/digest", policy=policy, generation=1)
    run = RunRecord(
        run_id="r",
        uid=task.uid,
        task=task.name,
        scheduled_for=100,
        started_at=100.25,
        ended_at=101,
        outcome=Outcome.SUCCEEDED,
    )
    seen = Observed(now=200.0, worker="w-1", slot=3, next_start=4e9, history=(run,), succeeded=7)
    return {**status(task, NO_PAST, observed=seen), "ledger": {"past": {"fired_at": 100.0}, "realms": ["ab"]}}


def test_a_status_is_kept_and_shown(control_plane: ControlPlane, namespace: str) -> None:
    """Worker and operator write one status side by side; nothing of it is lost, and the columns show it."""
    control_plane.kubectl("create", "-n", namespace, "-f", "-", stdin=TASK)
    told = worker_status()
    apply = ["apply", "--server-side", "--subresource=status", "-n", namespace, "-f", "-", "--field-manager"]
    control_plane.kubectl(
        *apply, names.OPERATOR_MANAGER, stdin=json.dumps({**STATUS, "status": {"conditions": [ACCEPTED]}})
    )
    control_plane.kubectl(*apply, names.WORKER_MANAGER, stdin=json.dumps({**STATUS, "status": told}))

    kept = json.loads(control_plane.kubectl("get", "bgt", "digest", "-n", namespace, "-o", "json"))["status"]
    rows = control_plane.kubectl("get", "bgt", "-n", namespace, "-o", "wide").splitlines()

    assert kept == {**told, "conditions": [ACCEPTED, *told["conditions"]]}
    columns = "NAME TASK SCHEDULE READY REASON LAST NEXT WORKER AGE POOL SLOT LATENESS RUNS"
    shown = "digest digest 0 9 * * MON Europe/Berlin True Armed {} 2096-10-02T07:06:40Z w-1 {} default 3 250ms 7"
    words = rows[1].split()
    assert (rows[0].split(), words) == (columns.split(), shown.format(words[10], words[13]).split())  # but for two ages


def objects(node: Mapping[str, Any], path: str) -> Iterator[str]:
    """Walk the objects of a schema that have fields of their own."""
    if "properties" in node:
        yield path
    for name, child in node.get("properties", {}).items():
        yield from objects(child, f"{path}.{name}")
        yield from objects(child.get("items", {}), f"{path}.{name}")


@pytest.mark.parametrize(("kind", "short"), [(names.TASK_KIND, "bgt"), (names.POOL_KIND, "bgp")])
def test_kubectl_explains_every_field(control_plane: ControlPlane, kind: str, short: str) -> None:
    """`kubectl explain` has a sentence for each part and each field of it."""
    schema = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    parts = [path for side in ("spec", "status") for path in objects(schema["properties"][side], f"{short}.{side}")]

    whole = control_plane.kubectl("explain", short, "--recursive")
    told = {path: control_plane.kubectl("explain", path) for path in parts}

    assert [path for path in parts if path.rpartition(".")[2] not in whole] == []
    assert [path for path, text in told.items() if "<no description>" in text or "<empty>" in text] == []
