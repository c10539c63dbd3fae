"""Operators as processes, and the namespace that they look after, seen through kubectl. For the tests beside this."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.testbed.session import ControlPlane

DEADLINE_S = 40.0
"""Far above anything expected; a wait that takes so long has failed."""
IMAGE = "registry.example/worker:1"
TASK = """
apiVersion: background-tasks.dev/v1alpha1
kind: BackgroundTask
metadata: {name: %(name)s}
spec:
  task: kg_decay
  schedule: {every: 5m}
  poolRef: {name: %(pool)s}
"""
POOL = """
apiVersion: background-tasks.dev/v1alpha1
kind: WorkerPool
metadata: {name: %(name)s}
spec: %(spec)s
"""


def wait_for(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Return the condition's value once it is true; fail with `what` after the deadline."""
    end = time.perf_counter() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.perf_counter() > end:
            raise AssertionError(f"not within {deadline_s:g} s: {what}; last seen: {value!r}")
        time.sleep(0.1)


class Place:
    """One namespace of a control plane."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self._control_plane = control_plane
        self.namespace = namespace

    @property
    def kubeconfig(self) -> Path:
        """Of whoever may do everything."""
        return self._control_plane.kubeconfig

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl here."""
        return self._control_plane.kubectl("-n", self.namespace, *args, stdin=stdin, check=check)

    def task(self, name: str, pool: str = "default") -> None:
        """Apply a task."""
        self.kubectl("apply", "-f", "-", stdin=TASK % {"name": name, "pool": pool})

    def pool(self, name: str, **spec: Any) -> None:
        """Apply a pool."""
        self.kubectl("apply", "-f", "-", stdin=POOL % {"name": name, "spec": json.dumps(spec)})

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """Read an object; None: it does not exist."""
        told = self.kubectl("get", kind, name, "--ignore-not-found", "-o", "json")
        return json.loads(told) if told.strip() else None

    def all(self, kinds: str, *options: str) -> list[dict[str, Any]]:
        """Read all objects of some kinds."""
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", kinds, "-o", "json", *options))["items"]
        return items

    def condition(self, kind: str, name: str, wanted: str) -> dict[str, Any]:
        """Read one condition; empty where it is not told."""
        conditions = ((self.get(kind, name) or {}).get("status") or {}).get("conditions") or []
        return next((one for one in conditions if one["type"] == wanted), {})

    def deployment(self, pool: str) -> dict[str, Any]:
        """Wait for a pool's Deployment."""
        made: dict[str, Any] = wait_for(lambda: self.get("deployment", f"{pool}-workers"), f"a Deployment of {pool}")
        return made

    def replicas(self, pool: str) -> int | None:
        """Read how many workers a pool's Deployment wants."""
        found = self.get("deployment", f"{pool}-workers")
        return found["spec"]["replicas"] if found else None


class Operator:
    """One operator process, for some namespaces."""

    def __init__(self, place: Place, folder: Path, name: str, env: Mapping[str, str]) -> None:
        self._log = folder / f"{name}.log"
        own = {
            "KUBECONFIG": str(place.kubeconfig),
            "BGTASKS_OPERATOR_IMAGE": IMAGE,
            "BGTASKS_OPERATOR_NAMESPACE": place.namespace,
            "BGTASKS_OPERATOR_WATCH_NAMESPACES": place.namespace,
            "BGTASKS_OPERATOR_POD_NAME": name,
            "BGTASKS_OPERATOR_PORT": "0",
            "BGTASKS_LOG_FORMAT": "json",
        }
        with self._log.open("w") as log:
            command = [sys.executable, "-W", "error", "-m", "background_tasks_operator"]
            self.process = subprocess.Popen(command, env={**os.environ, **own, **env}, stderr=log, stdout=log)

    def log(self) -> list[dict[str, Any]]:
        """Return what it logged."""
        return [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]

    def text(self) -> str:
        """Return its whole output."""
        return self._log.read_text()

    def ask(self, path: str) -> tuple[int, str]:
        """Ask a probe; 0 while nobody answers."""
        url = next((line["probes"] for line in self.log() if line["event"] == "started"), None)
        if url is None:
            assert self.process.poll() is None, self.text()
            return 0, ""
        try:
            port = url.rpartition(":")[2]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels; `name` may be a regular expression of labels, too."""
        lines = re.findall(rf"^bgtasks_operator_{name}(?:{{[^}}]*}})? (\S+)$", self.ask("/metrics")[1], re.MULTILINE)
        return sum(map(float, lines))

    def writes(self) -> float:
        """Return how many writes it asked for."""
        return self.metric(r'requests_total{[^}]*verb="(?:apply|create|delete)"[^}]*}')

    def leads(self) -> bool:
        """Say whether it leads."""
        return self.metric("leader") == 1

    def is_settled(self) -> bool:
        """Say whether it reconciles and has nothing left to do."""
        reconciling = any(line["event"] == "reconciling" for line in self.log())
        return reconciling and self.metric("queue_depth") == 0

    def send(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM, deadline_s: float = DEADLINE_S) -> int:
        """Send a signal and return the exit code."""
        self.send(number)
        return self.process.wait(deadline_s)

    def kill(self) -> None:
        """Make sure that it is gone."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
