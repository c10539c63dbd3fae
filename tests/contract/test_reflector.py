"""A reflector over a real API server: nothing is lost, whatever ends a watch."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from background_tasks.engine.clock import SystemClock
from background_tasks.services.kubernetes import reflector
from background_tasks.services.kubernetes.client import Cluster, open_cluster
from background_tasks.services.kubernetes.reflector import Changed, Deleted, Listed, Reflector, Told
from background_tasks.services.kubernetes.resources import BACKGROUND_TASKS, CONFIG_MAPS
from tests.testbed.session import ControlPlane

pytestmark = pytest.mark.contract
DEADLINE_S = 15.0
MINE = {"test": "yes"}


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[Cluster]:
    """Open the control plane."""
    async with open_cluster(kubeconfig=control_plane.kubeconfig) as opened:
        yield opened


def follow(cluster: Cluster, namespace: str, told: list[str]) -> AsyncGenerator[Told, None]:
    """Follow our ConfigMaps of a namespace."""
    return Reflector(
        cluster,
        CONFIG_MAPS,
        clock=SystemClock(),
        namespace=namespace,
        label_selector="test=yes",
        report=told.append,
    ).events()


def config_map(namespace: str, name: str, **data: str) -> dict[str, Any]:
    """Make a ConfigMap of ours."""
    metadata = {"name": name, "namespace": namespace, "labels": MINE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


async def take(news: AsyncIterator[Told]) -> str:
    """Read one event as a short word: `=a,b` listed, `+a x` changed, `-a` deleted."""
    async with asyncio.timeout(DEADLINE_S):
        match await anext(news):
            case Listed(bodies):
                return "=" + ",".join(sorted(body["metadata"]["name"] for body in bodies))
            case Changed(body):
                return f"+{body['metadata']['name']} {body.get('data', {}).get('x', '')}"
            case Deleted(body):
                return f"-{body['metadata']['name']}"


async def test_what_is_there_and_what_changes(cluster: Cluster, namespace: str) -> None:
    """Made, edited, no longer selected, deleted; each is told once, in order."""
    await cluster.create(CONFIG_MAPS, config_map(namespace, "a"))
    async with aclosing(follow(cluster, namespace, [])) as news:
        words = [await take(news)]
        for name in ("b", "c"):
            await cluster.create(CONFIG_MAPS, config_map(namespace, name))
        await cluster.merge(CONFIG_MAPS, "a", {"data": {"x": "2"}}, namespace=namespace)
        await cluster.merge(CONFIG_MAPS, "b", {"metadata": {"labels": {"test": "no"}}}, namespace=namespace)
        await cluster.delete(CONFIG_MAPS, "c", namespace=namespace)
        words += [await take(news) for _ in range(5)]

    assert words == ["=a", "+b ", "+c ", "+a 2", "-b", "-c"]


async def test_watches_follow_one_another_without_a_gap(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that ends the watch every second: all changes come, each once, and nothing is listed again."""
    monkeypatch.setattr(reflector, "WATCH_LIFETIME_S", 0.5)
    monkeypatch.setattr(reflector, "FIRST_PAUSE_S", 0.01)
    watches = count_calls(monkeypatch, cluster, "watch")
    expected = ["="]
    async with aclosing(follow(cluster, namespace, [])) as news:
        words = [await take(news)]
        async with asyncio.timeout(DEADLINE_S):
            while len(watches) < 4:
                expected.append(f"+m{len(expected)} ")
                await cluster.create(CONFIG_MAPS, config_map(namespace, f"m{len(expected) - 1}"))
                words.append(await take(news))

    assert words == expected


def count_calls(monkeypatch: pytest.MonkeyPatch, cluster: Cluster, method: str) -> list[None]:
    """Return a list that grows with every call of a method."""
    calls: list[None] = []
    real = getattr(cluster, method)

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        return real(*args, **kwargs)

    monkeypatch.setattr(cluster, method, counted)
    return calls


async def test_a_version_that_is_not_kept_leads_to_a_new_list(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's own 410: a list again, and the watch goes on from there."""
    listing = cluster.list
    versions = iter(["1"])

    async def old(*args: Any, **kwargs: Any) -> dict[str, Any]:
        listed = await listing(*args, **kwargs)
        listed["metadata"]["resourceVersion"] = next(versions, listed["metadata"]["resourceVersion"])
        return listed

    monkeypatch.setattr(cluster, "list", old)
    told: list[str] = []
    follower = Reflector(cluster, BACKGROUND_TASKS, clock=SystemClock(), namespace=namespace, report=told.append)
    body = {
        "apiVersion": BACKGROUND_TASKS.api_version,
        "kind": "BackgroundTask",
        "metadata": {"name": "a", "namespace": namespace},
        "spec": {"task": "t", "schedule": {"interval": "1m"}},
    }
    async with aclosing(follower.events()) as news:
        words = [await take(news), await take(news)]
        await cluster.create(BACKGROUND_TASKS, body)
        words.append(await take(news))

    assert words == ["=", "=", "+a "]
    assert told == []


async def test_an_api_server_that_goes_and_comes_back(own_control_plane: ControlPlane) -> None:
    """It is reported while it is away; what happens after its return is told."""
    told: list[str] = []
    server = own_control_plane.api_server
    async with (
        open_cluster(kubeconfig=own_control_plane.kubeconfig, timeout_s=2) as cluster,
        aclosing(follow(cluster, "default", told)) as news,
    ):
        words = [await take(news)]
        await cluster.create(CONFIG_MAPS, config_map("default", "before"))
        words.append(await take(news))
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        await cluster.create(CONFIG_MAPS, config_map("default", "after"))
        while "after" not in words[-1]:
            words.append(await take(news))

    assert words[:2] == ["=", "+before "]
    assert words[-1] in ("+after ", "=after,before")
    assert told
