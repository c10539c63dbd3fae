"""Bring a cluster up in the right order, and take all of it away again."""

import shutil
import sys
import time
from pathlib import Path

from tests.testbed import addons, controlplane, leftovers, node
from tests.testbed.shell import free_port, kill
from tests.testbed.state import Cluster

PARTS = ("audit", "controllers", "node", "metrics", "keda")
"""What may be asked for beside etcd and the API server."""


def up(folder: Path, parts: frozenset[str] = frozenset()) -> Cluster:
    """Start a cluster in a folder (one that stood there before is stopped), with the PARTS that are asked for.

    One that does not come up leaves its logs and nothing that runs.
    """
    down(folder)
    (folder / "logs").mkdir(parents=True)
    cluster = Cluster(folder, node="node" in parts, foreign=leftovers.found())
    if cluster.node:
        node.lay_network()
    cluster.save()  # from here on the network is ours to remove
    try:
        _start(cluster, parts)
    except BaseException:
        halt_cluster(cluster)
        raise
    return cluster


def _start(cluster: Cluster, parts: frozenset[str]) -> None:
    told = _Stopwatch()
    ports = (6443, 2379) if cluster.node else (free_port(), free_port())
    controlplane.start(cluster, *ports, audit="audit" in parts)
    told.say("control plane")
    if parts & {"controllers", "node"}:
        controlplane.start_controllers(cluster)
        told.say("controllers")
    if cluster.node:
        node.start(cluster)
        told.say("node")
    if "metrics" in parts:
        addons.start_metrics(cluster)
    if "keda" in parts:
        addons.start_keda(cluster)
        told.say("KEDA")


def down(folder: Path) -> None:
    """Stop the cluster of a folder, whoever started it, and remove its files."""
    halt(folder)
    shutil.rmtree(folder, ignore_errors=True)


def halt(folder: Path) -> None:
    """Stop the cluster of a folder and keep its files: its logs tell what was wrong."""
    if (folder / "state.json").exists():
        halt_cluster(Cluster.load(folder))


def halt_cluster(cluster: Cluster) -> None:
    """Stop the cluster's own processes, then its pods' mounts and networks.

    They are killed: nothing reads their data again, and an API server that says goodbye takes seconds.
    """
    if cluster.node:
        node.stop_pods(cluster)
    kill([process.id for process in cluster.processes.values()])
    cluster.reap()
    if cluster.node:
        node.clean(cluster)
    (cluster.folder / "state.json").unlink()


class _Stopwatch:
    """Tells, a line each, when a part was ready."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def say(self, part: str) -> None:
        """Print that a part is ready now."""
        print(f"{part} ready after {time.monotonic() - self._begun:.1f} s", file=sys.stderr, flush=True)
