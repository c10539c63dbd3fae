"""What every backend of the run ledger promises: the same exam for memory, Redis and a real API server."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from background_tasks.domain.model import (
    Fence,
    Interval,
    MemberId,
    Outcome,
    Past,
    Policy,
    RunRecord,
    Schedule,
    Task,
    TaskUid,
)
from background_tasks.errors import Superseded, Unavailable
from background_tasks.leases.redis import RedisLeases
from background_tasks.services.redis import connect
from background_tasks.sinks.kubernetes import StatusStore
from background_tasks.sinks.memory import MemoryLedger
from background_tasks.sinks.redis import RedisLedger, RedisStatusSink

pytestmark = pytest.mark.contract
type Ledger = MemoryLedger | RedisLedger | StatusStore
type Pair = tuple[Task, Task]
POLICY = Policy(coroutine="c", schedule=Schedule(cadence=Interval(seconds=60)))
TASK = Task(uid=TaskUid("u-1 ü"), name="ns/task", policy=POLICY)
NEIGHBOUR = replace(TASK, uid=TaskUid("u-2"))
FULL = Past(
    fired_at=1.5,
    started_at=2.25,
    ended_at=3.125,
    outcome=Outcome.TIMED_OUT,
    success_at=0.5,
    failures=3,
    opened_at=4.0,
    baseline=1.0,
    run_now="2026-01-01 #2",
)


def fence(epoch: int, *, slot: int = 3, realm: str = "r1") -> Fence:
    """A right to act."""
    return Fence(realm=realm, slot=slot, epoch=epoch)


def run(number: int, held: Fence | None = None) -> RunRecord:
    """A run that ended."""
    return RunRecord(
        run_id=f"w-{number}",
        uid=TASK.uid,
        task=TASK.name,
        scheduled_for=100.0 + number,
        started_at=100.1 + number,
        ended_at=100.2 + number,
        outcome=Outcome.SUCCEEDED,
        attempt=2,
        message="fine",
        worker="w",
        fence=held,
        report={"items_in": 3, "nested": {"a": [1, 2]}},
    )


@pytest.fixture(params=["memory", "redis", "kubernetes"])
def ledger(request: pytest.FixtureRequest, redis: Redis, prefix: str) -> Ledger:
    """One pool's ledger, over each backend."""
    if request.param == "kubernetes":
        store: StatusStore = request.getfixturevalue("status_store")
        return store
    return MemoryLedger() if request.param == "memory" else RedisLedger(redis, prefix)


@pytest.fixture
def pair(request: pytest.FixtureRequest, ledger: Ledger) -> Pair:
    """Two tasks that a ledger may be told of; in a cluster they exist."""
    if isinstance(ledger, StatusStore):
        declare: Callable[[str], Task] = request.getfixturevalue("declare")
        return declare("task"), declare("neighbour")
    return TASK, NEIGHBOUR


async def test_a_task_that_never_ran_is_absent(ledger: Ledger, pair: Pair) -> None:
    """Absent is a fact: a failed read would raise."""
    task, _ = pair
    assert await ledger.load([task.uid]) == {}


@pytest.mark.parametrize("past", [FULL, Past()], ids=["every field", "no field"])
async def test_a_past_comes_back_as_it_was_written(ledger: Ledger, pair: Pair, past: Past) -> None:
    """To the last digit, and only for those who were asked about."""
    task, neighbour = pair
    await ledger.record(task, past, run(1))
    await ledger.record(neighbour, Past(fired_at=9.0), None)
    assert await ledger.load([task.uid, TaskUid("nobody")]) == {task.uid: past}


async def test_thousands_of_pasts_are_read_at_once(ledger: Ledger, pair: Pair) -> None:
    """More tasks than one reading takes."""
    task, neighbour = pair
    uids = [task.uid, *(TaskUid(f"u{number}") for number in range(1200)), neighbour.uid]
    for known in pair:
        await ledger.record(known, Past(failures=1), None)
    assert set(await ledger.load(uids)) == {task.uid, neighbour.uid}


