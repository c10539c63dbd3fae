"""TaskSupervisor over a real Redis: election, the check before destructive work, and what others see of the leader."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis

import background_tasks
from background_tasks.engine.membership import LeaseSettings
from background_tasks.errors import NotLeader
from background_tasks.leases.memory import MemoryLeases
from background_tasks.local.embedded import EmbeddedServer
from background_tasks.services.redis import connect
from background_tasks.worker.supervisor import LEADER_KEY, TaskSupervisor

pytestmark = pytest.mark.contract
SHORT = LeaseSettings(duration=1.5, renew_deadline=1.0, retry_period=0.3)
type Make = Callable[..., "Node"]


class Node:
    """One supervisor with one task, and what became of it."""

    def __init__(self, supervisor: TaskSupervisor) -> None:
        self.supervisor = supervisor
        self.starts = 0
        self.runs = 0
        supervisor.register_task("work", self.work)

    async def work(self) -> None:
        """Run until it is cancelled."""
        self.starts += 1
        self.runs += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.runs -= 1


@pytest.fixture
async def node(redis: Redis, prefix: str) -> AsyncIterator[Make]:
    """Make supervisors that elect a leader among themselves; they are shut down when the test ends."""
    nodes: list[Node] = []

    def make(name: str, client: Redis | None = None, **options: object) -> Node:
        env = {"SG_LEADER_KEY": f"{prefix}:leader"}
        made = TaskSupervisor(client or redis, name, settings=SHORT, env=env, die=pytest.fail, **options)  # type: ignore[arg-type]
        nodes.append(Node(made))
        return nodes[-1]

    yield make
    for made in nodes:
        await made.supervisor.shutdown()


async def eventually(what: Callable[[], bool], message: str, seconds: float = 5.0) -> float:
    """Wait for a condition; return how long it took. Fails with the message."""
    began = time.perf_counter()
    try:
        async with asyncio.timeout(seconds):
            while not what():  # noqa: ASYNC110  # the condition is in another thread's hands
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"after {seconds:g} s: {message}")
    return time.perf_counter() - began


async def renewed(redis: Redis, pattern: str) -> None:
    """Wait until a member has renewed its lease once more: it has joined, looked around, and waits."""
    leases: set[str] = set()
    async with asyncio.timeout(5):
        while len(leases) < 2:
            leases |= {str(await redis.get(key)) for key in await redis.keys(pattern)}
            await asyncio.sleep(0.01)


def test_it_is_a_public_name() -> None:
    """Importable from the package, as ever."""
    assert background_tasks.TaskSupervisor is TaskSupervisor


def test_the_leader_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`SG_LEADER_KEY`, or the original's default."""
    monkeypatch.delenv("SG_LEADER_KEY", raising=False)
    default = TaskSupervisor().leader_key
    monkeypatch.setenv("SG_LEADER_KEY", "mine")
    assert (default, TaskSupervisor().leader_key) == (LEADER_KEY, "mine")
    assert LEADER_KEY == "sg:leader:supervisor"


async def test_without_redis_it_leads_for_ever() -> None:
    """Positional arguments as in the original; the check passes; shutdown stops the task."""
    supervisor = TaskSupervisor(None, "me")
    node = Node(supervisor)
    await supervisor.start()
    await eventually(lambda: node.runs == 1, "the task does not run")
    await supervisor.verify_leadership_before_destructive()
    await supervisor.shutdown()
    assert (node.starts, node.runs) == (1, 0)


async def test_one_of_two_leads_and_shows_itself(node: Make, redis: Redis, prefix: str) -> None:
    """The key holds the leader's name; the other may do nothing destructive."""
    first, second = node("first"), node("second")
    await first.supervisor.start()
    await eventually(lambda: first.runs == 1, "the first one does not lead")
    await second.supervisor.start()
    await first.supervisor.verify_leadership_before_destructive()
    with pytest.raises(RuntimeError, match="this process is not the leader: nobody has been elected here yet"):
        await second.supervisor.verify_leadership_before_destructive()
    assert (await redis.get(f"{prefix}:leader"), second.starts) == ("first", 0)
    assert (first.supervisor.is_leader, second.supervisor.is_leader) == (True, False)


