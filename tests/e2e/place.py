"""A namespace of a test's own: pools that may run the recording task, and what runs told.

Not here: what is promised of them.
"""

from typing import Any

from tests.e2e import recorder
from tests.e2e.kubectl import Body, Kubectl, until
from tests.e2e.recorder import FOLDER, MODULE, PODS, Recorder, Run
from tests.testbed.imagebuild import NAME as IMAGE

API = "background-tasks.dev/v1alpha1"
EACH_SECOND: dict[str, Any] = {
    "schedule": {"every": "1s"},
    "missed": {"policy": "All", "limit": 1000},
    "overlap": "Allow",  # a machine that is busy starting pods may take a second for a run
}
"""Of tasks whose every fire time counts."""
LATE_S = 10
"""A run that began before another may be told after it."""


class Place:
    """One namespace."""

    def __init__(self, kube: Kubectl, told: Recorder) -> None:
        self.kube = kube
        self._recorder = told
        source = (PODS / f"{MODULE}.py").read_text()
        data = {"metadata": {"name": MODULE}, "data": {f"{MODULE}.py": source}}
        self.kube.apply({"apiVersion": "v1", "kind": "ConfigMap", **data})

    def pool(self, name: str = "default", **spec: Any) -> None:
        """Declare a pool whose workers have the recording task, and return when all its slots are held."""
        template = {
            "env": [{"name": "PYTHONPATH", "value": FOLDER}],
            "volumes": [{"name": MODULE, "configMap": {"name": MODULE}}],
            "volumeMounts": [{"name": MODULE, "mountPath": FOLDER}],
        }
        declared = {"image": IMAGE, "slots": 4, "drainTimeout": "10s", "template": template, **spec}
        declared["taskModules"] = [MODULE, *declared.get("taskModules", ())]
        self.kube.apply({"apiVersion": API, "kind": "WorkerPool", "metadata": {"name": name}, "spec": declared})
        self.wait_for_pool(name, workers=declared.get("replicas", 1))

    def wait_for_pool(self, name: str = "default", *, workers: int, seconds: float = 60) -> Body:
        """Return a pool's status once so many workers are ready, no others are left, and each slot is held."""

        def settled(shown: Any) -> bool:
            slots = shown.status.get("slots", {})
            counts = shown.status.get("replicas"), shown.status.get("readyReplicas")
            # Of slots in a Redis only their number is told.
            return counts == (workers, workers) and 0 < slots.get("total", 0) == slots.get("held", slots["total"])

        told = until(
            f"{workers} workers of the pool {name}",
            lambda: self.kube.shown("workerpool", name),
            lambda shown: settled(shown) and shown.is_now("Available", "True") and shown.is_now("Progressing", "False"),
            seconds,
        )
        return told.status

    def task(self, name: str, **spec: Any) -> None:
        """Declare a task that records its runs."""
        seconds = spec.pop("seconds", 0)
        params = {"url": self._recorder.url, "seconds": seconds}
        annotations = spec.pop("annotations", {})
        declared = {"task": "record", "params": params, **spec}
        metadata = {"name": name, "annotations": annotations}
        self.kube.apply({"apiVersion": API, "kind": "BackgroundTask", "metadata": metadata, "spec": declared})

    def runs(self, task: str) -> list[Run]:
        """Return the runs of a task, as they told them."""
        return self._recorder.runs(self.kube.namespace, task)

    def wait_for_run(self, task: str, *, after: float = 0, seconds: float = 60) -> Run:
        """Return the first run that began after an instant."""
        return self._recorder.wait_for_run(self.kube.namespace, task, after=after, seconds=seconds)

    def assert_served(self, task: str, since: float = 0) -> list[Run]:
        """Each second from the first run (since an instant) to the last was served, and never by two at one time."""

        def runs() -> list[Run]:
            return [run for run in self.runs(task) if run.fire >= since]

        until(f"a run of {task}", runs, bool)
        until(f"every second of {task}", lambda: recorder.missed(runs()), lambda missed: not missed, LATE_S)
        found = runs()
        assert recorder.overlapping(found) == [], task
        return found

    def assert_exact(self, task: str, since: float = 0) -> None:
        """Each second from the first run (since an instant) to the last was served once."""
        assert recorder.doubled(self.assert_served(task, since)) == [], task
