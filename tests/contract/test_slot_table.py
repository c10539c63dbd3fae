"""What every backend of the slot table promises: the same exam for memory, Redis and Kubernetes."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from background_tasks.domain.model import MemberId
from background_tasks.errors import Unavailable
from background_tasks.leases.kubernetes import KubernetesLeases
from background_tasks.leases.memory import MemoryLeases
from background_tasks.leases.redis import UNREADABLE, LeaderKey, RedisLeases
from background_tasks.local.embedded import EmbeddedServer
from background_tasks.ports import SlotRow
from background_tasks.services.redis import connect

pytestmark = pytest.mark.contract
A, B = MemberId("a"), MemberId("b:2 ü")
FREE = SlotRow(holder=None, epoch=0)
type Table = MemoryLeases | RedisLeases | KubernetesLeases


def held(by: MemberId | None, epoch: int) -> SlotRow:
    """A row."""
    return SlotRow(holder=by, epoch=epoch)


@pytest.fixture(params=["memory", "redis", "kubernetes"])
def table(request: pytest.FixtureRequest, redis: Redis, prefix: str) -> Table:
    """One pool's table of four slots, over each backend."""
    if request.param == "kubernetes":
        made: KubernetesLeases = request.getfixturevalue("kubernetes_leases")
        return made
    return MemoryLeases(4) if request.param == "memory" else RedisLeases(redis, prefix=prefix, slots=4)


async def test_the_first_reading_makes_a_table_of_free_slots(table: Table) -> None:
    """It has a realm, which stays."""
    first, again = await table.read(), await table.read()
    assert (first, first.rows, bool(first.realm)) == (again, (FREE,) * 4, True)


async def test_a_row_is_replaced_when_it_is_as_expected(table: Table) -> None:
    """Only that row, and its holder's name comes back letter for letter."""
    realm = (await table.read()).realm
    assert await table.compare_and_set(realm, 2, FREE, held(B, 1))
    assert (await table.read()).rows == (FREE, FREE, held(B, 1), FREE)


@pytest.mark.parametrize(
    ("realm", "expected"),
    [
        pytest.param("another", held(A, 1), id="another realm"),
        pytest.param(None, held(A, 2), id="another epoch"),
        pytest.param(None, held(B, 1), id="another holder"),
        pytest.param(None, held(None, 1), id="no holder"),
    ],
)
async def test_a_row_that_is_not_as_expected_is_left_alone(table: Table, realm: str | None, expected: SlotRow) -> None:
    """False says that somebody else was first."""
    true_realm = (await table.read()).realm
    await table.compare_and_set(true_realm, 0, FREE, held(A, 1))
    assert not await table.compare_and_set(realm or true_realm, 0, expected, held(B, 3))
    assert (await table.read()).rows[0] == held(A, 1)


async def test_of_many_claims_at_once_one_succeeds(table: Table) -> None:
    """Compare-and-set is one step."""
    realm = (await table.read()).realm
    claims = [table.compare_and_set(realm, 0, FREE, held(MemberId(f"m{number}"), 1)) for number in range(20)]
    assert sorted(await asyncio.gather(*claims)) == [False] * 19 + [True]


async def test_a_change_is_heard_within_a_moment(table: Table) -> None:
    """A listener is woken once at first, then after a swap, a new member, one that leaves and one that left."""
    realm = (await table.read()).realm
    hints = table.changes()
    await heard(hints)
    await table.compare_and_set(realm, 0, FREE, held(A, 1))
    await heard(hints)
    await table.renew(A, 12)
    await heard(hints)
    await table.renew(A, 12, leaving=True)
    await heard(hints)
    await table.release(A)
    await heard(hints)
    await hints.aclose()  # type: ignore[attr-defined]


async def test_a_plain_renewal_wakes_nobody(redis: Redis, prefix: str) -> None:
    """N members that renew do not make N x N readings."""
    leases = RedisLeases(redis, prefix=prefix, slots=4)
    await leases.renew(A, 12)
    async with redis.pubsub(ignore_subscribe_messages=True) as ear:
        await ear.subscribe(f"{prefix}:changed")
        await leases.renew(A, 12)
        await leases.release(A)
        messages = [await ear.get_message(timeout=1.0) for _ in range(3)]
    assert sum(message is not None for message in messages) == 1


async def test_a_quiet_listener_asks_nothing(redis: Redis, prefix: str) -> None:
    """Waiting for a hint costs the server nothing but the greetings of new connections."""
    table = RedisLeases(redis, prefix=prefix, slots=4)
    hints = table.changes()
    await heard(hints)
    before = (await redis.info("stats"))["total_commands_processed"]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await anext(hints)
    assert (await redis.info("stats"))["total_commands_processed"] - before < 20


