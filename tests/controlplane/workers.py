"""Worker processes of a pool in a cluster, started as pods would be and watched from outside."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.testbed.session import ControlPlane

DEADLINE_S = 60.0
"""Far above anything expected; a wait that takes so long has failed."""
LEASE = {"duration": "3s", "renewDeadline": "2s", "retryPeriod": "500ms"}
NOTED = '''
"""A task that leaves a line for each of its runs."""

import asyncio
import json
import time
from pathlib import Path

from background_tasks import TaskParams, background_task


class Note(TaskParams):
    """Where, and how long a run takes."""

    path: str
    seconds: float = 0.0
    word: str = ""


@background_task(interval=60, params=Note)
async def note(ctx):
    """Leave a line, take a while."""
    epoch = None if ctx.fence is None else ctx.fence.epoch
    line = {"fire": ctx.scheduled_for, "epoch": epoch, "word": ctx.params.word, "at": time.time()}
    with Path(ctx.params.path).open("a") as file:
        file.write(json.dumps(line) + "\\n")
    await asyncio.sleep(ctx.params.seconds)
'''


def wait_for[T](condition: Callable[[], T], what: str, deadline_s: float = DEADLINE_S) -> T:
    """Return the condition's value once it is true; fail with `what` after the deadline."""
    end = time.perf_counter() + deadline_s
    while time.perf_counter() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {deadline_s:g} s: {what}")


@dataclass
class Worker:
    """One worker process."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str = ""
    """Where its probes are, if that is known before it says so."""

    def said(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of an event."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]

    @property
    def member(self) -> str:
        """The member that it is."""
        return str(self.said("started")[0]["member"])

    def probe(self, path: str) -> tuple[int, str]:
        """Ask its probes; 0: they do not answer."""
        started = self.said("started")
        url = self.url or (started[0]["probes"] if started else "")
        try:
            with urllib.request.urlopen(f"{url}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()
        except (OSError, ValueError):
            return 0, ""

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return how it ended."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)


class Pool:
    """A pool's tasks in a namespace, and worker processes that serve them as pods would."""

    def __init__(self, control_plane: ControlPlane, namespace: str, folder: Path) -> None:
        self.control_plane, self.namespace, self.folder = control_plane, namespace, folder
        self.workers: list[Worker] = []
        (folder / "noted.py").write_text(NOTED)

    def start(self, *, kubeconfig: Path | None = None, spec: Mapping[str, Any] | None = None, **env: str) -> Worker:
        """Start a worker; its log lines are kept."""
        number = len(self.workers) + 1
        whole = {"slots": 4, "taskModules": ["noted"], "lease": LEASE, "drainTimeout": "10s", **(spec or {})}
        own = {
            "KUBECONFIG": str(kubeconfig or self.control_plane.kubeconfig),
            "BGTASKS_POOL": "default",
            "BGTASKS_NAMESPACE": self.namespace,
            "BGTASKS_POD_NAME": f"worker-{number}",
            "BGTASKS_POOL_SPEC": json.dumps(whole),
            "BGTASKS_HOST": "127.0.0.1",
            "BGTASKS_PORT": "0",
        }
        log = self.folder / f"worker-{number}.log"
        command = [sys.executable, "-m", "background_tasks.cli", "worker", "--cluster"]
        with log.open("wb") as file:
            process = subprocess.Popen(
                command, cwd=self.folder, env={**os.environ, **own, **env}, stdout=file, stderr=subprocess.STDOUT
            )
        self.workers.append(Worker(process, log))
        return self.workers[-1]

    def ready(self, *, count: int = 1, **options: Any) -> list[Worker]:
        """Start workers and return them once they are ready and all slots are held."""
        started = [self.start(**options) for _ in range(count)]
        for worker in started:
            wait_for(lambda one=worker: one.probe("/readyz")[0] == 200, "the worker is ready")  # type: ignore[misc]
        wait_for(lambda: "" not in self.holders().values(), "all slots are held")
        return started

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        """Do as a person does."""
        return self.control_plane.kubectl("-n", self.namespace, *args, stdin=stdin)

    def apply(self, name: str, *, task: str = "note", **spec: Any) -> None:
        """Declare a task, or declare it anew."""
        params = {} if "params" in spec or task != "note" else {"params": {"path": str(self.path(name))}}
        body = {
            "apiVersion": "background-tasks.dev/v1alpha1",
            "kind": "BackgroundTask",
            "metadata": {"name": name},
            "spec": {"task": task, "schedule": {"every": "200ms"}, **params, **spec},
        }
        self.kubectl("apply", "-f", "-", stdin=json.dumps(body))

    def path(self, name: str) -> Path:
        """Where runs of a task leave their lines."""
        return self.folder / f"{name}.runs"

    def runs(self, name: str) -> list[dict[str, Any]]:
        """Return the runs of a task so far, in the order of their starts."""
        path = self.path(name)
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def status(self, name: str) -> dict[str, Any]:
        """Return the status of a task."""
        found: dict[str, Any] = json.loads(self.kubectl("get", "bgt", name, "-o", "json")).get("status", {})
        return found

    def condition(self, name: str, kind: str = "Ready") -> tuple[str, str, str]:
        """Return status, reason and message of a condition."""
        for one in self.status(name).get("conditions", ()):
            if one["type"] == kind:
                return one["status"], one["reason"], one["message"]
        return "", "", ""

    def holders(self) -> dict[int, str]:
        """Return slot -> member, as the slot table says; empty without a holder."""
        table = json.loads(
            self.kubectl("get", "configmap", "default-slots", "-o", "json", "--ignore-not-found") or "{}"
        )
        rows = json.loads(table.get("data", {}).get("slots", '["0:"]'))
        return {slot: row.partition(":")[2] for slot, row in enumerate(rows)}


def served(control_plane: ControlPlane, namespace: str, folder: Path) -> Iterator[Pool]:
    """Give a pool; end its workers afterwards."""
    world = Pool(control_plane, namespace, folder)
    yield world
    for worker in world.workers:
        worker.process.kill()
        worker.process.wait()
