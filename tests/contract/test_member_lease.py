"""What every backend of member leases promises: the same exam for memory, Redis and Kubernetes."""

from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from background_tasks.domain.model import MemberId
from background_tasks.errors import Unavailable
from background_tasks.leases.kubernetes import KubernetesLeases
from background_tasks.leases.memory import MemoryLeases
from background_tasks.leases.redis import RedisLeases

pytestmark = pytest.mark.contract
A, B = MemberId("a"), MemberId("b:2 ü")
type Leases = MemoryLeases | RedisLeases | KubernetesLeases


@pytest.fixture(params=["memory", "redis", "kubernetes"])
def leases(request: pytest.FixtureRequest, redis: Redis, prefix: str) -> Leases:
    """One pool's leases, over each backend."""
    if request.param == "kubernetes":
        made: KubernetesLeases = request.getfixturevalue("kubernetes_leases")
        return made
    return MemoryLeases(4) if request.param == "memory" else RedisLeases(redis, prefix=prefix, slots=4)


async def test_a_pool_without_leases_has_no_members(leases: Leases) -> None:
    """Empty is a fact, not a failure."""
    assert await leases.members() == {}


async def test_a_renewed_lease_shows_what_its_holder_recorded(leases: Leases) -> None:
    """Member, duration and whether it leaves come back as written."""
    await leases.renew(A, 12.5)
    await leases.renew(B, 3, leaving=True)
    found = await leases.members()
    assert {member: (record.member, record.duration, record.leaving) for member, record in found.items()} == {
        A: (A, 12.5, False),
        B: (B, 3, True),
    }


async def test_the_version_differs_after_every_renewal_and_only_then(leases: Leases) -> None:
    """Watchers believe changes of it."""
    await leases.renew(A, 12)
    first, again = (await leases.members())[A], (await leases.members())[A]
    await leases.renew(A, 12)
    renewed = (await leases.members())[A]
    await leases.release(A)
    await leases.renew(A, 12)
    versions = [first.version, renewed.version, (await leases.members())[A].version]
    assert (first, len(set(versions))) == (again, 3)


async def test_a_released_lease_is_gone_and_releasing_it_again_is_fine(leases: Leases) -> None:
    """Release is idempotent and touches nobody else."""
    await leases.renew(A, 12)
    await leases.renew(B, 12)
    await leases.release(A)
    await leases.release(A)
    assert set(await leases.members()) == {B}


async def test_redis_lets_a_dead_lease_expire_long_after_its_duration(redis: Redis, prefix: str) -> None:
    """Nobody believes expiry; it only keeps the store clean."""
    leases = RedisLeases(redis, prefix=prefix, slots=4)
    await leases.renew(A, 12)
    assert 100_000 < await redis.pttl(f"{prefix}:member:a") <= 120_000
    await redis.delete(f"{prefix}:member:a")
    assert await leases.members() == {}
    assert await redis.exists(f"{prefix}:members") == 0


@pytest.mark.parametrize(
    "garbage",
    [
        *("no json", "[]", '{"version": "1"}', '{"version":1,"duration":"x","leaving":0}', "[" * 100_000),
        '{"version":1,"leaving":false,"duration":1' + "0" * 400 + "}",
    ],
    ids=range(6),
)
async def test_garbage_in_one_lease_is_reported_once_and_left_out(redis: Redis, prefix: str, garbage: str) -> None:
    """The others are read as ever, and the member itself writes it anew."""
    said: list[str] = []
    leases = RedisLeases(redis, prefix=prefix, slots=4, report=said.append)
    await leases.renew(A, 12)
    await leases.renew(B, 12)
    await redis.set(f"{prefix}:member:a", garbage)
    assert set(await leases.members()) == set(await leases.members()) == {B}
    assert [f"{prefix}:member:a" in sentence and "left out" in sentence for sentence in said] == [True]
    await leases.renew(A, 12)
    assert set(await leases.members()) == {A, B}


async def test_a_lease_key_of_another_type_is_left_out_and_overwritten(redis: Redis, prefix: str) -> None:
    """A list where a lease should be stops nobody."""
    leases = RedisLeases(redis, prefix=prefix, slots=4)
    await leases.renew(A, 12)
    await redis.delete(f"{prefix}:member:a")
    await redis.rpush(f"{prefix}:member:a", "x")
    assert await leases.members() == {}
    await leases.renew(A, 12)
    assert set(await leases.members()) == {A}


async def test_a_foreign_index_of_members_is_unavailable_and_names_the_fix(redis: Redis, prefix: str) -> None:
    """What is not ours is not overwritten: the sentence names the key, its type and the remedy."""
    await redis.set(f"{prefix}:members", "somebody else's")
    leases = RedisLeases(redis, prefix=prefix, slots=4)
    calls: list[Callable[[], object]] = [leases.members, lambda: leases.renew(A, 12)]
    for call in calls:
        with pytest.raises(Unavailable, match=rf"key {prefix}:members is a string, not the set of members: DEL it"):
            await call()  # type: ignore[misc]
