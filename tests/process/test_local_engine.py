"""`bgtasks up` as a person meets it: real processes, a real Redis, real signals."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

if TYPE_CHECKING:
    from tests.process.conftest import Up

pytestmark = pytest.mark.process
type WaitFor = Callable[..., Any]


def test_a_session_ends_by_itself_with_one_summary(up: "Up") -> None:
    """After `--for` one JSON object tells tasks, runs, workers, lateness, the first run, and that nothing doubled."""
    for name in ("a", "b", "c"):
        up.write(name)
    up.write("everywhere", more="  runPolicy: EveryWorker\n")

    told = up.start("--for", "3s", workers=3).summary()

    assert (told["tasks"], told["workers"], told["doubled"], told["never_ran"]) == (4, 3, 0, [])
    assert told["runs"]["succeeded"] >= 40
    assert told["runs"]["failed"] == 0
    assert 0 < told["first_run_s"] < told["lateness_p99_ms"] + 60
    assert psutil.pid_exists(up.server.pid)


def test_an_edit_is_armed_and_a_deletion_disarms(up: "Up", wait_for: WaitFor) -> None:
    """Files are watched: a new document runs, a changed one runs as changed, a removed one stops; neighbours go on."""
    up.write("neighbour")
    path = up.write("edited", schedule="every: 1h")
    up.start()
    wait_for(lambda: up.runs("neighbour"), "the neighbour runs")
    assert up.runs("edited") == []

    up.write("edited", schedule="every: 100ms")
    wait_for(lambda: len(up.runs("edited")) > 2, "the edit is armed")
    path.unlink()
    up.write("marker", schedule="every: 100ms")
    wait_for(lambda: up.runs("marker"), "the deletion's neighbour is armed")
    before, neighbours = len(up.runs("edited")), len(up.runs("neighbour"))
    wait_for(lambda: len(up.runs("neighbour")) > neighbours + 5, "a second passes for the neighbour")

    assert len(up.runs("edited")) <= before + 1
    assert up.finish()["doubled"] == 0


def test_a_bad_document_is_refused_and_its_last_good_version_runs_on(up: "Up", wait_for: WaitFor) -> None:
    """One sentence names file, line, field and fix; the task that was there goes on, and so do its neighbours."""
    path = up.write("task")
    up.start()
    wait_for(lambda: len(up.holders()) == 2 and up.runs("task"), "both workers know the good version")

    path.write_text(path.read_text().replace("every: 200ms", "evry: 200ms"))
    before = len(up.runs("task"))
    wait_for(lambda: len(up.runs("task")) > before + 3, "the good version runs on")
    (refusal,) = up.finish()["refused"]

    assert "task.yaml:7" in refusal
    assert "evry" in refusal
    assert "every" in refusal


def test_a_mended_document_is_no_longer_refused(up: "Up", wait_for: WaitFor) -> None:
    """What is refused is what is wrong now: a mended document runs and leaves the list."""
    path = up.write("task")
    good = path.read_text()
    path.write_text(good.replace("every: 200ms", "evry: 200ms"))
    up.write("neighbour")
    up.start()
    wait_for(lambda: up.runs("neighbour"), "the neighbour runs")

    path.write_text(good)
    wait_for(lambda: up.runs("task"), "the mended task runs")

    assert up.finish()["refused"] == []


def test_a_killed_worker_is_replaced_and_its_singletons_move(up: "Up", wait_for: WaitFor) -> None:
    """SIGKILL: the survivor runs every task, a new process takes the place, and no fire time is served twice."""
    names = [f"task-{n}" for n in range(6)]
    for name in names:
        up.write(name)
    up.start()
    holders = wait_for(lambda: (h := up.holders()) and len(h) == 2 and h, "both workers hold slots")
    wait_for(lambda: all(up.runs(name) for name in names), "every task runs")

    victim, pid = sorted(holders.items())[0]
    os.kill(pid, signal.SIGKILL)
    moved = {run["task"] for run in up.runs() if run["worker"] == victim}
    assert moved
    wait_for(lambda: {r["task"] for r in up.runs() if r["worker"] != victim} >= moved, "its tasks run elsewhere")
    wait_for(lambda: len(up.workers()) == 2 and pid not in [w.pid for w in up.workers()], "the place is filled again")

    told = up.finish()
    assert (told["doubled"], told["worker_restarts"]) == (0, 1)


def test_a_stopped_worker_hands_over_and_exits_well(up: "Up", wait_for: WaitFor) -> None:
    """SIGTERM to one worker: runs end, slots move, the process exits 0, nothing is doubled."""
    up.write("long", task="example_work", schedule="every: 300ms", more="  params: {seconds: 0.2}\n")
    up.write("short")
    up.start()
    holders = wait_for(lambda: (h := up.holders()) and len(h) == 2 and h, "both workers hold slots")
    member = wait_for(lambda: next((r["worker"] for r in up.runs("long")), None), "the long task runs")

    os.kill(holders[member], signal.SIGTERM)
    wait_for(lambda: any(r["worker"] != member for r in up.runs("long")), "it runs elsewhere")

    assert [r["outcome"] for r in up.runs("long") if r["outcome"] != "Succeeded"] == []
    assert up.finish()["doubled"] == 0


def test_a_worker_that_was_paused_beyond_its_lease_acts_no_more(up: "Up", wait_for: WaitFor) -> None:
    """SIGSTOP until another worker serves its tasks, then SIGCONT: the woken one is fenced, nothing is doubled."""
    names = [f"task-{n}" for n in range(6)]
    for name in names:
        up.write(name)
    up.start()
    holders = wait_for(lambda: (h := up.holders()) and len(h) == 2 and h, "both workers hold slots")
    wait_for(lambda: all(up.runs(name) for name in names), "every task runs")
    victim, pid = sorted(holders.items())[0]

    os.kill(pid, signal.SIGSTOP)
    moved = {run["task"] for run in up.runs() if run["worker"] == victim}
    wait_for(lambda: {r["task"] for r in up.runs() if r["worker"] != victim} >= moved, "its tasks run elsewhere")
    os.kill(pid, signal.SIGCONT)
    seen = len(up.runs())
    wait_for(lambda: len(up.runs()) > seen + 20, "the pool goes on")

    assert up.finish()["doubled"] == 0


def test_redis_may_go_away_and_come_back(up: "Up", wait_for: WaitFor) -> None:
    """Redis killed and started again in the middle: workers live on, tasks run again, nothing is doubled."""
    up.write("task")
    up.start()
    wait_for(lambda: len(up.runs("task")) > 3, "the task runs")
    pids = [worker.pid for worker in up.workers()]

    up.server.kill()
    up.server.start()
    before = len(up.runs("task"))
    wait_for(lambda: len(up.runs("task")) > before + 3, "the task runs again")

    assert [worker.pid for worker in up.workers()] == pids
    assert up.finish()["doubled"] == 0


def test_redis_may_be_away_at_the_start(up: "Up", wait_for: WaitFor) -> None:
    """Workers that start without a Redis wait for it, and run when it is there."""
    up.write("task")
    up.server.kill()
    up.start()
    wait_for(lambda: len(up.workers()) == 2, "workers are started")

    up.server.start()
    wait_for(lambda: up.runs("task"), "the task runs")

    assert up.finish()["runs"]["failed"] == 0


def test_a_second_signal_cancels_what_still_runs(up: "Up", wait_for: WaitFor) -> None:
    """SIGTERM drains; a second one ends a run that would take an hour."""
    up.write("endless", task="example_work", schedule="interval: 1s", more="  params: {seconds: 3600}\n")
    up.start()
    wait_for(lambda: up.holders(), "a worker holds slots")
    workers = up.workers()

    up.running.send_signal(signal.SIGTERM)
    wait_for(lambda: up.running.poll() is None and up.holders() is not None, "it drains")
    up.running.send_signal(signal.SIGTERM)

    assert up.summary()["doubled"] == 0
    assert [worker for worker in workers if worker.is_running()] == []


def test_nothing_is_left_when_the_parent_is_killed(up: "Up", wait_for: WaitFor) -> None:
    """SIGKILL to `bgtasks up` takes its workers along."""
    up.write("task")
    up.start()
    workers = wait_for(lambda: (w := up.workers()) and len(w) == 2 and w, "workers are started")

    up.running.kill()

    wait_for(lambda: not any(w.is_running() and w.status() != "zombie" for w in workers), "the workers are gone")


def test_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    """Without a task the session runs, counts nothing, and ends well."""
    command = [sys.executable, "-m", "background_tasks.cli", "up", "-f", str(tmp_path), "--for", "100ms", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["tasks"], told["first_run_s"], told["workers"]) == (0, None, 2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["up", "-f", "/nowhere"], "/nowhere"),
        (["up", "-f", ".", "--for", "soon"], "--for is 'soon': write a duration such as 30s or 5m"),
        (["up", "-f", ".", "--redis-url", "http://x"], "redis://"),
    ],
)
def test_a_wrong_option_ends_in_one_sentence(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    """Exit code 2 and a sentence; no traceback."""
    command = [sys.executable, "-m", "background_tasks.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
