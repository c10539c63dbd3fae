#!/usr/bin/env python3
"""Run the end-to-end tests on a cluster with a node.

e2e.py [PYTEST ARGUMENTS]   on the cluster that KUBECONFIG names, which has the images of README.md and docs/image.md;
                            where it is not set, on a node of our own: root on Debian, missing packages come by apt-get
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # the project, so that this runs from anywhere

from tests.testbed import imagebuild, lifecycle, node, session
from tests.testbed.imagebuild import ARCHIVE
from tests.testbed.session import PROJECT
from tests.testbed.shell import SetupError, run
from tests.testbed.state import Cluster

TESTS = "tests/e2e"
LOGS = PROJECT / "build" / "e2e-logs"
PYTEST = (sys.executable, "-m", "pytest")
ALSO_NEEDED = {"mmdebstrap": "mmdebstrap"}
"""What the image takes beside what the node takes."""
OWN_IMAGES = {"shop-tasks:0.1.0": PROJECT / "examples" / "own-image"}
"""Images that pods of the tests start from beside the project's: those that docs/image.md shows how to build."""


def main(arguments: list[str]) -> int:
    """Run the tests and return pytest's exit code; what is missing is told in a sentence."""
    try:
        given = os.environ.get("KUBECONFIG")
        return _run_on(given, arguments) if given else _run_on_own_node(arguments)
    except SetupError as problem:
        print(f"make e2e: {problem}", file=sys.stderr)
        return 1


def _run_on(kubeconfig: str, arguments: list[str]) -> int:
    print(f"the end-to-end tests use the cluster of KUBECONFIG={kubeconfig}", flush=True)
    env = {**os.environ, session.EXISTING: kubeconfig}
    return subprocess.run([*PYTEST, TESTS, *arguments], cwd=PROJECT, env=env, check=False).returncode


def _run_on_own_node(arguments: list[str]) -> int:
    require_packages()
    with own_node() as cluster:
        env = {**os.environ, session.EXISTING: str(cluster.kubeconfig), session.OWN_NODE: str(cluster.folder)}
        # Inside the cluster's network: Services and pods are reached as they are from a pod.
        command = [*cluster.inside, *PYTEST, TESTS, *arguments]
        return subprocess.run(command, cwd=PROJECT, env=env, check=False).returncode


@contextmanager
def own_node() -> Iterator[Cluster]:
    """Start a cluster with a node that has the project's images; afterwards only its logs are left."""
    imagebuild.write_archive(ARCHIVE, OWN_IMAGES)
    folder = Path(tempfile.mkdtemp(prefix="bgtasks-e2e-"))
    with session.guarded(folder):
        try:
            cluster = lifecycle.up(folder, frozenset({"node", "metrics"}))
            node.load(ARCHIVE)
            yield cluster
        finally:
            _keep_logs(folder)


def require_packages() -> None:
    """Install what a node takes; anyone but root on Debian is told what to do instead."""
    missing = node.missing_packages({**node.NEEDED, **ALSO_NEEDED})
    if os.geteuid() != 0 or (missing and not shutil.which("apt-get")):
        raise SetupError("a node of our own needs root on Debian: be that, or set KUBECONFIG to a cluster (make kind)")
    if missing:
        print(f"installing {' '.join(missing)}", flush=True)
        run("apt-get", "update", "-q")
        run("apt-get", "install", "-qy", "--no-install-recommends", *missing)


def _keep_logs(folder: Path) -> None:
    """Copy what the processes and the pods said, for whoever asks why a test failed."""
    shutil.rmtree(LOGS, ignore_errors=True)
    for name in ("logs", "pod-logs"):
        if (folder / name).exists():
            shutil.copytree(folder / name, LOGS / name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
