"""The due-queue over a real Redis: an id is in one place, has one holder, and is never lost."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from redis.asyncio import Redis

from background_tasks.knowledge.due_queue import (
    GIVE_BACK_S,
    AddMode,
    Claim,
    DueQueue,
    Firing,
    Record,
    Settled,
    Settlement,
)
from background_tasks.knowledge.keys import Keys, QueueKeys
from background_tasks.local.embedded import EmbeddedServer
from background_tasks.services.redis import connect
from background_tasks.testing import CrashingClient

pytestmark = pytest.mark.contract
NOW = 1_700_000_000.0
IDS = ["a", "a:b", 'q"uo\\te', "ünï ☕", "fired:x", " "]


@pytest.fixture
def keys(prefix: str) -> QueueKeys:
    """The keys of a queue of the test's own."""
    return Keys(f"{prefix}:").queue("prompts")


@pytest.fixture(params=[True, False], ids=["answers decoded", "answers as bytes"])
async def queue(embedded: EmbeddedServer, keys: QueueKeys, request: pytest.FixtureRequest) -> AsyncIterator[DueQueue]:
    """A queue over either kind of client."""
    client = connect(embedded.url, decode=request.param)
    yield DueQueue(client, keys)
    await client.flushall()
    await client.aclose()


@dataclass
class Oracle:
    """The same queue, as a few lines of Python that nobody can get wrong."""

    due: dict[str, int] = field(default_factory=dict)
    inflight: dict[str, tuple[int, int, int, int | None]] = field(default_factory=dict)
    """id -> token, due, end of lease, wish that came meanwhile. All in milliseconds."""
    token: int = 0

    def add(self, id: str, at: int, mode: AddMode) -> bool:
        """Make an id due."""
        if mode is AddMode.IF_ABSENT and (id in self.due or id in self.inflight):
            return False
        if mode is AddMode.SET:
            self.inflight.pop(id, None)
            self.due[id] = at
        elif id in self.inflight:
            token, due, end, again = self.inflight[id]
            self.inflight[id] = (token, due, end, at if again is None else min(at, again))
        else:
            self.due[id] = min(at, self.due.get(id, at))
        return True

    def claim(self, limit: int, lease: int, now: int) -> list[tuple[str, int, int]]:
        """Take what is due, after expired leases came back."""
        expired = sorted((end, id.encode(), id) for id, (_, _, end, _) in self.inflight.items() if end <= now)
        for _, _, id in expired[:limit]:
            _, due, _, again = self.inflight.pop(id)
            self.due[id] = due if again is None else min(due, again)
        taken = sorted((at, id.encode(), id) for id, at in self.due.items() if at <= now)[:limit]
        answer = []
        for at, _, id in taken:
            self.token += 1
            del self.due[id]
            self.inflight[id] = (self.token, at, now + lease, None)
            answer.append((id, at, self.token))
        return answer

    def settle(self, id: str, token: int, next_at: int | None) -> bool:
        """Take an answer, only with the current token."""
        if id not in self.inflight or self.inflight[id][0] != token:
            return False
        again = self.inflight.pop(id)[3]
        wishes = [at for at in (next_at, again) if at is not None]
        if wishes:
            self.due[id] = min(wishes)
        return True

    def remove(self, id: str) -> bool:
        """Take an id out, wherever it is."""
        return any([self.due.pop(id, None) is not None, self.inflight.pop(id, None) is not None])