async def heard(hints: AsyncIterator[None]) -> None:
    """Wait for one hint, two seconds at the most."""
    async with asyncio.timeout(2):
        await anext(hints)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        pytest.param("2", "no row", "field 2 is not <epoch>:<holder> but no row", id="a row that is none"),
        pytest.param("2", "-1:a", "field 2", id="a negative epoch"),
        pytest.param("2", "9" * 20 + ":a", "field 2", id="an epoch beyond all counting"),
        pytest.param("2", None, "field 2 is not <epoch>:<holder> but missing", id="a lost row"),
        pytest.param("realm", None, "field realm is missing", id="a lost realm"),
        pytest.param("count", "many", "field count is not a number", id="a lost size"),
    ],
)
async def test_a_damaged_table_begins_a_new_realm(
    redis: Redis, prefix: str, field: str, value: str | None, says: str
) -> None:
    """Readable holders keep their rows; an unreadable row is held by nobody known, so that it is waited out."""
    said: list[str] = []
    table = RedisLeases(redis, prefix=prefix, slots=4, report=said.append)
    before = await table.read()
    await table.compare_and_set(before.realm, 0, FREE, held(A, 1))
    await (redis.hdel(f"{prefix}:slots", field) if value is None else redis.hset(f"{prefix}:slots", field, value))
    after = await table.read()
    third = held(UNREADABLE, 0) if field == "2" else FREE
    assert (after.realm != before.realm, after.rows) == (True, (held(A, 1), FREE, third, FREE))
    assert [says in sentence and f"{prefix}:slots" in sentence for sentence in said] == [True]
    assert await table.read() == after


async def test_a_key_of_another_type_is_unavailable_and_names_the_fix(redis: Redis, prefix: str) -> None:
    """What is not ours is not overwritten."""
    await redis.set(f"{prefix}:slots", "x")
    table = RedisLeases(redis, prefix=prefix, slots=4)
    for call in (table.read(), table.compare_and_set("r", 0, FREE, held(A, 1))):
        with pytest.raises(Unavailable, match=rf"key {prefix}:slots is a string, not the hash of slots: DEL it"):
            await call


async def test_another_number_of_slots_is_unavailable_and_names_both(redis: Redis, prefix: str) -> None:
    """Members that count differently would disagree about every task's slot."""
    await RedisLeases(redis, prefix=prefix, slots=4).read()
    with pytest.raises(Unavailable, match="has 4 slots, this worker was told 8: the number never changes; give 4"):
        await RedisLeases(redis, prefix=prefix, slots=8).read()


async def test_a_restarted_server_begins_a_new_realm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The last claims may be missing from what it kept, so no epoch of the old realm is handed out again."""
    server = EmbeddedServer(tmp_path_factory.mktemp("redis"), graph=False).start()
    redis = connect(server.url)
    try:
        table = RedisLeases(redis, prefix="p", slots=2)
        before = await table.read()
        assert await table.compare_and_set(before.realm, 0, FREE, held(A, 1))
        server.stop()
        server.start()
        await redis.connection_pool.disconnect()
        assert not await table.compare_and_set(before.realm, 1, FREE, held(A, 1))
        after = await table.read()
        assert (after.realm != before.realm, after.rows) == (True, (held(A, 1), FREE))
    finally:
        await redis.aclose()
        server.stop()


async def test_a_leader_key_shows_the_holder_of_slot_0(redis: Redis, prefix: str) -> None:
    """It appears with the claim, is refreshed with the lease, and goes with the release."""
    leader = LeaderKey(key=f"{prefix}:leader", shows="node-1", duration=5)
    table = RedisLeases(redis, prefix=prefix, slots=1, leader=leader)
    realm = (await table.read()).realm
    await table.compare_and_set(realm, 0, FREE, held(A, 1))
    claimed = await redis.get(leader.key)
    await redis.delete(leader.key)
    await table.renew(A, 5)
    renewed, lives_ms = await redis.get(leader.key), await redis.pttl(leader.key)
    await table.compare_and_set(realm, 0, held(A, 1), held(None, 1))
    assert (claimed, renewed, await redis.get(leader.key)) == ("node-1", "node-1", None)
    assert 4000 < lives_ms <= 5000


async def test_redis_away_is_unavailable(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A failed read is a failure, never an empty table."""
    redis = connect(f"unix://{tmp_path_factory.mktemp('none')}/redis.sock")
    table = RedisLeases(redis, prefix="p", slots=1)
    calls = (table.read(), table.members(), table.renew(A, 1), table.release(A), anext(table.changes()))
    for call in calls:
        with pytest.raises(Unavailable):
            await call
    await redis.aclose()
