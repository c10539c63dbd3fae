"""The node that `make e2e` started, for tests that break it: its API server, its containers, stores beside it.

Not here: anything that a cluster of somebody else's would do as well; there these tests are skipped.
"""

import os
import shutil
import socket
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from background_tasks.local.embedded import binaries, die_with_parent
from tests.e2e.kubectl import Body, until
from tests.testbed import node
from tests.testbed.session import OWN_NODE, ApiServer
from tests.testbed.shell import run
from tests.testbed.state import Cluster

REDIS_PORT = 6379


class OwnNode:
    """One node, and the control plane beside it."""

    def __init__(self, folder: Path) -> None:
        self._cluster = Cluster.load(folder)

    @staticmethod
    @cache
    def given() -> "OwnNode | None":
        """Return the node of this session, where it is ours; one for all, as it may start the API server anew."""
        folder = os.environ.get(OWN_NODE)
        return OwnNode(Path(folder)) if folder else None

    @property
    def address(self) -> str:
        """Where pods reach what runs on the node."""
        return self._cluster.address

    @property
    def api_server(self) -> ApiServer:
        """The API server, ours to stop."""
        return ApiServer(self._cluster)

    def refresh_names(self) -> None:
        """Serve the names of Services that are new; a node with a DNS of its own does it by itself."""
        node.refresh_names(self._cluster)

    def kill_container(self, pod: Body) -> None:
        """End a pod's only container by SIGKILL: no drain, no goodbye."""
        container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
        run(*node.CTR, "tasks", "kill", "--signal", "SIGKILL", container)


class Stores:
    """A Redis with FalkorDB as a process on the node; its data survives a kill."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._folder = Path(tempfile.mkdtemp(prefix="bgtasks-e2e-stores-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://{address}:{REDIS_PORT}"

    def start(self) -> None:
        """Start it and return when it answers."""
        server, module = binaries()
        words = {
            "--port": REDIS_PORT,
            "--bind": self._address,
            "--protected-mode": "no",
            "--dir": self._folder,
            "--logfile": self._folder / "redis.log",
            "--save": "",
            "--appendonly": "yes",
            "--appendfsync": "always",  # what was answered is there after a kill
            "--loadmodule": module,
        }
        command = [str(server), *(str(word) for pair in words.items() for word in pair)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=die_with_parent)
        until(f"the Redis of {self._folder}", self._answers, bool, seconds=15)

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def remove(self) -> None:
        """End it and its data."""
        self.kill()
        shutil.rmtree(self._folder)

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self._address, REDIS_PORT), timeout=1) as wire:
                wire.sendall(b"PING\r\n")
                return wire.recv(7) == b"+PONG\r\n"
        except OSError:
            return False
