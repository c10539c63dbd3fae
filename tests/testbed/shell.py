"""Processes, waits and ports: what every part of the testbed asks of the machine.

A process is known by its id and the tick at which it started, never by its name: an id that the machine has given away
since is left alone.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

READY_SECONDS = 90.0
"""Far above anything seen: a component that takes so long is broken."""


class SetupError(Exception):
    """The machine cannot run the testbed; the message says in a sentence what is missing and what to do."""


@dataclass(frozen=True)
class ProcessId:
    """One process that we started, told apart from a later one with the same number."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "ProcessId":
        """Identify the process that has this number now."""
        return cls(pid, _started(pid) or 0)

    def alive(self) -> bool:
        """Tell whether it still runs; one that ended and waits for its parent does not."""
        return _started(self.pid) == self.started

    def send(self, number: signal.Signals) -> None:
        """Signal its group (each of our processes leads one), or do nothing where it has ended."""
        if self.alive():
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                return  # it ended between the two lines


def _started(pid: int) -> int | None:
    """Read the tick at which a process started; None where there is none or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def stop(processes: Sequence[ProcessId], patience: float = 5.0) -> None:
    """Ask all to end at once, wait, and kill those that did not."""
    for process in processes:
        process.send(signal.SIGTERM)
    if not _gone(processes, patience):
        kill(processes)


def kill(processes: Sequence[ProcessId]) -> None:
    """End processes that get no say, and return when they are gone."""
    for process in processes:
        process.send(signal.SIGKILL)
    if not _gone(processes, READY_SECONDS):
        left = ", ".join(str(process.pid) for process in processes if process.alive())
        raise SetupError(f"processes {left} do not end, even killed: look at them with ps")


def _gone(processes: Sequence[ProcessId], patience: float) -> bool:
    deadline = time.monotonic() + patience
    while any(process.alive() for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def wait_for(what: str, ready: Callable[[], object], seconds: float = READY_SECONDS) -> None:
    """Return once `ready()` is true; raise after the deadline, naming what was waited for."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise SetupError(f"{what} was not ready within {seconds:.0f} s: see its log")
        time.sleep(0.1)


def run(
    *command: str,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float | None = None,
) -> str:
    """Run a command to its end and return what it printed; a failure tells the command and its own words."""
    told = " ".join(command)
    try:
        done = subprocess.run(
            command,
            text=True,
            capture_output=True,
            input=stdin,
            cwd=cwd,
            check=False,
            env={**os.environ, **(env or {})},
            timeout=seconds,
        )
    except FileNotFoundError as missing:
        raise SetupError(f"{command[0]} is not installed: install it, or add its folder to PATH") from missing
    except subprocess.TimeoutExpired as slow:
        raise SetupError(f"{told}: no answer within {seconds:g} s") from slow
    if done.returncode:
        raise SetupError(f"{told}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def free_port() -> int:
    """Return a port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
