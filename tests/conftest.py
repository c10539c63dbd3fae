"""Worlds that tests share: embedded Redis + FalkorDB and a Kubernetes API per session, names of their own per test."""

import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from background_tasks.knowledge.graph.schema import ensure_schema
from background_tasks.knowledge.graph.store import Graph
from background_tasks.local.embedded import EmbeddedServer
from background_tasks.services import graph as graphs
from background_tasks.services.redis import connect

sys.path.insert(0, str(Path(__file__).parents[1]))  # the testbed is a script's package: it lies beside the tests

from tests.testbed import binaries
from tests.testbed import session as testbed


@pytest.fixture(scope="session")
def embedded() -> Iterator[EmbeddedServer]:
    """Run one real Redis + FalkorDB for the whole session."""
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def prefix() -> str:
    """Give a key prefix (or graph name) that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def redis(embedded: EmbeddedServer) -> AsyncIterator[Redis]:
    """Connect to the session's Redis; it is emptied afterwards."""
    client = connect(embedded.url)
    yield client
    await client.flushall()
    await client.aclose()


@pytest.fixture
async def kg(embedded: EmbeddedServer, prefix: str) -> AsyncIterator[graphs.KnowledgeGraph]:
    """Connect to a graph of the test's own, with its indexes and constraints; it is deleted afterwards."""
    graph = graphs.connect(embedded.url, graph=prefix)
    await ensure_schema(Graph(graph))
    yield graph
    for name in await graph.graphs():
        if name.startswith(prefix):
            await graph.drop(name)
    await graph.aclose()


@pytest.fixture(scope="session")
def kubernetes_binaries(pytestconfig: pytest.Config) -> None:
    """Have a control plane's binaries; the line that tells of a build of minutes is seen on the terminal."""
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        binaries.component("kube-controller-manager")


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest) -> Iterator[testbed.ControlPlane]:
    """Give a real Kubernetes API with controllers and our definitions: an existing one, or one of the session's own."""
    if not testbed.existing():
        request.getfixturevalue("kubernetes_binaries")
    with testbed.shared() as given:
        yield given


@pytest.fixture(scope="module")
def own_control_plane(kubernetes_binaries: None) -> Iterator[testbed.ControlPlane]:
    """Give a control plane that nobody else uses, so that a test may stop its API server."""
    with testbed.own() as given:
        yield given


@pytest.fixture
def namespace(control_plane: testbed.ControlPlane) -> Iterator[str]:
    """Give a namespace of the test's own; it is deleted afterwards."""
    name = f"t{uuid.uuid4().hex[:12]}"
    control_plane.kubectl("create", "namespace", name)
    yield name
    control_plane.kubectl("delete", "namespace", name, "--wait=false")
