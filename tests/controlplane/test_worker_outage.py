"""An API server that goes away and comes back: workers live on, act for nothing they cannot show, and catch up."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controlplane.workers import Pool, served, wait_for
from tests.testbed.session import ControlPlane
from tests.testbed.shell import free_port

pytestmark = pytest.mark.process
OUTAGE_RUNS = 160
"""Of the task that runs every 200 ms on each worker: 32 seconds."""


@pytest.fixture
def pool(own_control_plane: ControlPlane, tmp_path: Path) -> Iterator[Pool]:
    """Give a pool on a control plane that a test may stop."""
    name = f"n{tmp_path.name[-8:].replace('_', '-').strip('-')}"
    own_control_plane.kubectl("create", "namespace", name)
    yield from served(own_control_plane, name, tmp_path)


def test_an_outage_stops_singletons_with_their_leases_and_nothing_else(pool: Pool) -> None:
    """What needs no slot goes on; afterwards all goes on by itself, and what is shown is what happened."""
    first, second = pool.ready(count=2)
    pool.apply("alone", schedule={"every": "500ms"})
    pool.apply("everywhere", runPolicy="EveryWorker")
    wait_for(lambda: pool.runs("alone") and pool.status("alone").get("lastRun"), "it runs and is shown")
    wait_for(lambda: pool.runs("everywhere"), "the other one runs")

    pool.control_plane.api_server.stop()
    before = len(pool.runs("everywhere"))
    wait_for(lambda: len(pool.runs("everywhere")) > before + 2 * OUTAGE_RUNS, "what needs no slot goes on")
    halted = pool.runs("alone")
    assert [worker.probe("/livez")[0] for worker in (first, second)] == [200, 200]
    pool.control_plane.api_server.start()

    wait_for(lambda: len(pool.runs("alone")) > len(halted) + 3, "the singleton goes on")
    runs = pool.runs("alone")
    pause = runs[len(halted)]["fire"] - runs[len(halted) - 1]["fire"]
    assert pause > 20, "it ran while nobody could show to be its holder"
    epochs = [run["epoch"] for run in runs]
    assert epochs == sorted(epochs)
    member = wait_for(lambda: pool.holders()[pool.status("alone")["slot"]], "its slot is held")
    wait_for(lambda: pool.status("alone")["worker"] == member, "its status is caught up")
    wait_for(lambda: pool.status("alone")["lastRun"]["scheduledFor"] > "2", "its runs are shown")
    assert [worker.end() for worker in (first, second)] == [0, 0]
    assert pool.status("alone")["ledger"]["past"]["fired_at"] == pytest.approx(pool.runs("alone")[-1]["fire"], abs=1e-3)


def test_an_outage_shorter_than_the_lease_stops_nothing(pool: Pool) -> None:
    """Runs go on; their ends are written when the server is back."""
    (worker,) = pool.ready(spec={"lease": {"duration": "60s", "renewDeadline": "50s", "retryPeriod": "500ms"}})
    pool.apply("a")
    wait_for(lambda: len(pool.runs("a")) > 3, "it runs")
    pool.control_plane.api_server.stop()
    count = len(pool.runs("a"))
    wait_for(lambda: len(pool.runs("a")) > count + 20, "it goes on")
    pool.control_plane.api_server.start()
    wait_for(lambda: len(pool.runs("a")) > count + 30, "it goes on still")
    fires = [round(run["fire"] * 5) for run in pool.runs("a")]
    assert fires == list(range(fires[0], fires[0] + len(fires)))
    assert worker.end() == 0
    assert pool.status("a")["ledger"]["past"]["fired_at"] == pytest.approx(pool.runs("a")[-1]["fire"], abs=1e-3)


def test_a_worker_that_starts_while_the_server_is_away_waits_for_it(pool: Pool) -> None:
    """It lives and is not ready, and needs no restart."""
    pool.control_plane.api_server.stop()
    port = str(free_port())
    worker = pool.start(BGTASKS_PORT=port)
    worker.url = f"http://127.0.0.1:{port}"
    wait_for(lambda: worker.probe("/livez")[0] == 200, "it lives")
    wait_for(lambda: worker.said("the API server does not say whether the pool is up; the worker waits"), "it says so")
    assert worker.probe("/readyz")[0] == 503
    pool.control_plane.api_server.start()
    wait_for(lambda: worker.probe("/readyz")[0] == 200, "it is ready")
    pool.apply("a")
    wait_for(lambda: pool.runs("a"), "it runs tasks")
    assert worker.end() == 0


def test_a_worker_that_waits_for_an_api_server_may_be_ended(pool: Pool) -> None:
    """In a pod it is process 1, which a signal that nobody handles does not end: its pod would hang in Terminating."""
    pool.control_plane.api_server.stop()
    worker = pool.start()
    wait_for(lambda: "the worker waits" in worker.log.read_text(), "it waits")
    assert worker.end() == 0
    pool.control_plane.api_server.start()
