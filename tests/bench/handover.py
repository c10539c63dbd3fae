"""How long singletons stand still when their worker stops or dies: real processes, Redis leases, default timings.

Sixteen tasks due every 100 ms on two workers of `bgtasks up`. A handover lasts from the signal to the moment at which
every task of the worker that got it has run elsewhere.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from redis import Redis

from background_tasks.local.embedded import EmbeddedServer
from tests.bench.figure import Figure, at_most

TASKS = 16
GRACEFUL_TRIES = 5
CRASH_TRIES = 2
DEADLINE_S = 60.0
DOCUMENT = """---
apiVersion: background-tasks.dev/v1alpha1
kind: BackgroundTask
metadata: {name: task-%d}
spec: {task: example_greet, schedule: {every: 100ms}}
"""


def figures() -> Iterator[Figure]:
    """Yield the graceful handover (SIGTERM, median of five) and the one after a crash (SIGKILL, the worse of two)."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer() as server:
        Path(folder, "tasks.yaml").write_text("".join(DOCUMENT % n for n in range(TASKS)))
        pool = _Pool(Path(folder), server.url)
        try:
            graceful = [pool.handover(signal.SIGTERM) for _ in range(GRACEFUL_TRIES)]
            yield at_most("handover_graceful_s", statistics.median(graceful), "s", 1.0)
            crashed = [pool.handover(signal.SIGKILL) for _ in range(CRASH_TRIES)]
            yield at_most("handover_crash_s", max(crashed), "s", 15.0)
        finally:
            doubled = pool.stop()["doubled"]
        yield at_most("handover_doubled", doubled, "runs", 0)


class _Pool:
    """`bgtasks up` with two workers, seen through its Redis."""

    def __init__(self, folder: Path, url: str) -> None:
        command = [sys.executable, "-m", "background_tasks.cli", "up", "-f", str(folder), "-o", "json"]
        command += ["--redis-url", url, "--module", "background_tasks.examples"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._redis = Redis.from_url(url, decode_responses=True)

    def handover(self, number: signal.Signals) -> float:
        """Send a signal to a worker that holds slots; return how long its tasks stood still."""
        self._until(self._is_settled, "both workers hold half of the slots and run their tasks")
        victim = min(self._holders())
        moved = {run["task"] for run in self._runs(time.time() - 1) if run["worker"] == victim}
        pid = self._pid(victim)
        began = time.time()
        os.kill(pid, number)
        self._until(lambda: self._elsewhere(victim, began).keys() >= moved, "every moved task has run elsewhere")
        return max(self._elsewhere(victim, began)[task] for task in moved) - began

    def _is_settled(self) -> bool:
        rows, holders = self._rows(), self._holders()
        halved = len(holders) == 2 and all(rows.count(holder) == TASKS // 2 for holder in holders)
        served = {(run["task"], run["worker"]) for run in self._runs(time.time() - 1)}
        return halved and len(served) == TASKS and {worker for _, worker in served} == holders

    def stop(self) -> dict[str, Any]:
        """Stop the pool and return its summary."""
        self._process.send_signal(signal.SIGTERM)
        out, _ = self._process.communicate(timeout=DEADLINE_S)
        self._redis.close()
        answer: dict[str, Any] = json.loads(out.splitlines()[-1])
        return answer

    def _elsewhere(self, victim: str, since: float) -> dict[str, float]:
        """Return task -> start of its first run on another worker since an instant."""
        first: dict[str, float] = {}
        for run in self._runs(since - 1):
            if run["worker"] != victim and run["started_at"] >= since:
                first.setdefault(run["task"], run["started_at"])
        return first

    def _runs(self, since: float) -> list[dict[str, Any]]:
        entries: Any = self._redis.xrange("bgt:default:runs", min=f"{round(since * 1000)}")
        return [json.loads(fields["data"]) for _, fields in entries if fields["kind"] == "end"]

    def _rows(self) -> list[str]:
        """Return the members that hold a slot, one entry per slot."""
        found: Any = self._redis.hgetall("bgt:default:slots")
        return [row.split(":", 1)[1] for slot, row in found.items() if slot.isdecimal() and row.split(":", 1)[1]]

    def _holders(self) -> set[str]:
        return set(self._rows())

    def _pid(self, member: str) -> int:
        """Find the worker process whose `--member` begins a member's name."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            words = path.read_text().split("\0") if path.exists() else []
            if "--member" in words and member.startswith(words[words.index("--member") + 1] + "."):
                return int(path.parent.name)
        raise RuntimeError(f"no process for {member}")

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        end = time.perf_counter() + DEADLINE_S
        while not condition():
            if time.perf_counter() > end:
                raise RuntimeError(f"not within {DEADLINE_S:g} s: {what}")
            time.sleep(0.01)