async def test_a_run_that_began_and_never_ended_is_seen_by_the_next_holder(ledger: Ledger, pair: Pair) -> None:
    """Its past says so: started after it ended. What that means is the engine's to decide."""
    task, _ = pair
    await ledger.record(task, Past(ended_at=50.0, started_at=100.0), None, fence=fence(1))
    past = (await ledger.load([task.uid]))[task.uid]
    assert (past.started_at, past.ended_at) == (100.0, 50.0)


async def test_a_fire_time_is_claimed_once(ledger: Ledger, pair: Pair) -> None:
    """By whomever, under whichever newer fence; other fire times and tasks are not touched."""
    task, neighbour = pair
    claims = [
        await ledger.claim(task, 100.1, fence(1)),
        await ledger.claim(task, 100.1, fence(2)),
        await ledger.claim(task, 160.1, fence(2)),
        await ledger.claim(neighbour, 100.1, None),
        await ledger.claim(task, 100.1, None),
    ]
    assert claims == [True, False, True, True, False]


async def test_a_claim_outlives_many_later_ones(ledger: Ledger, pair: Pair) -> None:
    """As many as any misfire policy reaches back."""
    task, _ = pair
    fires = [float(number) for number in range(30)]
    assert all([await ledger.claim(task, fire, None) for fire in fires])
    assert not any([await ledger.claim(task, fire, None) for fire in fires])


@pytest.mark.parametrize(
    "late",
    [
        pytest.param(fence(7), id="an older epoch of the slot"),
        pytest.param(fence(99, realm="r1"), id="a realm that was replaced, whatever its epoch"),
    ],
)
async def test_an_older_fence_writes_nothing(ledger: Ledger, pair: Pair, late: Fence) -> None:
    """Past and claim are refused together, and stay as the newer holder left them."""
    task, _ = pair
    await ledger.record(task, Past(), run(1, fence(1)))
    newer = fence(8) if late.epoch == 7 else fence(1, realm="r2")
    await ledger.record(task, FULL, run(2, newer))
    for write in (
        ledger.record(task, Past(failures=9), run(3, late)),
        ledger.record(task, Past(failures=9), None, fence=late),
        ledger.claim(task, 7.0, late),
    ):
        with pytest.raises(Superseded, match=rf"{task.name}: fence r1/3/.* came too late"):
            await write
    assert await ledger.load([task.uid]) == {task.uid: FULL}
    assert await ledger.claim(task, 7.0, newer)


async def test_fences_of_other_slots_do_not_matter(ledger: Ledger, pair: Pair) -> None:
    """Each slot counts for itself, and no fence at all is a worker that is alone."""
    task, neighbour = pair
    await ledger.record(task, Past(), run(1, fence(8)))
    await ledger.record(neighbour, FULL, run(2, fence(1, slot=4)))
    await ledger.record(neighbour, Past(failures=2), None)
    assert await ledger.load([neighbour.uid]) == {neighbour.uid: Past(failures=2)}


async def test_a_run_without_a_past_leaves_what_is_remembered_alone(ledger: Ledger, pair: Pair) -> None:
    """Tasks that run on every worker share a uid and no past; an older fence tells no run either."""
    task, neighbour = pair
    await ledger.record(task, FULL, run(1, fence(8)))
    await ledger.record(task, None, run(2))
    await ledger.record(neighbour, None, run(3))
    with pytest.raises(Superseded):
        await ledger.record(task, None, run(4, fence(7)))
    assert await ledger.load([task.uid, neighbour.uid]) == {task.uid: FULL}
    if isinstance(ledger, StatusStore):
        return  # runs are kept in what is shown
    told = ledger.runs if isinstance(ledger, MemoryLedger) else (await ledger.runs_after(None))[0]
    assert [one.run_id for one in told] == ["w-1", "w-2", "w-3"]


@pytest.mark.parametrize("ledger", ["memory", "redis"], indirect=True)  # a resource takes its ledger along
async def test_a_forgotten_task_never_ran(ledger: Ledger, pair: Pair) -> None:
    """Past and claims go; forgetting twice is fine; neighbours stay."""
    task, neighbour = pair
    await ledger.claim(task, 1.0, None)
    await ledger.record(task, FULL, run(1))
    await ledger.record(neighbour, FULL, None)
    await ledger.forget(task.uid)
    await ledger.forget(task.uid)
    assert await ledger.load([task.uid, neighbour.uid]) == {neighbour.uid: FULL}
    assert await ledger.claim(task, 1.0, None)


