"""A scripted API server, and the cluster that our client sees behind it."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from background_tasks.services.kubernetes.client import Cluster, open_cluster
from tests.stubs.scripted_api import ScriptedApi, scripted_api

CALL_TIMEOUT_S = 0.5


@pytest.fixture
async def api() -> AsyncIterator[ScriptedApi]:
    """Serve a script on the loopback."""
    async with scripted_api() as api:
        yield api


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """Give the file with our token."""
    path = tmp_path / "token"
    path.write_text("first")
    return path


@pytest.fixture
def kubeconfig(tmp_path: Path, token: Path) -> Callable[[str], Path]:
    """Write a kubeconfig for a server's URL."""

    def write(url: str) -> Path:
        path = tmp_path / "kubeconfig"
        context = {"cluster": "c", "user": "u", "namespace": "here"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "x",
            "contexts": [{"name": "x", "context": context}],
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {"tokenFile": str(token)}}],
        }
        path.write_text(json.dumps(config))
        return path

    return write


@pytest.fixture
async def cluster(api: ScriptedApi, kubeconfig: Callable[[str], Path]) -> AsyncIterator[Cluster]:
    """Open the scripted cluster; half a second is the deadline of a call."""
    async with open_cluster(kubeconfig=kubeconfig(api.url), timeout_s=CALL_TIMEOUT_S) as opened:
        yield opened
