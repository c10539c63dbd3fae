"""A control plane for a test session: an existing one, or one of its own that ends with it, however that ends."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.testbed import binaries, lifecycle
from tests.testbed.shell import SetupError, run
from tests.testbed.state import Cluster

EXISTING = "BGTASKS_TEST_KUBECONFIG"
"""Names the kubeconfig of a cluster to use instead of starting one."""
OWN_NODE = "BGTASKS_E2E_NODE"
"""Names the folder of the cluster with a node that the end-to-end tests may break; not set where it is not ours."""
PROJECT = Path(__file__).parents[2]


class ApiServer:
    """The kube-apiserver of a cluster of our own, for tests that break it. Ports and data stay the same."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def stop(self) -> None:
        """Kill it: connections are cut, new ones refused."""
        self._cluster.halt("kube-apiserver")

    def start(self) -> None:
        """Start it again and return when it is ready."""
        self._cluster.resume("kube-apiserver")
        self._cluster.wait_for_ready()

    def freeze(self) -> None:
        """Halt it in mid-sentence: connections stay open and nothing answers."""
        self._cluster.signal("kube-apiserver", signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after a freeze and return when it is ready."""
        self._cluster.signal("kube-apiserver", signal.SIGCONT)
        self._cluster.wait_for_ready()


class ControlPlane:
    """A Kubernetes API with controllers and our definitions, and the kubectl that speaks to it."""

    def __init__(self, kubeconfig: Path, kubectl: str, cluster: Cluster | None = None) -> None:
        self.kubeconfig = kubeconfig
        self._kubectl = kubectl
        self._cluster = cluster

    @property
    def api_server(self) -> ApiServer:
        """The server, where it is ours to stop: only in the fixture `own_control_plane`."""
        if self._cluster is None:
            raise SetupError("this control plane is shared: a test that stops it uses the fixture own_control_plane")
        return ApiServer(self._cluster)

    @property
    def audit_log(self) -> Path:
        """What was asked of the server, where it is ours and was started with the part `audit`."""
        if self._cluster is None:
            raise SetupError("this control plane is shared: a test that reads what was asked of it starts its own")
        return self._cluster.audit_log

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True, seconds: float = 120.0) -> str:
        """Run kubectl and return what it printed; where `check` is off, a failure's words count as that."""
        try:
            env = {"KUBECONFIG": str(self.kubeconfig)}
            return run(self._kubectl, *args, stdin=stdin, env=env, seconds=seconds)
        except SetupError as failed:
            if check:
                raise
            return str(failed)


def existing() -> str | None:
    """Return the kubeconfig that EXISTING names, if any."""
    return os.environ.get(EXISTING) or None


@contextmanager
def shared() -> Iterator[ControlPlane]:
    """Give the control plane that EXISTING names, or a new one; neither may be broken by a test."""
    named = existing()
    if named is None:
        with own() as mine:
            yield ControlPlane(mine.kubeconfig, binaries.component("kubectl"))
        return
    if not Path(named).is_file():
        raise SetupError(f"{EXISTING}={named} is no file: point it at a kubeconfig, or unset it to start a cluster")
    given = ControlPlane(Path(named).resolve(), binaries.any_kubectl())
    define_resources(given)
    yield given


@contextmanager
def own(parts: frozenset[str] = frozenset({"controllers"})) -> Iterator[ControlPlane]:
    """Start a control plane, and stop it and remove its files at the end; a guard does it where we are killed."""
    folder = Path(tempfile.mkdtemp(prefix="bgtasks-testbed-"))
    with guarded(folder):
        cluster = lifecycle.up(folder, parts)
        try:
            mine = ControlPlane(cluster.kubeconfig, binaries.component("kubectl"), cluster)
            define_resources(mine)
            yield mine
        finally:
            lifecycle.halt_cluster(cluster)


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Take a folder's cluster down at the end of the block or of this process, whichever comes first."""
    command = [sys.executable, str(Path(__file__).with_name("cluster.py")), "--dir", str(folder), "guard"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as guard:
        try:
            yield
        finally:
            if guard.stdin:
                guard.stdin.close()


def define_resources(control_plane: ControlPlane) -> None:
    """Apply the project's resource definitions and wait until they are served."""
    folder = PROJECT / "manifests" / "crd"
    if any(folder.glob("*.yaml")):
        control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(folder))
        control_plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(folder))
