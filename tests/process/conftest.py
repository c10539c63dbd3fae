"""Worlds of real processes: one `bgtasks up` per test, watched from outside."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis

from background_tasks.local.embedded import EmbeddedServer

DEADLINE_S = 60.0
"""Far above anything expected; a wait that takes so long has failed."""
POOL = """
apiVersion: background-tasks.dev/v1alpha1
kind: WorkerPool
metadata: {name: default}
spec:
  slots: 8
  drainTimeout: 10s
  taskModules: [background_tasks.examples]
  lease: {duration: 3s, renewDeadline: 2s, retryPeriod: 500ms}
"""
TASK = """
apiVersion: background-tasks.dev/v1alpha1
kind: BackgroundTask
metadata: {name: %(name)s}
spec:
  task: %(task)s
  schedule: {%(schedule)s}
"""


def wait_for[T](condition: Callable[[], T], what: str, deadline_s: float = DEADLINE_S) -> T:
    """Return the condition's value once it is true; fail with `what` after the deadline."""
    end = time.perf_counter() + deadline_s
    while time.perf_counter() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {deadline_s:g} s: {what}")


@dataclass
class Up:
    """A running `bgtasks up`, the folder it reads and the Redis it shares."""

    folder: Path
    server: EmbeddedServer
    process: subprocess.Popen[str] | None = None

    def write(self, name: str, *, task: str = "example_greet", schedule: str = "every: 200ms", more: str = "") -> Path:
        """Declare one task in a file of its own."""
        path = self.folder / f"{name}.yaml"
        path.write_text(TASK % {"name": name, "task": task, "schedule": schedule} + more)
        return path

    def start(self, *options: str, workers: int = 2) -> "Up":
        """Start it over this world's Redis, quietly."""
        command = [sys.executable, "-m", "background_tasks.cli", "up", "-f", str(self.folder), "-o", "json"]
        command += ["--redis-url", self.server.url, "--workers", str(workers), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return self

    @property
    def running(self) -> subprocess.Popen[str]:
        """The process."""
        assert self.process is not None
        return self.process

    def workers(self) -> list[psutil.Process]:
        """Return the live worker processes."""
        children = psutil.Process(self.running.pid).children()
        return [child for child in children if "worker" in child.cmdline()]

    def holders(self) -> dict[str, int]:
        """Return member -> process id for those who hold slots, by the order of their places."""
        with Redis.from_url(self.server.url, decode_responses=True) as redis:
            rows = {k: v for k, v in redis.hgetall("bgt:default:slots").items() if k.isdecimal()}
        held = {row.split(":", 1)[1] for row in rows.values()} - {""}
        pids = {_member(child): child.pid for child in self.workers()}
        return {member: pid for member in held for place, pid in pids.items() if member.startswith(f"{place}.")}

    def runs(self, name: str = "") -> list[dict[str, Any]]:
        """Return the runs that ended so far, oldest first."""
        with Redis.from_url(self.server.url, decode_responses=True) as redis:
            entries: Any = redis.xrange("bgt:default:runs")
        ended = [json.loads(fields["data"]) for _, fields in entries if fields["kind"] == "end"]
        return [run for run in ended if name in run["task"]]

    def finish(self) -> dict[str, Any]:
        """Stop it if it still runs, and return its summary; it must end well."""
        self.running.send_signal(signal.SIGTERM)
        return self.summary()

    def summary(self) -> dict[str, Any]:
        """Wait for its own end and return the summary."""
        out, errors = self.running.communicate(timeout=DEADLINE_S + 30)
        assert self.running.returncode == 0, errors
        answer: dict[str, Any] = json.loads(out.splitlines()[-1])
        return answer


def _member(process: psutil.Process) -> str:
    """Return what `--member` says on a worker's command line."""
    words = process.cmdline()
    return words[words.index("--member") + 1]


@pytest.fixture(name="wait_for")
def _wait_for() -> Callable[..., Any]:
    """Hand out the one way of waiting: for a condition, with a deadline."""
    return wait_for


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """Give a world with a Redis of its own and a pool whose leases are short; nothing of it survives the test."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "pool.yaml").write_text(POOL)
    with EmbeddedServer(tmp_path / "redis") as server:
        world = Up(folder, server)
        yield world
        if world.process is not None:
            _end(world.process)


def _end(process: subprocess.Popen[str]) -> None:
    family = [*psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
    process.kill()
    process.communicate()
    for child in family:
        if child.is_running():
            os.kill(child.pid, signal.SIGKILL)
