"""Real worker processes under real faults: killed, stopped, paused past their lease, without their store.

Every act of a worker is a fenced write into one stream of Redis, whose order is the order of effects.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from background_tasks.domain.model import RunRecord
from background_tasks.errors import Unavailable
from background_tasks.local.embedded import EmbeddedServer
from background_tasks.services.redis import connect
from background_tasks.sinks.redis import RedisLedger

pytestmark = pytest.mark.process
SCRIPT = Path(__file__).parent / "slot_worker.py"
SHORT = (1.5, 1.0, 0.3)
SHIPPED = (12.0, 8.0, 3.0)
SLOTS = 4


class Pool:
    """One Redis, its workers, and what they did in order of effect."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.server = server
        self.redis = connect(server.url)
        self.ledger = RedisLedger(self.redis, "p")
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.acts: list[RunRecord] = []
        self.place: str | None = None
        self.cluster: tuple[str, ...] = ()
        """Kubeconfig and namespace, where leases and slots do not lie in the Redis."""

    def spawn(self, name: str, timings: tuple[float, float, float] = SHORT) -> None:
        """Start a worker process."""
        arguments = [self.server.url, "p", name, str(SLOTS), *map(str, timings), *self.cluster]
        self.workers[name] = subprocess.Popen([sys.executable, str(SCRIPT), *arguments])

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.workers[name].pid, number)

    async def look(self) -> None:
        """Read what was done since the last look."""
        try:
            acts, self.place = await self.ledger.runs_after(self.place)
        except Unavailable:
            return
        self.acts += acts

    async def eventually(self, what: Callable[[], bool], message: str, seconds: float = 60.0) -> float:
        """Look until a condition holds; return how long it took. Fails with the message."""
        began = time.perf_counter()
        while not what():
            assert time.perf_counter() - began < seconds, f"after {seconds:g} s: {message}"
            await asyncio.sleep(0.02)
            await self.look()
        return time.perf_counter() - began

    def serving(self, since: int = 0) -> dict[str, str]:
        """Say who acted last for each slot, among the acts from number `since` on."""
        return {act.task: act.worker for act in self.acts[since:]}

    async def until_served_by(self, *names: str, since: int = 0, seconds: float = 60.0) -> float:
        """Wait until all slots are served by these workers, and each of them serves one."""

        def served() -> bool:
            serving = self.serving(since)
            return len(serving) == SLOTS and set(serving.values()) == set(names)

        return await self.eventually(served, f"the slots are served by {self.serving(since)}, not {names}", seconds)

    def doubled(self) -> list[str]:
        """Name acts of a fence that came after one of a newer fence, and fences that two workers used."""
        faults, newest, users = [], {}, {}  # type: ignore[var-annotated]
        for act in self.acts:
            assert act.fence is not None
            realm, epoch = newest.get(act.task, (act.fence.realm, 0))
            if act.fence.realm == realm and act.fence.epoch < epoch:
                faults.append(f"{act.run_id} acted under {act.fence} after epoch {epoch}")
            newest[act.task] = act.fence.realm, act.fence.epoch
            if users.setdefault(str(act.fence), act.worker) != act.worker:
                faults.append(f"{act.run_id} acted under the fence of {users[str(act.fence)]}")
        return faults

    async def refused(self, name: str) -> int:
        """Count the acts of a worker that came too late and changed nothing."""
        return int(await self.redis.get(f"refused:{name}") or 0)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A Redis of the test's own that keeps its data; not started yet."""
    made = EmbeddedServer(tmp_path_factory.mktemp("redis"), graph=False)
    yield made
    made.stop()


@pytest.fixture
async def pool(server: EmbeddedServer) -> AsyncIterator[Pool]:
    """A pool without workers, over a running Redis."""
    made = Pool(server.start())
    yield made
    for worker in made.workers.values():
        worker.kill()
        worker.wait()
    await made.redis.aclose()


@pytest.fixture(params=["redis", "kubernetes"])
def any_pool(request: pytest.FixtureRequest, pool: Pool) -> Pool:
    """A pool without workers, over each backend."""
    if request.param == "kubernetes":
        control_plane = request.getfixturevalue("control_plane")
        pool.cluster = str(control_plane.kubeconfig), request.getfixturevalue("namespace")
    return pool


async def test_three_workers_serve_all_slots_and_share_them(any_pool: Pool) -> None:
    """Each serves some; no fence is used by two, none after a newer one."""
    for name in "abc":
        any_pool.spawn(name)
    await any_pool.until_served_by("a", "b", "c")
    assert any_pool.doubled() == []