async def test_redis_tells_runs_in_order_from_any_place(redis: Redis, prefix: str) -> None:
    """Whoever follows the ledger sees each run that ended once, whole, and goes on where it left off."""
    ledger = RedisLedger(redis, prefix)
    before = await ledger.newest_run()
    await ledger.record(TASK, Past(started_at=1.0), None)
    await ledger.record(TASK, FULL, run(1, fence(1)))
    first, place = await ledger.runs_after(before)
    await ledger.record(TASK, FULL, run(2))
    second, newest = await ledger.runs_after(place)
    assert (before, first, second) == (None, [run(1, fence(1))], [run(2)])
    assert (await ledger.newest_run(), await ledger.runs_after(newest)) == (newest, ([], newest))


async def test_redis_tells_a_write_that_is_sent_again_once(redis: Redis, prefix: str) -> None:
    """An answer that was lost makes no second start and no second run."""
    ledger = RedisLedger(redis, prefix)
    for past, ended in ((Past(started_at=1.0), None), (FULL, run(1))):
        await ledger.record(TASK, past, ended)
        await ledger.record(TASK, past, ended)
    entries: Any = await redis.xrange(f"bgt:{prefix}:runs")
    kinds = [fields["kind"] for _, fields in entries]
    assert kinds == ["start", "end"]


@pytest.mark.parametrize(
    "garbage",
    [
        *("no json", "[]", '{"failures":"many"}', '{"outcome":"Odd"}', '{"ended_at":NaN}', '{"run_now":7}'),
        '{"ended_at":1' + "0" * 400 + "}",
        "[" * 100_000,
    ],
    ids=range(8),
)
async def test_garbage_in_one_past_is_reported_and_left_out(redis: Redis, prefix: str, garbage: str) -> None:
    """The others are read as ever, and the next write mends it."""
    said: list[str] = []
    ledger = RedisLedger(redis, prefix, report=said.append)
    await ledger.record(NEIGHBOUR, FULL, None)
    await redis.hset(f"bgt:{prefix}:past", TASK.uid, garbage)
    assert await ledger.load([TASK.uid, NEIGHBOUR.uid]) == {NEIGHBOUR.uid: FULL}
    assert [f"bgt:{prefix}:past, field {TASK.uid} cannot be read" in sentence for sentence in said] == [True]
    await ledger.record(TASK, FULL, run(1))
    assert await ledger.load([TASK.uid]) == {TASK.uid: FULL}


async def test_garbage_among_runs_and_fences_stops_nobody(redis: Redis, prefix: str) -> None:
    """What cannot be read is passed over; the next writer sets the record straight."""
    said: list[str] = []
    ledger = RedisLedger(redis, prefix, report=said.append)
    await redis.hset(f"bgt:{prefix}:fences", mapping={"realms": "x", "realm:r1": "y", "slot:3": "z"})
    await redis.xadd(f"bgt:{prefix}:runs", {"kind": "end", "data": "{}"})
    await redis.xadd(f"bgt:{prefix}:runs", {"odd": "entry"})
    await ledger.record(TASK, FULL, run(1, fence(8)))
    runs, _ = await ledger.runs_after(None)
    with pytest.raises(Superseded):
        await ledger.record(TASK, Past(), run(2, fence(7)))
    assert (runs, len(said)) == ([run(1, fence(8))], 1)


@pytest.mark.parametrize("damage", ["many", "0", "1e300", "9" * 40, None], ids=["word", "low", "float", "vast", "gone"])
async def test_a_damaged_count_of_realms_shuts_no_new_realm_out(redis: Redis, prefix: str, damage: str | None) -> None:
    """A new realm is above all before it, whatever the counter says: its low epochs are not taken for old ones."""
    ledger, fences = RedisLedger(redis, prefix), f"bgt:{prefix}:fences"
    await ledger.record(TASK, Past(), run(1, fence(8, realm="r1")))
    await ledger.record(TASK, Past(), run(2, fence(8, realm="r2")))
    if damage is None:
        await redis.hdel(fences, "realms")
    else:
        await redis.hset(fences, "realms", damage)
    await ledger.record(TASK, FULL, run(3, fence(1, realm="r3")))
    for late in (fence(99, realm="r1"), fence(99, realm="r2")):
        with pytest.raises(Superseded):
            await ledger.record(TASK, Past(), run(4, late))
    assert await ledger.load([TASK.uid]) == {TASK.uid: FULL}
    assert await ledger.claim(TASK, 7.0, fence(1, realm="r3"))