class QueueMachine(RuleBasedStateMachine):
    """Any sequence of calls, against the oracle, on one Redis."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.client = self.runner.run(self._connected())
        self.keys = Keys().queue("prompts")
        self.queue = DueQueue(self.client, self.keys)
        self.oracle = Oracle()
        self.now = round(NOW * 1000)
        self.tokens: list[tuple[str, int]] = []

    async def _connected(self) -> Redis:
        client = connect(self.url)
        await client.flushall()
        return client

    def teardown(self) -> None:
        """Close what the machine opened."""
        self.runner.run(self.client.aclose())
        self.runner.close()

    @rule(id=st.sampled_from(IDS), after=st.integers(-5_000, 5_000), mode=st.sampled_from(AddMode))
    def add(self, id: str, after: int, mode: AddMode) -> None:
        """Somebody makes an id due."""
        at = self.now + after
        assert self.runner.run(self.queue.add(id, at / 1000, mode)) == self.oracle.add(id, at, mode)

    @rule(limit=st.integers(1, 4), lease=st.integers(1, 8_000))
    def claim(self, limit: int, lease: int) -> None:
        """Somebody takes what is due."""
        claims = self.runner.run(self.queue.claim(limit, lease / 1000, now=self.now / 1000))
        found = [(claim.id, round(claim.due_at * 1000), claim.token) for claim in claims]
        assert found == self.oracle.claim(limit, lease, self.now)
        self.tokens += [(claim.id, claim.token) for claim in claims]

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), after=st.none() | st.integers(-100, 5_000))
    def settle(self, data: st.DataObject, after: int | None) -> None:
        """A holder answers, perhaps too late, perhaps twice."""
        id, token = data.draw(st.sampled_from(self.tokens))
        at = None if after is None else self.now + after
        applied = self.runner.run(self.queue.ack(id, token, None if at is None else at / 1000))
        assert applied == self.oracle.settle(id, token, at)

    @rule(id=st.sampled_from(IDS))
    def remove(self, id: str) -> None:
        """Somebody takes an id out."""
        assert self.runner.run(self.queue.remove(id)) == self.oracle.remove(id)

    @rule(passed=st.integers(0, 6_000))
    def wait(self, passed: int) -> None:
        """Time passes; holders that crashed say nothing more."""
        self.now += passed

    @invariant()
    def redis_and_the_oracle_agree(self) -> None:
        """Every id is where the oracle has it, and nowhere else."""
        due, inflight, claims = self.runner.run(self._stored())
        assert due == self.oracle.due
        assert inflight == {id: end for id, (_, _, end, _) in self.oracle.inflight.items()}
        assert claims == set(inflight)
        assert not set(due) & set(inflight)

    async def _stored(self) -> tuple[dict[str, int], dict[str, int], set[str]]:
        due: Any = await self.client.zrange(self.keys.due, 0, -1, withscores=True)
        inflight: Any = await self.client.zrange(self.keys.inflight, 0, -1, withscores=True)
        claims: Any = await self.client.hkeys(self.keys.claims)
        return ({id: int(at) for id, at in due}, {id: int(at) for id, at in inflight}, set(claims))


def test_any_sequence_of_calls_does_what_the_oracle_does(embedded: EmbeddedServer) -> None:
    """Ids, tokens, leases and wishes: the scripts and forty lines of Python agree after every call."""
    machine = type("Machine", (QueueMachine,), {"url": embedded.url})
    run_state_machine_as_test(machine, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))


async def test_claimers_at_the_same_moment_share_nothing(embedded: EmbeddedServer, keys: QueueKeys) -> None:
    """Each due instant is handed to one holder."""
    clients = [connect(embedded.url) for _ in range(3)]
    queues = [DueQueue(client, keys) for client in clients]
    for number in range(200):
        await queues[0].add(f"id-{number}", NOW)

    async def drain(queue: DueQueue) -> list[Claim]:
        found: list[Claim] = []
        while claims := await queue.claim(7, now=NOW):
            found += claims
        return found

    held = [claim for claims in await asyncio.gather(*map(drain, queues)) for claim in claims]
    assert len(held) == len({claim.id for claim in held}) == len({claim.token for claim in held}) == 200
    for client in clients:
        await client.aclose()


async def test_a_holder_that_says_nothing_loses_its_claim_and_its_late_answer_does_nothing(queue: DueQueue) -> None:
    """After the lease another gets the same due instant, under a higher token."""
    await queue.add("tea", NOW)
    (slow,) = await queue.claim(lease_s=60, now=NOW)
    assert await queue.claim(now=NOW + 59.999) == []

    (quick,) = await queue.claim(now=NOW + 60)

    assert (quick.due_at, quick.token > slow.token) == (NOW, True)
    assert not await queue.ack(slow.id, slow.token, NOW + 900)
    assert not await queue.fail(slow.id, slow.token, NOW)
    assert await queue.ack(quick.id, quick.token)
    assert await queue.claim(now=NOW + 10_000) == []


@pytest.mark.parametrize("crashed", [False, True], ids=["the holder answers", "the holder crashed"])
async def test_a_wish_that_comes_while_an_id_is_in_flight_is_not_lost(queue: DueQueue, *, crashed: bool) -> None:
    """The earliest wish counts once the claim has ended, however it ended."""
    await queue.add("tea", NOW + 30)
    (claim,) = await queue.claim(now=NOW + 30)
    for at in (NOW + 20, NOW + 10, NOW + 25):
        assert await queue.add("tea", at, AddMode.EARLIEST)
    if not crashed:
        await queue.ack(claim.id, claim.token, NOW + 900)
    assert [claim.due_at for claim in await queue.claim(now=NOW + 90)] == [NOW + 10]


async def test_without_a_given_time_the_servers_clock_counts(queue: DueQueue) -> None:
    """Replicas with clocks of their own agree on what is due."""
    now = await queue.now()
    await queue.add("past", now - 5)
    await queue.add("to come", now + 3_600)
    (claim,) = await queue.claim()
    assert (claim.id, abs(claim.at - now) < 60) == ("past", True)


async def test_firing_sends_flags_and_acknowledges_in_one_step(queue: DueQueue, prefix: str) -> None:
    """The entry, the flag, the record and the next instant come together; a second firing sends nothing."""
    redis = queue._redis
    firing = Firing(flag=f"{prefix}:fired:x", stream=f"{prefix}:out", entry={"text": "tea? ☕"})
    for expected in (Settled.APPLIED, Settled.REPEATED):
        await queue.add("tea", NOW, AddMode.SET)
        (claim,) = await queue.claim(now=NOW)
        assert await queue.fire(claim.id, claim.token, firing, NOW + 60) is expected
    assert await queue.fire(claim.id, claim.token, firing) is Settled.STALE

    assert await redis.xlen(f"{prefix}:out") == 1
    assert 604_000_000 < await redis.pttl(f"{prefix}:fired:x") <= 604_800_000
    assert [claim.due_at for claim in await queue.claim(now=NOW + 60)] == [NOW + 60]


async def test_what_redis_refuses_of_one_claim_leaves_its_neighbours_alone(queue: DueQueue, prefix: str) -> None:
    """A stream of another type stops one firing before it changed anything; the next one is settled."""
    await queue._redis.set(f"{prefix}:out", "not a stream")
    await asyncio.gather(queue.add("a", NOW), queue.add("b", NOW))
    bad, good = await queue.claim(now=NOW)
    firing = Firing(flag=f"{prefix}:flag", stream=f"{prefix}:out", entry={"x": "y"})

    refused, applied = await queue.settle([Settlement(claim=bad, firing=firing), Settlement(claim=good)])

    assert (isinstance(refused, Exception), applied) == (True, Settled.APPLIED)
    assert await queue._redis.exists(f"{prefix}:flag") == 0
    assert [claim.id for claim in await queue.claim(now=NOW + 60)] == ["a"]


async def test_a_deleted_record_is_not_made_anew_by_a_late_answer(queue: DueQueue, prefix: str) -> None:
    """An erased prompt stays erased."""
    await queue.add("tea", NOW)
    (claim,) = await queue.claim(now=NOW)
    record = Record(key=f"{prefix}:prompt:tea", fields={"status": "done"})
    await queue.settle([Settlement(claim=claim, record=record)])
    assert await queue._redis.exists(record.key) == 0


@pytest.mark.parametrize("trouble", [asyncio.CancelledError, ValueError])
async def test_a_block_that_fails_or_is_cancelled_gives_its_claims_back(
    queue: DueQueue, trouble: type[BaseException]
) -> None:
    """What was settled stays settled; the rest is due at once, not after the lease."""
    await asyncio.gather(queue.add("a", NOW - 1), queue.add("b", NOW))

    async def half_done() -> None:
        async with queue.hold(now=NOW) as claims:
            await queue.ack(claims[0].id, claims[0].token)
            raise trouble

    with pytest.raises(trouble):
        await half_done()
    assert [(claim.id, claim.due_at) for claim in await queue.claim(now=NOW)] == [("b", NOW)]


@pytest.mark.parametrize("body_fails", [False, True], ids=["in the block", "while a failed block gives back"])
async def test_a_cancellation_at_any_moment_leaves_no_lease(queue: DueQueue, body_fails: bool) -> None:
    """The answer on its way is waited for, then given back; nothing of the block outlives it."""
    await queue.add("tea", NOW)

    async def holding() -> None:
        async with queue.hold(now=NOW):
            if body_fails:
                raise ValueError
            await asyncio.Event().wait()

    for turns in range(60):
        task = asyncio.get_running_loop().create_task(holding())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert await queue._redis.zcard(queue._keys.inflight) == 0, f"after {turns} turns of the loop"
    assert [claim.id for claim in await queue.claim(now=NOW)] == ["tea"]


async def test_a_store_that_says_nothing_holds_up_no_cancelled_block(queue: DueQueue) -> None:
    """The answer to a claim is waited for a second, no longer."""
    silent = CrashingClient(queue._redis, at=0, before=asyncio.Event().wait)

    async def holding() -> None:
        async with queue.hold(now=NOW):
            raise AssertionError("nothing was claimed")

    task = asyncio.get_running_loop().create_task(holding())
    while not silent.trips:  # noqa: ASYNC110 - the call is on its way
        await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(3 * GIVE_BACK_S):
        await asyncio.wait([task])
    assert task.cancelled()
