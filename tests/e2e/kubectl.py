"""A cluster as a person with kubectl sees it, and waits for what it is to show.

Not here: what it should show.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.testbed.shell import SetupError, run

LOOK_S = 0.2
SHOWN = 4000
"""Characters of what was seen last, in a message."""

type Body = dict[str, Any]


def until[T](what: str, read: Callable[[], T], good: Callable[[T], object], seconds: float = 60) -> T:
    """Return what was read once it is good; after the deadline fail with what was seen last."""
    deadline = time.monotonic() + seconds
    while not good(seen := read()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:.0f} s; seen last: {str(seen)[:SHOWN]}")
        time.sleep(LOOK_S)
    return seen


@dataclass(frozen=True)
class Shown:
    """A resource with conditions, as the cluster has it."""

    body: Body

    @property
    def status(self) -> Body:
        """What programs tell of it."""
        found: Body = self.body.get("status") or {}
        return found

    def condition(self, kind: str) -> tuple[str, str, str]:
        """Return status, reason and message of a condition; three times nothing where there is none."""
        for one in self.status.get("conditions", ()):
            if one["type"] == kind:
                return one["status"], one.get("reason", ""), one.get("message", "")
        return "", "", ""

    def is_now(self, kind: str, status: str) -> bool:
        """Say whether a condition has a status that was found about the present spec."""
        observed = self.status.get("observedGeneration")
        return self.condition(kind)[0] == status and observed == self.body["metadata"]["generation"]

    @property
    def ready(self) -> bool:
        """Whether a task runs as declared now."""
        return self.is_now("Ready", "True")

    @property
    def runs(self) -> int:
        """Runs that reached their end."""
        return int(self.status.get("runs", {}).get("succeeded", 0))


class Kubectl:
    """Speaks to one cluster. Where nothing else is said, in one namespace."""

    def __init__(self, command: str, env: Mapping[str, str], namespace: str = "default") -> None:
        self._command = command
        self._env = env
        self.namespace = namespace

    def within(self, namespace: str) -> "Kubectl":
        """Return the same, in another namespace."""
        return Kubectl(self._command, self._env, namespace)

    def __call__(self, *words: str, stdin: str | None = None) -> str:
        """Run kubectl and return what it printed. Raises `SetupError` with its own words."""
        return run(self._command, "--namespace", self.namespace, *words, stdin=stdin, env=self._env)

    def refused(self, *words: str, stdin: str | None = None) -> str:
        """Run kubectl where it must fail, and return its words."""
        try:
            said = self(*words, stdin=stdin)
        except SetupError as failed:
            return str(failed)
        raise AssertionError(f"kubectl {' '.join(words)} was not refused: {said}")

    def apply(self, *bodies: Body) -> str:
        """Apply resources."""
        return self("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(bodies)}))

    def read(self, *words: str) -> Body:
        """Get something as JSON."""
        found: Body = json.loads(self("get", *words, "-o", "json"))
        return found

    def items(self, *words: str) -> list[Body]:
        """Get a list."""
        found: list[Body] = self.read(*words)["items"]
        return found

    def shown(self, kind: str, name: str) -> Shown:
        """Get a resource with conditions; where there is none, an empty one."""
        told = self("get", kind, name, "-o", "json", "--ignore-not-found")
        return Shown(json.loads(told) if told else {"metadata": {"generation": -1}})

    def task(self, name: str) -> Shown:
        """Get a task."""
        return self.shown("backgroundtask", name)

    def tasks(self) -> dict[str, Shown]:
        """Get all tasks by name."""
        return {body["metadata"]["name"]: Shown(body) for body in self.items("backgroundtasks")}

    def pods(self, pool: str) -> list[Body]:
        """Get the pods of a pool that are not on their way out."""
        found = self.items("pods", "-l", f"background-tasks.dev/pool={pool}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def ready_pods(self, pool: str) -> list[str]:
        """Name those of a pool's pods that are ready."""
        return [pod["metadata"]["name"] for pod in self.pods(pool) if is_ready(pod)]


def is_ready(pod: Body) -> bool:
    """Say whether a pod is ready."""
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ()))
