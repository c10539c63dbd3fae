"""The testbed itself: what it starts answers, what it stops is gone, what a test breaks mends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.testbed.session import PROJECT, ControlPlane
from tests.testbed.shell import ProcessId, SetupError, wait_for
from tests.testbed.state import Cluster

type Launcher = Callable[..., subprocess.CompletedProcess[str]]
KILLED_SESSION = """
import time
from tests.testbed import session
with session.own(frozenset()) as mine:
    print(mine.kubeconfig.parent, flush=True)
    while True:
        time.sleep(1)
"""


def processes(folder: Path) -> list[ProcessId]:
    """Identify the processes of a folder's cluster."""
    return [process.id for process in Cluster.load(folder).processes.values()]


def test_a_control_plane_answers(control_plane: ControlPlane, namespace: str) -> None:
    """The fixtures give an API server with a namespace of the test's own."""
    assert control_plane.kubectl("get", "--raw", "/readyz") == "ok"
    assert namespace in control_plane.kubectl("get", "namespace", namespace)


def test_our_resources_are_served(control_plane: ControlPlane) -> None:
    """The definitions of `manifests/crd` are applied before the first test."""
    defined = control_plane.kubectl("get", "crd", "-o", "name")
    for path in (PROJECT / "manifests" / "crd").glob("*.yaml"):
        assert f"/{path.stem}.background-tasks.dev" in defined


def test_a_refusal_is_told_in_the_server_s_own_words(control_plane: ControlPlane) -> None:
    """A kubectl that fails raises what it said, or returns it where the test asks for that."""
    with pytest.raises(SetupError, match="NotFound"):
        control_plane.kubectl("get", "namespace", "nowhere")
    assert "NotFound" in control_plane.kubectl("get", "namespace", "nowhere", check=False)


def test_controllers_collect_what_an_owner_leaves(control_plane: ControlPlane, namespace: str) -> None:
    """Deployments make ReplicaSets, and garbage collection takes them away again."""
    inside = ("-n", namespace)
    control_plane.kubectl("create", "deployment", "web", "--image=localhost/none:none", *inside)
    replicas = ("get", "replicaset", "-o", "name", *inside)
    wait_for("the replica set", lambda: control_plane.kubectl(*replicas), seconds=30)
    control_plane.kubectl("delete", "deployment", "web", *inside)
    wait_for("its end", lambda: not control_plane.kubectl(*replicas), seconds=30)


def test_down_leaves_no_process_and_no_file(launch: Launcher, tmp_path: Path, assets: Path) -> None:
    """`up` from the binaries of KUBEBUILDER_ASSETS answers; `down` takes every process and file away."""
    folder = tmp_path / "cluster"
    up = launch("up", KUBEBUILDER_ASSETS=str(assets))
    assert up.stdout == f"export KUBECONFIG={folder}/admin.kubeconfig\n", up.stderr
    started = processes(folder)
    commands = [Path(f"/proc/{each.pid}/cmdline").read_text().split("\0")[0] for each in started]
    assert commands == [f"{assets}/etcd", f"{assets}/kube-apiserver"]
    assert launch("run", "kubectl", "get", "--raw", "/readyz").stdout == "ok"
    assert launch("load", "image.tar").stderr.endswith("has no node: start it by `up --node`\n")
    assert launch("down").returncode == 0
    assert not any(each.alive() for each in started)
    assert not folder.exists()


def test_a_component_that_ends_is_told_at_once(launch: Launcher, tmp_path: Path, assets: Path) -> None:
    """An etcd that dies is named with its last words; its logs stay, and no process does."""
    (assets / "etcd").unlink()
    (assets / "etcd").write_text("#!/bin/sh\necho the disk is full\n")
    (assets / "etcd").chmod(0o755)
    up = launch("up", KUBEBUILDER_ASSETS=str(assets))
    assert up.returncode == 1
    assert up.stderr == "cluster.py up: etcd ended while kube-apiserver was awaited: the disk is full\n"
    assert (tmp_path / "cluster" / "logs" / "etcd.log").exists()
    assert not (tmp_path / "cluster" / "state.json").exists()


def test_a_killed_session_leaves_nothing() -> None:
    """Even SIGKILL of the test session ends in stopped processes and no folder: a guard sees to it."""
    session = subprocess.Popen(
        [sys.executable, "-c", KILLED_SESSION],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with session:
        assert session.stdout
        folder = Path(session.stdout.readline().strip())
        started = processes(folder)
        assert len(started) == 2
        assert all(each.alive() for each in started)
        os.kill(session.pid, signal.SIGKILL)
    wait_for("the guard", lambda: not folder.exists(), seconds=30)
    assert not any(each.alive() for each in started)


def test_a_shared_control_plane_is_not_ours_to_stop(control_plane: ControlPlane) -> None:
    """A test that would break its neighbours is sent to the other fixture."""
    with pytest.raises(SetupError, match="own_control_plane"):
        _ = control_plane.api_server


def test_a_restarted_api_server_keeps_port_and_data(own_control_plane: ControlPlane) -> None:
    """A killed API server refuses; started again it has what was written before, for the same kubeconfig."""
    own_control_plane.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    own_control_plane.api_server.stop()
    assert "refused" in own_control_plane.kubectl("get", "configmap", "kept", check=False)
    own_control_plane.api_server.start()
    kept = json.loads(own_control_plane.kubectl("get", "configmap", "kept", "-o", "json"))
    assert kept["data"] == {"a": "b"}


def test_a_frozen_api_server_hangs_until_it_is_thawed(own_control_plane: ControlPlane) -> None:
    """A stopped process accepts and says nothing: what a client's deadline is for."""
    own_control_plane.api_server.freeze()
    asked = ("get", "configmap", "--request-timeout=500ms")
    said = own_control_plane.kubectl(*asked, check=False)
    assert any(word in said for word in ("TLS handshake", "deadline", "imeout", "timed out")), said
    own_control_plane.api_server.thaw()
    told = partial(own_control_plane.kubectl, "get", "configmap", check=False)
    wait_for("the API server's answer", lambda: "kube-root-ca.crt" in told(), 60)
