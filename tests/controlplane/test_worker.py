"""Worker processes against a real API server: what people apply is armed, runs, is shown, moves and ends."""

import json
import signal
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from background_tasks.local.embedded import EmbeddedServer
from tests.controlplane.workers import Pool, served, wait_for
from tests.testbed.session import ControlPlane

pytestmark = pytest.mark.process
SOON_S = 5.0
"""The promise is two seconds, which a benchmark measures; a test shares its machine."""
LONG_LEASE = {"lease": {"duration": "30s", "renewDeadline": "20s", "retryPeriod": "500ms"}}
"""So long that a handover within seconds was no expiry."""


@pytest.fixture
def pool(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Pool]:
    """Give a pool in a namespace of its own; its workers end with the test."""
    yield from served(control_plane, namespace, tmp_path)


def test_a_task_that_is_applied_runs_and_is_shown(pool: Pool) -> None:
    """Soon, and `kubectl get` tells who runs it, when it ran last and when it runs next."""
    (worker,) = pool.ready()
    pool.apply("a", schedule={"every": "1h"})
    pool.kubectl("annotate", "bgt", "a", "background-tasks.dev/run-now=1")
    wait_for(lambda: pool.runs("a"), "it runs", SOON_S)
    wait_for(lambda: pool.status("a").get("lastRun"), "its run is shown", SOON_S)
    header, row = pool.kubectl("get", "bgt", "a").splitlines()
    assert header.split() == ["NAME", "TASK", "SCHEDULE", "READY", "REASON", "LAST", "NEXT", "WORKER", "AGE"]
    assert row.split()[:6] == ["a", "note", "every", "1h", "True", "Armed"]
    assert worker.member in row
    status = pool.status("a")
    assert (status["lastRun"]["outcome"], status["runs"]["succeeded"]) == ("Succeeded", 1)
    assert status["nextRunTime"].endswith(":00:00Z")