async def test_shutdown_hands_over_within_a_second(node: Make, redis: Redis, prefix: str) -> None:
    """The task has stopped before the other one starts it."""
    first, second = node("first"), node("second")
    await first.supervisor.start()
    await eventually(lambda: first.runs == 1, "the first one does not lead")
    await second.supervisor.start()
    await renewed(redis, f"{prefix}:leader:member:second.*")
    ended = time.perf_counter()
    await first.supervisor.shutdown()
    assert first.runs == 0
    await eventually(lambda: second.runs == 1, "the second one does not lead")
    assert time.perf_counter() - ended < 1
    assert await redis.get(f"{prefix}:leader") == "second"
    with pytest.raises(RuntimeError, match="not the leader: it has shut down"):
        await first.supervisor.verify_leadership_before_destructive()


async def test_a_leader_that_is_alone_leaves_no_trace_of_leading(node: Make, redis: Redis, prefix: str) -> None:
    """After shutdown the key is gone and no slot is held."""
    only = node("only")
    await only.supervisor.start()
    await eventually(lambda: only.runs == 1, "it does not lead")
    await only.supervisor.shutdown()
    assert await redis.get(f"{prefix}:leader") is None
    assert await redis.keys(f"{prefix}:leader:member:*") == []
    assert await redis.hget(f"{prefix}:leader:slots", "0") == "1:"


async def test_a_taken_leadership_is_not_verified(node: Make, redis: Redis, prefix: str) -> None:
    """Another node in the table: the check names it with its epoch, the task is cancelled."""
    first = node("first")
    await first.supervisor.start()
    await eventually(lambda: first.runs == 1, "it does not lead")
    await redis.hset(f"{prefix}:leader:slots", "0", "9:other.1")
    with pytest.raises(NotLeader, match=r"slot 0.* was taken by other\.1 at epoch 9"):
        await first.supervisor.verify_leadership_before_destructive()
    await eventually(lambda: first.runs == 0, "the task goes on")


async def test_an_expired_lease_is_not_verified(node: Make, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Redis away past the deadline: the task is cancelled, the check refuses; Redis back: it leads again by itself."""
    server = EmbeddedServer(tmp_path_factory.mktemp("redis"), graph=False).start()
    client = connect(server.url)
    first = node("first", client)
    await first.supervisor.start()
    await eventually(lambda: first.runs == 1, "it does not lead")
    server.kill()
    await eventually(lambda: first.runs == 0, "the task goes on")
    with pytest.raises(RuntimeError, match="not the leader: renewal overdue"):
        await first.supervisor.verify_leadership_before_destructive()
    server.start()
    await eventually(lambda: first.runs == 1, "it does not lead again")
    await first.supervisor.verify_leadership_before_destructive()
    await first.supervisor.shutdown()
    await client.aclose()
    server.stop()


async def test_a_blocked_loop_does_not_lose_leadership(node: Make) -> None:
    """Renewal has a thread and connections of its own, made like the client's, which is left alone."""
    first = node("first")
    await first.supervisor.start()
    await eventually(lambda: first.runs == 1, "it does not lead")
    blocked_at = time.perf_counter()
    while time.perf_counter() - blocked_at < 1.4 * SHORT.duration:
        time.sleep(0.05)  # noqa: ASYNC251  # the loop is blocked on purpose, longer than the lease
    await first.supervisor.verify_leadership_before_destructive()
    assert (first.starts, first.runs) == (1, 1)


async def test_a_client_with_bytes_answers_serves_as_well(node: Make, embedded: EmbeddedServer) -> None:
    """`decode_responses` either way."""
    client = connect(embedded.url, decode=False)
    first = node("first", client)
    await first.supervisor.start()
    await eventually(lambda: first.runs == 1, "it does not lead")
    await first.supervisor.shutdown()
    await client.aclose()


async def test_a_restarted_node_of_the_same_name_does_not_pass_for_the_old_one(node: Make, redis: Redis) -> None:
    """A name may come back; the member behind it never does."""
    first, again = node("same"), node("same")
    await first.supervisor.start()
    await eventually(lambda: first.runs == 1, "it does not lead")
    await again.supervisor.start()
    await first.supervisor.verify_leadership_before_destructive()
    with pytest.raises(RuntimeError):
        await again.supervisor.verify_leadership_before_destructive()


async def test_another_backend_of_the_protocol_serves_as_well() -> None:
    """`lease=` opens any store of one slot."""
    pool = MemoryLeases(1)
    nodes = [Node(TaskSupervisor(lease=pool.open, settings=SHORT)) for _ in range(2)]
    for made in nodes:
        await made.supervisor.start()
    await eventually(lambda: sum(made.runs for made in nodes) == 1, "nobody leads")
    for made in nodes:
        await made.supervisor.shutdown()
    assert sum(made.runs for made in nodes) == 0
