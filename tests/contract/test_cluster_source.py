"""Tasks from a real API server: what people do with kubectl, and how soon the engine hears of it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import pytest

from background_tasks.api import names
from background_tasks.domain.model import TaskUid
from background_tasks.engine.clock import SystemClock
from background_tasks.ports import RefusedDocument, Removed, SourceEvent, Synced, Upserted
from background_tasks.services.kubernetes.client import Cluster, open_cluster
from background_tasks.services.kubernetes.resources import BACKGROUND_TASKS
from background_tasks.sources.kubernetes import ClusterSource
from tests.testbed.session import ControlPlane

pytestmark = pytest.mark.contract
SOON_S = 2.0
"""The promise: from kubectl's answer to the engine."""

type Kubectl = Callable[..., Awaitable[str]]


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[Cluster]:
    """Open the control plane."""
    async with open_cluster(kubeconfig=control_plane.kubeconfig) as opened:
        yield opened


@pytest.fixture
def kubectl(control_plane: ControlPlane, namespace: str) -> Kubectl:
    """Do as a person does, beside the loop."""

    async def run(*args: str, stdin: str | None = None) -> str:
        return await asyncio.to_thread(control_plane.kubectl, "-n", namespace, *args, stdin=stdin)

    return run


@pytest.fixture
def source(cluster: Cluster, namespace: str) -> ClusterSource:
    """Make a source for the tasks of the default pool."""
    return ClusterSource(cluster, namespace=namespace, pool="default", clock=SystemClock())


@pytest.fixture
async def events(source: ClusterSource) -> AsyncIterator[AsyncIterator[SourceEvent]]:
    """Watch."""
    async with aclosing(source.watch()) as watch:
        yield watch


def manifest(name: str = "a", **spec: object) -> str:
    """Write a task as a person applies it."""
    whole = {"task": "t", "schedule": {"interval": "1m"}, **spec}
    body = {"apiVersion": names.API_VERSION, "kind": names.TASK_KIND, "metadata": {"name": name}, "spec": whole}
    return json.dumps(body)


async def soon(events: AsyncIterator[SourceEvent]) -> SourceEvent:
    """Return the next event, which must come soon."""
    async with asyncio.timeout(SOON_S):
        return await anext(events)


async def armed(events: AsyncIterator[SourceEvent], name: str = "a") -> TaskUid:
    """Return the UID of the next event's task."""
    event = await soon(events)
    assert isinstance(event, Upserted), event
    assert event.task.name.endswith(f"/{name}")
    return event.task.uid


async def test_what_people_do_is_heard_soon(events: AsyncIterator[SourceEvent], kubectl: Kubectl) -> None:
    """Apply, edit, pause and delete reach the engine in two seconds, and a task made again is another one."""
    assert isinstance(await soon(events), Synced)
    await kubectl("apply", "-f", "-", stdin=manifest())
    uid = await armed(events)
    await kubectl("patch", "bgt", "a", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    edited = await soon(events)
    await kubectl("annotate", "bgt", "a", f"{names.PAUSED_UNTIL}=forever")
    paused = await soon(events)
    await kubectl("delete", "bgt", "a")
    gone = await soon(events)
    await kubectl("apply", "-f", "-", stdin=manifest())
    again = await armed(events)

    assert isinstance(edited, Upserted)
    assert (edited.task.uid, edited.task.generation, edited.task.switches.suspend) == (uid, 2, True)
    assert isinstance(paused, Upserted)
    assert (paused.task.generation, paused.task.switches.pause is None) == (2, False)
    assert gone == Removed(uid)
    assert again != uid


async def test_only_the_pools_own_tasks_are_told(events: AsyncIterator[SourceEvent], kubectl: Kubectl) -> None:
    """A task of another pool is none of ours until it is moved here, and is gone when it moves away."""
    assert isinstance(await soon(events), Synced)
    await kubectl("apply", "-f", "-", stdin=manifest("theirs", poolRef={"name": "other"}))
    await kubectl("apply", "-f", "-", stdin=manifest("ours"))
    ours = await armed(events, "ours")
    await kubectl("patch", "bgt", "ours", "--type=merge", "-p", '{"spec": {"poolRef": {"name": "other"}}}')
    left = await soon(events)
    await kubectl("patch", "bgt", "theirs", "--type=merge", "-p", '{"spec": {"poolRef": {"name": "default"}}}')

    assert left == Removed(ours)
    await armed(events, "theirs")


async def test_a_status_is_no_news_and_is_remembered(
    events: AsyncIterator[SourceEvent], source: ClusterSource, cluster: Cluster, kubectl: Kubectl, namespace: str
) -> None:
    """The engine hears nothing of what it wrote itself; the writer finds what the resource shows."""
    assert isinstance(await soon(events), Synced)
    await kubectl("apply", "-f", "-", stdin=manifest())
    uid = await armed(events)
    patch = {"status": {"observedGeneration": 1}}
    written = await cluster.merge(BACKGROUND_TASKS, "a", patch, namespace=namespace, subresource="status")
    await kubectl("apply", "-f", "-", stdin=manifest("b"))

    await armed(events, "b")
    assert source.address(uid) == (namespace, "a")
    assert source.status_of(uid) == patch["status"]
    assert source.version_of(uid) == written["metadata"]["resourceVersion"]


async def test_what_the_definition_let_through_is_refused_here(
    events: AsyncIterator[SourceEvent], kubectl: Kubectl, namespace: str
) -> None:
    """An annotation is in no schema: the refusal names the task, its good version stays, and a mended one heals."""
    assert isinstance(await soon(events), Synced)
    await kubectl("apply", "-f", "-", stdin=manifest())
    uid = await armed(events)
    await kubectl("annotate", "bgt", "a", f"{names.PAUSED_UNTIL}=noon")
    refused = await soon(events)
    await kubectl("annotate", "bgt", "a", f"{names.PAUSED_UNTIL}-")

    assert isinstance(refused, RefusedDocument)
    assert (refused.refusal.uid, refused.refusal.where) == (uid, f"{namespace}/a")
    assert "noon" in refused.refusal.message
    assert await armed(events) == uid
