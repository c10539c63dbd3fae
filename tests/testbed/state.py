"""One cluster: its folder, its processes, and the file that lets a later command find them.

Not here: which processes there are; each part (control plane, node, add-ons) spawns its own.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.testbed import binaries
from tests.testbed.shell import ProcessId, SetupError, kill, run, wait_for

NETNS = "testbed"
NODE = "node-1"
KUBECTL_SECONDS = 60.0
"""Far above anything seen: an API server that takes so long hangs."""
POD_CIDR, SERVICE_CIDR, DNS_SERVICE = "10.244.0.0/24", "10.96.0.0/16", "10.96.0.10"


@dataclass(frozen=True)
class Process:
    """How one process was started and who it is now; enough to start it again."""

    command: list[str]
    env: dict[str, str]
    id: ProcessId


@dataclass
class Cluster:
    """The processes and files of one cluster; `state.json` in its folder tells them to a later command."""

    folder: Path
    node: bool = False
    foreign: list[str] = field(default_factory=list)
    """Pod networks that were there before, so not ours to remove."""
    processes: dict[str, Process] = field(default_factory=dict)
    children: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    """Those of the processes that this very command started: a parent has to reap them."""

    @property
    def address(self) -> str:
        """Where the API server is reached."""
        return "10.243.0.1" if self.node else "127.0.0.1"

    @property
    def inside(self) -> list[str]:
        """The prefix that enters the cluster's network. `ip netns exec` would remount /sys and hide the cgroups."""
        return ["nsenter", f"--net=/run/netns/{NETNS}"] if self.node else []

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.folder / "admin.kubeconfig"

    @property
    def audit_log(self) -> Path:
        """Where the API server writes down each request, a line of JSON each, where that was asked for."""
        return self.folder / "logs" / "audit.log"

    def save(self) -> None:
        """Write the state so that no reader ever sees half of it."""
        state = {
            "node": self.node,
            "foreign": self.foreign,
            "processes": {name: asdict(process) for name, process in self.processes.items()},
        }
        draft = self.folder / "state.json.new"
        draft.write_text(json.dumps(state))
        draft.replace(self.folder / "state.json")

    @classmethod
    def load(cls, folder: Path) -> "Cluster":
        """Read the cluster of a folder; raise where there is none."""
        try:
            state = json.loads((folder / "state.json").read_text())
        except FileNotFoundError as missing:
            raise SetupError(f"there is no cluster in {folder}: start one by `up`") from missing
        processes = {
            name: Process(entry["command"], entry["env"], ProcessId(**entry["id"]))
            for name, entry in state["processes"].items()
        }
        return cls(folder, state["node"], state["foreign"], processes)

    def spawn(self, name: str, *command: str, env: Mapping[str, str] | None = None) -> None:
        """Start a process that outlives this command; its words go to `logs/NAME.log`."""
        with (self.folder / "logs" / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                [*self.inside, *command],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **(env or {})},
            )
        self.children[name] = child
        self.processes[name] = Process(list(command), dict(env or {}), ProcessId.of(child.pid))
        self.save()

    def halt(self, name: str) -> None:
        """Kill one process and keep its place, so that `resume` can start it again."""
        kill([self.processes[name].id])
        self.reap()

    def resume(self, name: str) -> None:
        """Start a halted process again with the same words: same ports, same data."""
        process = self.processes[name]
        if process.id.alive():
            raise SetupError(f"{name} runs already: stop it first")
        self.spawn(name, *process.command, env=process.env)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send one process a signal."""
        self.processes[name].id.send(number)

    def reap(self) -> None:
        """Take the exit codes of ended children, as a parent has to."""
        for name, child in self.children.items():
            if not self.processes[name].id.alive():
                child.wait()

    def wait_for_ready(self) -> None:
        """Return once the API server says that it is ready."""
        self.wait_for("kube-apiserver", lambda: self.answers("get", "--raw", "/readyz") == "ok")

    def wait_for(self, what: str, ready: Callable[[], object]) -> None:
        """Return once `ready()` is true; a process that ended meanwhile is told at once, with its last words."""

        def still_waiting() -> object:
            for name, process in self.processes.items():
                if not process.id.alive():
                    raise SetupError(f"{name} ended while {what} was awaited: {self.last_words(name)}")
            return ready()

        wait_for(what, still_waiting)

    def last_words(self, name: str) -> str:
        """Return the last line that a process logged."""
        lines = (self.folder / "logs" / f"{name}.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def answers(self, *arguments: str) -> str:
        """Run kubectl where a refusal is an answer too: nothing."""
        try:
            return self.kubectl(*arguments)
        except SetupError:
            return ""

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as the administrator and return what it printed."""
        command = [*self.inside, binaries.component("kubectl"), *arguments]
        return run(*command, stdin=stdin, env={"KUBECONFIG": str(self.kubeconfig)}, seconds=KUBECTL_SECONDS)
