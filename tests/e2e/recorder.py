"""What runs told the recorder: a pod of the tests that outlives every worker and every outage of the API server."""

import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.kubectl import LOOK_S, Kubectl, until
from tests.testbed.imagebuild import NAME as IMAGE

PODS = Path(__file__).parent / "pods"
NAME = "recorder"
PORT = 8000
MODULE = "recording"
"""Of the task `record`, which workers import."""
FOLDER = "/opt/recording"
RESTRICTED: dict[str, Any] = {
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}
UNPRIVILEGED: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


@dataclass(frozen=True, order=True)
class Run:
    """One run, as its coroutine told it."""

    begun: float
    fire: float
    pod: str
    fence: str
    ended: float | None
    """None: its end was not told."""


class Recorder:
    """The pod, in a namespace of its own."""

    def __init__(self, kube: Kubectl) -> None:
        self._kube = kube
        self.url = ""
        self._lines: list[dict[str, Any]] = []
        self._read_at = float("-inf")

    def start(self) -> None:
        """Make the pod and return when it listens."""
        container = {
            "name": NAME,
            "image": IMAGE,
            "command": ["python3", "-c", (PODS / "recorder.py").read_text()],
            "securityContext": RESTRICTED,
            "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        }
        spec = {"securityContext": UNPRIVILEGED, "containers": [container], "terminationGracePeriodSeconds": 0}
        self._kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME}, "spec": spec})
        self._kube("wait", "--for=condition=Ready", f"pod/{NAME}", "--timeout=60s")
        # Its address, not a name: it must be reached while the API server, and with it every name, may be away.
        self.url = f"http://{self._kube.read('pod', NAME)['status']['podIP']}:{PORT}"

    def runs(self, namespace: str, task: str) -> list[Run]:
        """Return the runs of a task in the order of their beginnings."""
        mine = [line for line in self._told() if line["task"] == f"{namespace}/{task}"]
        ends = {line["run"]: line["at"] for line in mine if line["what"] == "ended"}
        return sorted(
            Run(line["at"], line["fire"], line["pod"], line["fence"], ends.get(line["run"]))
            for line in mine
            if line["what"] == "begun"
        )

    def _told(self) -> list[dict[str, Any]]:
        """Return all lines so far; those who ask at one time share one reading."""
        if time.monotonic() - self._read_at > LOOK_S:
            told = self._kube("logs", NAME).splitlines()
            assert not self._lines or json.loads(told[0]) == self._lines[0], "the recorder's log was cut off"
            self._lines += [json.loads(line) for line in told[len(self._lines) :]]
            self._read_at = time.monotonic()
        return self._lines

    def wait_for_run(self, namespace: str, task: str, *, after: float = 0, seconds: float = 60) -> Run:
        """Wait for a run that began after an instant, and return the first."""
        found = until(
            f"a run of {namespace}/{task} after {after}",
            lambda: [run for run in self.runs(namespace, task) if run.begun > after],
            bool,
            seconds,
        )
        return found[0]


def doubled(runs: list[Run]) -> list[float]:
    """Return the fire times that were served more than once."""
    return sorted(fire for fire, count in Counter(run.fire for run in runs).items() if count > 1)


def missed(runs: list[Run]) -> list[int]:
    """Return the seconds between the first and the last that were served that were not."""
    served = {round(run.fire) for run in runs}
    return [second for second in range(min(served), max(served)) if second not in served]


def overlapping(runs: list[Run]) -> list[tuple[Run, Run]]:
    """Return each pair of runs that went on at one time on two workers; one that told no end counts as a moment."""
    return [
        (one, other)
        for index, one in enumerate(runs)
        for other in runs[index + 1 :]
        if other.pod != one.pod and other.begun < (one.ended or one.begun)
    ]
