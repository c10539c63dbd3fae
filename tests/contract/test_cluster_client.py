"""The client against a real API server: pages, ownership, conditions, refusals, watches."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from background_tasks.api import names
from background_tasks.errors import Refused
from background_tasks.services.kubernetes.client import Cluster, open_cluster
from background_tasks.services.kubernetes.errors import AlreadyExists, Conflict, Gone, NotFound
from background_tasks.services.kubernetes.lines import Body
from background_tasks.services.kubernetes.resources import BACKGROUND_TASKS, CONFIG_MAPS, LEASES
from tests.testbed.session import ControlPlane

pytestmark = pytest.mark.contract
MANY = 520
"""More than a page."""


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[Cluster]:
    """Open the control plane."""
    async with open_cluster(kubeconfig=control_plane.kubeconfig) as opened:
        yield opened


def config_map(namespace: str, name: str = "m", **data: str) -> Body:
    """Make a ConfigMap."""
    metadata = {"name": name, "namespace": namespace, "labels": {"test": "yes"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def task(namespace: str, **spec: object) -> Body:
    """Make a task."""
    metadata = {"name": "a", "namespace": namespace}
    whole = {"task": "t", "schedule": {"interval": "1m"}, **spec}
    return {"apiVersion": names.API_VERSION, "kind": names.TASK_KIND, "metadata": metadata, "spec": whole}


async def test_more_than_a_page_is_one_list(cluster: Cluster, namespace: str) -> None:
    """Every object is in it once, and a watch from its version tells only what came later."""
    crowd = asyncio.Semaphore(16)

    async def make(number: int) -> None:
        async with crowd:
            await cluster.create(CONFIG_MAPS, config_map(namespace, f"m{number:04}"))

    async with asyncio.TaskGroup() as group:
        for number in range(MANY):
            group.create_task(make(number))

    listed = await cluster.list(CONFIG_MAPS, namespace=namespace, label_selector="test=yes")
    await cluster.create(CONFIG_MAPS, config_map(namespace, "later"))
    version = listed["metadata"]["resourceVersion"]
    async with aclosing(cluster.watch(CONFIG_MAPS, namespace=namespace, resource_version=version)) as watch:
        kind, body = await anext(watch)

    assert sorted(item["metadata"]["name"] for item in listed["items"]) == [f"m{n:04}" for n in range(MANY)]
    assert {item["kind"] for item in listed["items"]} == {"ConfigMap"}
    assert (kind, body["metadata"]["name"]) == ("ADDED", "later")


async def test_an_old_version_does_not_overwrite_a_new_one(cluster: Cluster, namespace: str) -> None:
    """A stale PUT, a stale merge and a second create lose, and say so."""
    old = await cluster.create(CONFIG_MAPS, config_map(namespace, x="1"))
    new = await cluster.replace(CONFIG_MAPS, old | {"data": {"x": "2"}})
    stale = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "data": {"x": "3"}}

    with pytest.raises(Conflict, match="the object has been modified"):
        await cluster.replace(CONFIG_MAPS, old | {"data": {"x": "3"}})
    with pytest.raises(Conflict):
        await cluster.merge(CONFIG_MAPS, "m", stale, namespace=namespace)
    with pytest.raises(AlreadyExists, match="already exists"):
        await cluster.create(CONFIG_MAPS, config_map(namespace))

    assert await cluster.get(CONFIG_MAPS, "m", namespace=namespace) == new


async def test_a_field_has_one_owner(cluster: Cluster, namespace: str) -> None:
    """Without force an apply names the other owner; with it the field changes hands; what is left out goes away."""
    await cluster.apply(CONFIG_MAPS, config_map(namespace, x="1", y="1"), manager="one")
    theirs = config_map(namespace, x="2")

    with pytest.raises(Conflict, match=r'conflict with "one".*\.data\.x'):
        await cluster.apply(CONFIG_MAPS, theirs, manager="two", force=False)
    taken = await cluster.apply(CONFIG_MAPS, theirs, manager="two")
    left = await cluster.apply(CONFIG_MAPS, config_map(namespace), manager="one")

    assert taken["data"] == {"x": "2", "y": "1"}
    assert left["data"] == {"x": "2"}


async def test_a_status_is_written_beside_the_spec(cluster: Cluster, namespace: str) -> None:
    """Applying the subresource changes neither generation nor spec, and null merges a status away."""
    made = await cluster.create(BACKGROUND_TASKS, task(namespace))
    status = task(namespace, task="other") | {"status": {"observedGeneration": 1}}

    written = await cluster.apply(BACKGROUND_TASKS, status, manager=names.WORKER_MANAGER, subresource="status")
    merged = await cluster.merge(
        BACKGROUND_TASKS, "a", {"status": {"observedGeneration": None}}, namespace=namespace, subresource="status"
    )

    assert (written["spec"], written["metadata"]["generation"]) == (made["spec"], 1)
    assert written["status"]["observedGeneration"] == 1
    assert "observedGeneration" not in merged.get("status", {})


async def test_only_the_object_that_is_meant_is_deleted(cluster: Cluster, namespace: str) -> None:
    """A UID that is another object's spares it; what is gone is gone."""
    made = await cluster.create(CONFIG_MAPS, config_map(namespace))

    with pytest.raises(Conflict, match="UID in the precondition"):
        await cluster.delete(CONFIG_MAPS, "m", namespace=namespace, uid="00000000-0000-0000-0000-000000000000")
    await cluster.delete(CONFIG_MAPS, "m", namespace=namespace, uid=made["metadata"]["uid"])
    await cluster.delete(CONFIG_MAPS, "m", namespace=namespace, uid=made["metadata"]["uid"])

    with pytest.raises(NotFound, match='configmaps "m" not found'):
        await cluster.get(CONFIG_MAPS, "m", namespace=namespace)


async def test_what_the_definition_refuses_is_told_in_its_words(cluster: Cluster, namespace: str) -> None:
    """The field and the reason stand in the sentence."""
    with pytest.raises(Refused, match=r"post namespaces/.*/backgroundtasks: .*spec\.task"):
        await cluster.create(BACKGROUND_TASKS, task(namespace, task=7))


@pytest.mark.parametrize(("token", "sentence"), [("nonsense", "Unauthorized"), ("", "forbidden: User")])
async def test_who_may_not_is_refused(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, *, token: str, sentence: str
) -> None:
    """Unknown people and people without rights are told which they are."""
    if not token:
        control_plane.kubectl("-n", namespace, "create", "serviceaccount", "nobody")
        token = control_plane.kubectl("-n", namespace, "create", "token", "nobody").strip()
    config = json.loads(control_plane.kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))

    async with open_cluster(kubeconfig=path) as cluster:
        with pytest.raises(Refused, match=sentence):
            await cluster.list(LEASES, namespace=namespace)


async def test_a_version_from_before_the_servers_memory_is_gone(cluster: Cluster) -> None:
    """The server keeps nothing from before a resource was defined: it says so, and we list anew."""
    with pytest.raises(Gone, match="too old resource version"):
        await anext(cluster.watch(BACKGROUND_TASKS, resource_version="1"))


async def test_a_watch_ends_after_its_life(cluster: Cluster, namespace: str) -> None:
    """The server ends it in good order, after a bookmark."""
    listed = await cluster.list(CONFIG_MAPS, namespace=namespace)
    watch = cluster.watch(
        CONFIG_MAPS, namespace=namespace, resource_version=listed["metadata"]["resourceVersion"], lifetime_s=1
    )

    assert {kind async for kind, _ in watch} <= {"BOOKMARK", "ADDED"}
