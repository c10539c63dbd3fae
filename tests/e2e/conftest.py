"""One cluster with a node, the chart installed into it once, a recorder of runs, and a place of each test's own.

Every namespace enforces Pod Security "restricted".
"""

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e import readme
from tests.e2e.kubectl import Kubectl
from tests.e2e.node import OwnNode, Stores
from tests.e2e.place import Place
from tests.e2e.recorder import Recorder
from tests.testbed import binaries, session
from tests.testbed.session import PROJECT

RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"
RELEASE = "background-tasks"
"""The name, and the namespace, that README.md gives it."""

type Shell = Callable[[str], str]


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Give the environment of commands that people type: kubectl and helm on PATH, KUBECONFIG."""
    named = session.existing()
    if not named:
        pytest.fail("there is no cluster: run `make e2e`")
    folders = [str(Path(tool).parent) for tool in (binaries.any_kubectl(), binaries.tool("helm"))]
    return {**os.environ, "KUBECONFIG": named, "PATH": os.pathsep.join([*folders, os.environ["PATH"]])}


@pytest.fixture(scope="session")
def shell(environment: dict[str, str]) -> Shell:
    """Run a command as it stands in a page, from the top of the project; return what it printed."""

    def run(line: str) -> str:
        done = subprocess.run(
            ["bash", "-c", line], cwd=PROJECT, env=environment, text=True, capture_output=True, check=False, timeout=300
        )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def kube(environment: dict[str, str]) -> Kubectl:
    """Speak to the cluster."""
    return Kubectl(binaries.any_kubectl(), environment)


@pytest.fixture(scope="session")
def node() -> OwnNode:
    """Give the node, for a test that breaks it."""
    given = OwnNode.given()
    if given is None:
        pytest.skip("it breaks the node: only on the one that `make e2e` starts without KUBECONFIG")
    return given


@pytest.fixture(scope="session")
def stores(node: OwnNode) -> Iterator[Stores]:
    """Give a Redis with FalkorDB that pods reach."""
    made = Stores(node.address)
    made.start()
    yield made
    made.remove()


@pytest.fixture(scope="session")
def installed(kube: Kubectl, shell: Shell) -> None:
    """Install by the first command of README.md; a release that is there already is used as it is."""
    restrict(kube, "default", RELEASE)
    if RELEASE not in shell(f"helm list --short --namespace {RELEASE}").split():
        shell(readme.commands()[0])
    node = OwnNode.given()
    if node:
        node.refresh_names()


@pytest.fixture(scope="session")
def recorder(kube: Kubectl) -> Iterator[Recorder]:
    """Give the recorder."""
    with new_namespace(kube) as name:
        made = Recorder(kube.within(name))
        made.start()
        yield made


@pytest.fixture
def namespace(kube: Kubectl) -> Iterator[str]:
    """Give a namespace of the test's own; it is deleted afterwards."""
    with new_namespace(kube) as name:
        yield name


@pytest.fixture
def place(kube: Kubectl, recorder: Recorder, installed: None) -> Iterator[Place]:
    """Give a place of the test's own, where the operator serves."""
    with new_namespace(kube) as name:
        yield Place(kube.within(name), recorder)


@pytest.fixture(scope="module")
def shared_place(kube: Kubectl, recorder: Recorder, installed: None) -> Iterator[Place]:
    """Give a place that the tests of a module share."""
    with new_namespace(kube) as name:
        yield Place(kube.within(name), recorder)


@contextmanager
def new_namespace(kube: Kubectl) -> Iterator[str]:
    """Make a namespace, and delete it afterwards."""
    name = f"t{uuid.uuid4().hex[:8]}"
    restrict(kube, name)
    yield name
    kube("delete", "namespace", name, "--wait=false")


def restrict(kube: Kubectl, *namespaces: str) -> None:
    """Make namespaces, where they are not there, that enforce Pod Security "restricted"."""
    for name in namespaces:
        if not kube("get", "namespace", name, "--ignore-not-found", "-o", "name"):
            kube("create", "namespace", name)
        kube("label", "--overwrite", "namespace", name, RESTRICTED)
        # No pod is let in before the namespace's own account is there. A controller makes that, and after an outage
        # of the API server it takes up to half a minute to be back.
        kube.within(name)("wait", "--for=create", "serviceaccount/default", "--timeout=120s")