async def test_a_realm_that_first_writes_after_it_was_replaced_is_too_late(redis: Redis, prefix: str) -> None:
    """Were it numbered then, it would be newer than the slot table's own realm, and shut its holders out for ever."""
    ledger = RedisLedger(redis, prefix)
    realm = (await RedisLeases(redis, prefix=f"bgt:{prefix}", slots=8).read()).realm
    for write in (ledger.record(TASK, FULL, run(1, fence(9, realm="r0"))), ledger.claim(TASK, 7.0, fence(9))):
        with pytest.raises(Superseded, match="a newer slot table has been made"):
            await write
    await ledger.record(NEIGHBOUR, FULL, None, fence=fence(1, realm=realm))
    assert await ledger.claim(TASK, 7.0, fence(1, realm=realm))
    assert await ledger.load([TASK.uid, NEIGHBOUR.uid]) == {NEIGHBOUR.uid: FULL}


@pytest.mark.parametrize("key", ["past", "marks", "fences", "runs"])
async def test_a_ledger_key_of_another_type_is_unavailable_and_names_the_fix(
    redis: Redis, prefix: str, key: str
) -> None:
    """What is not ours is not overwritten, and nothing is half written."""
    await redis.set(f"bgt:{prefix}:{key}", "somebody else's")
    with pytest.raises(Unavailable, match=rf"key bgt:{prefix}:{key} is a string, not the .*: DEL it"):
        await RedisLedger(redis, prefix).record(TASK, FULL, run(1, fence(1)))
    assert await redis.keys(f"bgt:{prefix}:*") == [f"bgt:{prefix}:{key}"]


async def test_a_ledger_away_is_unavailable(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A failed read is a failure, never a task that never ran."""
    redis = connect(f"unix://{tmp_path_factory.mktemp('none')}/redis.sock")
    ledger, status = RedisLedger(redis, "p"), RedisStatusSink(redis, "p")
    calls = (ledger.load([TASK.uid]), ledger.claim(TASK, 1.0, None), ledger.record(TASK, FULL, None))
    for call in (*calls, ledger.forget(TASK.uid), ledger.runs_after(None), status.publish(TASK.uid, {})):
        with pytest.raises(Unavailable):
            await call
    await redis.aclose()


async def test_statuses_are_shown_until_withdrawn(redis: Redis, prefix: str) -> None:
    """The latest wins; garbage in one is reported and left out."""
    said: list[str] = []
    sink = RedisStatusSink(redis, prefix, report=said.append)
    await sink.publish(TASK.uid, {"slot": 1})
    await sink.publish(TASK.uid, {"slot": 2, "conditions": [{"type": "Ready"}]})
    await sink.publish(NEIGHBOUR.uid, {})
    await redis.hset(f"bgt:{prefix}:status", "odd", "[")
    assert await sink.statuses() == {TASK.uid: {"slot": 2, "conditions": [{"type": "Ready"}]}, NEIGHBOUR.uid: {}}
    await sink.withdraw(NEIGHBOUR.uid)
    assert (set(await sink.statuses()), len(said)) == ({TASK.uid}, 2)


async def test_leases_and_ledger_of_one_pool_do_not_touch(redis: Redis, prefix: str) -> None:
    """They share a prefix, and neither writes a key of the other's."""
    leases = RedisLeases(redis, prefix=f"bgt:{prefix}", slots=1)
    await leases.renew(MemberId("a"), 1)
    table = await leases.read()
    ours = set(await redis.keys(f"bgt:{prefix}:*"))
    await RedisLedger(redis, prefix).record(TASK, FULL, run(1, fence(1, realm=table.realm)))
    await RedisLedger(redis, prefix).claim(TASK, 1.0, None)
    theirs = set(await redis.keys(f"bgt:{prefix}:*")) - ours
    assert theirs == {f"bgt:{prefix}:{name}" for name in ("past", "marks", "fences", "runs", "claims")}
    assert await leases.read() == table