async def test_a_killed_worker_is_followed_in_less_than_15_s(any_pool: Pool) -> None:
    """SIGKILL, with the timings that are shipped: all its slots are served by the other one."""
    any_pool.spawn("a", SHIPPED)
    any_pool.spawn("b", SHIPPED)
    await any_pool.until_served_by("a", "b")
    any_pool.send("a", signal.SIGKILL)
    any_pool.workers["a"].wait()
    await any_pool.look()
    seconds = await any_pool.until_served_by("b", since=len(any_pool.acts), seconds=15)
    print(f"handover after SIGKILL: {seconds:.2f} s")  # noqa: T201  # shown with -rP
    assert seconds < 15
    assert any_pool.doubled() == []


async def test_a_terminated_worker_is_followed_in_less_than_a_second(any_pool: Pool) -> None:
    """SIGTERM, with the timings that are shipped: it ends with 0, and its slots are served at once."""
    any_pool.spawn("a", SHIPPED)
    any_pool.spawn("b", SHIPPED)
    await any_pool.until_served_by("a", "b")
    began = time.perf_counter()
    any_pool.send("a", signal.SIGTERM)
    await any_pool.eventually(lambda: set(any_pool.serving().values()) == {"b"}, "b does not serve all slots")
    seconds = time.perf_counter() - began
    print(f"handover after SIGTERM: {seconds:.2f} s")  # noqa: T201  # shown with -rP
    assert seconds < 1
    assert (await asyncio.to_thread(any_pool.workers["a"].wait, 5), any_pool.doubled()) == (0, [])


async def test_a_worker_paused_past_its_lease_wakes_up_fenced(any_pool: Pool) -> None:
    """SIGSTOP, takeover, SIGCONT: it acts no more under what it held, lives on, and takes its share anew."""
    any_pool.spawn("a")
    await any_pool.until_served_by("a")
    any_pool.spawn("b")
    await any_pool.until_served_by("a", "b")
    any_pool.send("a", signal.SIGSTOP)
    await any_pool.look()
    paused = len(any_pool.acts)
    await any_pool.until_served_by("b", since=paused)
    old = {str(act.fence) for act in any_pool.acts if act.worker == "a"}
    await any_pool.look()
    woken = len(any_pool.acts)
    any_pool.send("a", signal.SIGCONT)
    await any_pool.until_served_by("a", "b", since=woken)
    assert {str(act.fence) for act in any_pool.acts[woken:] if act.worker == "a"}.isdisjoint(old)
    assert (any_pool.doubled(), any_pool.workers["a"].poll()) == ([], None)
    assert await any_pool.refused("a") <= SLOTS, "it went on acting; only what was under way may have been refused"


async def test_a_short_pause_loses_nothing(any_pool: Pool) -> None:
    """SIGSTOP for less than the renew deadline: the same fences go on."""
    any_pool.spawn("a")
    await any_pool.until_served_by("a")
    any_pool.send("a", signal.SIGSTOP)
    stopped = time.perf_counter()
    await any_pool.eventually(lambda: time.perf_counter() - stopped > 0.4, "time stands still")
    any_pool.send("a", signal.SIGCONT)
    woken = len(any_pool.acts)
    await any_pool.until_served_by("a", since=woken)
    assert {act.fence.epoch for act in any_pool.acts if act.fence} == {1}


async def test_workers_wait_for_a_redis_that_comes_later(server: EmbeddedServer) -> None:
    """Nothing acts without it, nobody ends, and all begins by itself."""
    pool = Pool(server)
    try:
        pool.spawn("a")
        pool.spawn("b")
        began = time.perf_counter()
        await pool.eventually(lambda: time.perf_counter() - began > 1.5, "time stands still")
        assert [worker.poll() for worker in pool.workers.values()] == [None, None]
        server.start()
        await pool.until_served_by("a", "b")
        assert pool.doubled() == []
    finally:
        for worker in pool.workers.values():
            worker.kill()
            worker.wait()
        await pool.redis.aclose()


@pytest.mark.parametrize("away", [0.0, 2.5], ids=["a moment", "longer than the lease"])
async def test_workers_survive_a_redis_that_dies_and_comes_back(pool: Pool, away: float) -> None:
    """What it may have forgotten is not trusted: a new realm begins, and everybody serves again."""
    pool.spawn("a")
    pool.spawn("b")
    await pool.until_served_by("a", "b")
    (realm,) = {act.fence.realm for act in pool.acts if act.fence}
    pool.server.kill()
    died = time.perf_counter()
    await pool.eventually(lambda: time.perf_counter() - died >= away, "time stands still")
    pool.server.start()
    await pool.eventually(lambda: {act.fence.realm for act in pool.acts if act.fence} != {realm}, "no new realm")
    await pool.look()
    await pool.until_served_by("a", "b", since=len(pool.acts))
    assert (pool.doubled(), [worker.poll() for worker in pool.workers.values()]) == ([], [None, None])