def test_an_edit_holds_from_the_next_fire_time_on(pool: Pool) -> None:
    """No restart: schedule, params, suspension, pause and their ends."""
    pool.ready()
    pool.apply("a", schedule={"every": "1h"})
    wait_for(lambda: pool.condition("a")[:2] == ("True", "Armed"), "it is armed", SOON_S)
    pool.apply("a", schedule={"every": "200ms"}, params={"path": str(pool.path("a")), "word": "new"})
    wait_for(lambda: len(pool.runs("a")) > 3, "it runs by its new schedule", SOON_S)
    assert {run["word"] for run in pool.runs("a")} == {"new"}
    pool.kubectl("patch", "bgt", "a", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    wait_for(lambda: pool.condition("a")[:2] == ("False", "Suspended"), "its suspension is shown", SOON_S)
    count = len(pool.runs("a"))
    pool.kubectl("patch", "bgt", "a", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    wait_for(lambda: len(pool.runs("a")) > count + 3, "it runs again", SOON_S)
    pool.kubectl(
        "annotate", "bgt", "a", "background-tasks.dev/paused-until=forever", "background-tasks.dev/paused-by=me"
    )
    wait_for(lambda: pool.condition("a")[1] == "Paused", "its pause is shown", SOON_S)
    assert "paused by me until someone resumes it" in pool.condition("a")[2]
    pool.kubectl("annotate", "bgt", "a", "background-tasks.dev/paused-until-")
    wait_for(lambda: pool.condition("a")[1] in ("Armed", "Running"), "it goes on", SOON_S)


def test_a_task_that_is_deleted_is_disarmed_and_its_namesake_begins_anew(pool: Pool) -> None:
    """Nothing of the old one's past holds the new one back, and nothing is left of the old one in the worker."""
    (worker,) = pool.ready()
    pool.apply("a", schedule={"interval": "1h"})
    wait_for(lambda: pool.runs("a"), "it runs", SOON_S)
    pool.kubectl("delete", "bgt", "a")
    wait_for(lambda: json.loads(worker.probe("/debug/tasks")[1])["tasks"] == [], "it is disarmed", SOON_S)
    pool.apply("a", schedule={"interval": "1h"})
    wait_for(lambda: len(pool.runs("a")) == 2, "its namesake runs at once: it never ran", SOON_S)
    wait_for(lambda: pool.status("a").get("runs", {}).get("succeeded") == 1, "its own run is shown", SOON_S)


@pytest.mark.parametrize(
    ("spec", "reason", "told"),
    [
        ({"task": "nott"}, "UnknownTask", "did you mean note?"),
        ({"params": {"path": 7}}, "InvalidParams", "path"),
        ({"task": "scheduled_prompt_cleanup"}, "MissingService", "no service 'redis'"),
        ({"task": "unknown_module:work"}, "UnknownTask", "taskModules"),
    ],
    ids=["unknown", "params", "service", "module"],
)
def test_a_task_that_cannot_run_says_what_to_do(pool: Pool, spec: dict[str, Any], reason: str, told: str) -> None:
    """In its own status; its neighbour runs."""
    pool.ready()
    pool.apply("bad", **spec)
    pool.apply("good")
    wait_for(lambda: pool.condition("bad")[1], "it is judged", SOON_S)
    verdict, found, message = pool.condition("bad")
    assert (verdict, found) == ("False", reason)
    assert told in message
    wait_for(lambda: pool.runs("good"), "its neighbour runs", SOON_S)


def test_a_worker_that_stops_hands_over_without_losing_or_doubling_a_fire_time(pool: Pool) -> None:
    """Each fire time of a grid is served once, by the one or by the other, and soon."""
    names = [f"t{number}" for number in range(8)]
    first, second = pool.ready(count=2, spec=LONG_LEASE)
    wait_for(lambda: set(pool.holders().values()) == {first.member, second.member}, "both hold slots")
    for name in names:
        pool.apply(name, missed={"policy": "All", "limit": 100})
    wait_for(lambda: all(len(pool.runs(name)) > 10 for name in names), "all run")
    assert first.end() == 0
    wait_for(lambda: set(pool.holders().values()) == {second.member}, "the other one holds all slots", SOON_S)
    counts = {name: len(pool.runs(name)) for name in names}
    wait_for(lambda: all(len(pool.runs(name)) > counts[name] + 10 for name in names), "all go on")
    for name in names:
        fires = [round(run["fire"] * 5) for run in pool.runs(name)]
        assert fires == list(range(fires[0], fires[0] + len(fires))), name
    assert first.said("stopped")


def test_a_worker_that_is_killed_leaves_its_tasks_to_the_other(pool: Pool) -> None:
    """After its lease; epochs only rise, and what is promised at most once is not done twice."""
    first, second = pool.ready(count=2)
    wait_for(lambda: set(pool.holders().values()) == {first.member, second.member}, "both hold slots")
    often, once = [f"o{number}" for number in range(8)], [f"c{number}" for number in range(4)]
    for name in often:
        pool.apply(name)
    for name in once:
        pool.apply(name, guarantee="AtMostOnce", schedule={"every": "2s"})
    wait_for(lambda: all(len(pool.runs(name)) > 1 for name in (*often, *once)), "all run")
    first.end(signal.SIGKILL)
    counts = {name: len(pool.runs(name)) for name in (*often, *once)}
    wait_for(lambda: all(len(pool.runs(name)) > counts[name] + 1 for name in counts), "all go on elsewhere")
    assert set(pool.holders().values()) == {second.member}
    for name in often:
        epochs = [run["epoch"] for run in pool.runs(name)]
        assert epochs == sorted(epochs), name
    for name in once:
        fires = Counter(run["fire"] for run in pool.runs(name))
        assert set(fires.values()) == {1}, name


def test_a_worker_that_was_stopped_in_its_tracks_writes_nothing_over_its_heir(pool: Pool) -> None:
    """It wakes up fenced: what it has still to say is refused, and it serves again only what it gains anew."""
    first, second = pool.ready(count=2)
    wait_for(lambda: set(pool.holders().values()) == {first.member, second.member}, "both hold slots")
    names = [f"t{number}" for number in range(8)]
    for name in names:
        pool.apply(name, schedule={"every": "500ms"})
    wait_for(lambda: all(pool.runs(name) for name in names), "all run")
    first.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: set(pool.holders().values()) == {second.member}, "the other one holds all slots")
    wait_for(lambda: all(pool.status(name)["worker"] == second.member for name in names), "all show their new worker")
    first.process.send_signal(signal.SIGCONT)
    wait_for(lambda: first.member in pool.holders().values(), "the woken one takes part again")
    wait_for(lambda: len(pool.runs("t0")) > 20, "all go on")
    for name in names:
        epochs = [run["epoch"] for run in pool.runs(name)]
        assert epochs == sorted(epochs), name


def test_a_task_that_runs_every_second_costs_hardly_any_write(pool: Pool) -> None:
    """What was written is counted by resource; statuses do not grow with runs."""
    (worker,) = pool.ready()
    pool.apply("a")
    wait_for(lambda: len(pool.runs("a")) > 40, "it runs")
    text = worker.probe("/metrics")[1]
    (line,) = [
        line for line in text.splitlines() if line.startswith("bgtasks_api_writes_total") and "kgroundta" in line
    ]
    assert 1 <= float(line.rpartition(" ")[2]) <= 3
    wait_for(lambda: worker.end() == 0, "it ends well")
    past = pool.status("a")["ledger"]["past"]
    assert past["fired_at"] == pytest.approx(max(run["fire"] for run in pool.runs("a")), abs=0.001)


def test_a_standby_is_ready_and_a_second_signal_hurries(pool: Pool) -> None:
    """One slot, two workers: the second waits, ready; a run that goes on holds the end up only until told twice."""
    spec = {"slots": 1, "drainTimeout": "10m"}
    first, standby = pool.ready(count=2, spec=spec)
    holder, other = (first, standby) if first.member in pool.holders().values() else (standby, first)
    assert other.probe("/readyz")[0] == 200
    pool.apply("long", schedule={"interval": "1h"}, params={"path": str(pool.path("long")), "seconds": 600})
    wait_for(lambda: pool.runs("long"), "it runs", SOON_S)
    holder.process.send_signal(signal.SIGTERM)
    wait_for(lambda: holder.probe("/readyz") == (503, "draining\n"), "it drains", SOON_S)
    assert holder.end() == 0
    wait_for(lambda: pool.holders()[0] == other.member, "the standby takes over", SOON_S)
    assert urllib.request.urlopen(f"{other.said('started')[0]['probes']}/livez", timeout=5).status == 200


@pytest.mark.parametrize("backend", ["Kubernetes", "Redis"])
def test_a_pool_with_a_redis_keeps_its_ledger_there(pool: Pool, embedded: EmbeddedServer, backend: str) -> None:
    """Under the namespace's own keys; the status has a copy at most. Leases lie where the pool says."""
    lease = {"backend": backend, "duration": "3s", "renewDeadline": "2s", "retryPeriod": "500ms"}
    worker = pool.start(spec={"lease": lease}, BGTASKS_REDIS_URL=embedded.url)
    wait_for(lambda: worker.probe("/readyz")[0] == 200, "the worker is ready")
    pool.apply("a")
    wait_for(lambda: pool.runs("a") and pool.status("a").get("lastRun"), "it runs and is shown")
    assert worker.end() == 0
    with Redis.from_url(embedded.url, decode_responses=True) as redis:
        keys = {key.rpartition(":")[2] for key in redis.keys(f"bgt:{pool.namespace}/default:*")}
        past = json.loads(redis.hvals(f"bgt:{pool.namespace}/default:past")[0])
    assert past["fired_at"] == pytest.approx(pool.runs("a")[-1]["fire"], abs=0.001)
    assert ("slots" in keys) == (backend == "Redis")
    assert pool.status("a")["ledger"]["copy"] is True


def test_a_pool_that_is_given_a_redis_and_loses_it_runs_nothing_twice(pool: Pool, embedded: EmbeddedServer) -> None:
    """What ran stays known to the next worker, wherever it looks: a long interval, a cooldown, an answered wish."""
    redis: dict[str, Any] = {"BGTASKS_REDIS_URL": embedded.url}
    (first,) = pool.ready()
    pool.apply("rare", schedule={"interval": "6h"})
    pool.apply("start", schedule={"onStart": {"cooldown": "6h"}})
    pool.apply("often", missed={"policy": "All", "limit": 1000})
    for name in ("rare", "start", "often"):
        wait_for(lambda name=name: pool.runs(name), f"{name} runs")  # type: ignore[misc]
    for env in (redis, {}, redis):
        (heir,) = pool.ready(**env)
        assert first.end() == 0
        wait_for(lambda heir=heir: set(pool.holders().values()) == {heir.member}, "it takes over")  # type: ignore[misc]
        before = len(pool.runs("often"))
        wait_for(lambda before=before: len(pool.runs("often")) > before + 5, "it serves")  # type: ignore[misc]
        first = heir
    fires = [run["fire"] for run in pool.runs("often")]
    assert (len(pool.runs("rare")), len(pool.runs("start")), len(fires) - len(set(fires))) == (1, 1, 0)


def test_a_pool_comes_up_once_however_many_workers_join_it(pool: Pool) -> None:
    """An `onStart` task is not run again by whoever takes its slot over."""
    first, _ = pool.ready(count=2)
    for number in range(6):
        pool.apply(f"s{number}", schedule={"onStart": {}})
    wait_for(lambda: all(pool.runs(f"s{number}") for number in range(6)), "each runs")
    assert first.end() == 0
    (third,) = pool.ready()
    wait_for(lambda: third.member in pool.holders().values(), "the newcomer holds slots")
    pool.apply("witness")
    wait_for(lambda: len(pool.runs("witness")) > 10, "the pool serves")
    assert [len(pool.runs(f"s{number}")) for number in range(6)] == [1] * 6
