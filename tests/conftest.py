"""Worlds that tests share: an embedded Redis + FalkorDB per session, names of their own per test."""

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from background_tasks.knowledge.graph.schema import ensure_schema
from background_tasks.knowledge.graph.store import Graph
from background_tasks.local.embedded import EmbeddedServer
from background_tasks.services import graph as graphs
from background_tasks.services.redis import connect


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
