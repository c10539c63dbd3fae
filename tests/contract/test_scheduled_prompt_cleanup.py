"""Ended prompts go after a week, orphans after an hour; what is active, due or claimed is never touched."""

import asyncio
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from background_tasks.authoring import TaskReport, declaration_of, enter_run
from background_tasks.catalogue.scheduled_prompt_cleanup import Params, scheduled_prompt_cleanup
from background_tasks.errors import NotLeader
from background_tasks.knowledge.keys import Keys
from background_tasks.knowledge.prompts import PromptStore
from background_tasks.local.embedded import EmbeddedServer
from background_tasks.services.redis import connect
from background_tasks.testing import CrashingClient, FrozenClock, a_run
from background_tasks.testing.crashes import Crash

pytestmark = pytest.mark.contract
NOW = 1_700_000_000.0
HOUR, DAY = 3_600, 86_400
SMALL = Params(chunk=2, scan_count=10)
AGES = [-HOUR, 0, HOUR - 1, HOUR + 1, 7 * DAY - 1, 7 * DAY + 1]
"""Seconds before now, on both sides of each limit; the first is still to come."""
IDS = ["a", "a:b", "ünï ☕", 'q"*[x]', "fire"]

type Dump = dict[str, Any]


@dataclass(frozen=True)
class One:
    """What is stored about one id; ages in seconds, None: not there."""

    status: str | None
    """None: no record. `text`: a key of another type."""
    written: int | str | None
    due: int | None
    inflight: int | None
    done: int | None

    @property
    def indexed(self) -> bool:
        """Whether any index knows it."""
        return (self.due, self.inflight, self.done) != (None, None, None)


def swept(one: One) -> One:
    """Say what the cleanup leaves of it: the oracle."""
    if one.status is None:
        old = {name: None for name in ("due", "inflight", "done") if (getattr(one, name) or 0) > HOUR}
        return replace(one, **old)
    if one.status == "active" or one.due is not None or one.inflight is not None:
        return one
    if one.done is not None:
        return One(None, None, None, None, None) if one.done > 7 * DAY else one
    lost = one.status != "text" and isinstance(one.written, int) and one.written > HOUR
    return One(None, None, None, None, None) if lost else one


age = st.none() | st.sampled_from(AGES)
states = st.dictionaries(
    st.sampled_from(IDS),
    st.builds(
        One,
        status=st.none() | st.sampled_from(["active", "done", "cancelled", "invalid", "text", "rubbish"]),
        written=st.none() | st.just("soon") | st.sampled_from(AGES),
        due=age, inflight=age, done=age,
    ),
)  # fmt: skip


async def lay(redis: Any, keys: Keys, state: dict[str, One]) -> None:
    """Store a state, however broken."""
    queue = keys.queue("prompts")
    for id, one in state.items():
        for index, aged in ((queue.due, one.due), (queue.inflight, one.inflight), (queue.done, one.done)):
            if aged is not None:
                await redis.zadd(index, {id: round((NOW - aged) * 1000)})
        if one.status == "text":
            await redis.set(keys.prompt(id), "text")
        elif one.status is not None:
            dated = one.written if not isinstance(one.written, int) else round((NOW - one.written) * 1000)
            await redis.hset(
                keys.prompt(id), mapping={"status": one.status} | ({} if dated is None else {"updated_at": dated})
            )


async def stored(redis: Any, keys: Keys) -> Dump:
    """Show all that is left: records and indexes."""
    queue = keys.queue("prompts")
    return {
        "records": sorted(key for key in await redis.keys() if key.startswith(keys.prompt_prefix)),
        **{name: await redis.zrange(getattr(queue, name), 0, -1) for name in ("due", "inflight", "done")},
    }


async def clean(redis: Redis, keys: Keys, params: Params = SMALL, at: float = NOW) -> TaskReport:
    """Run the task once."""
    with a_run(params, clock=FrozenClock(at), prefix=keys.prefix):
        return await scheduled_prompt_cleanup(redis)


def expected(keys: Keys, state: dict[str, One]) -> Dump:
    """Show what the oracle leaves of a state."""
    left = {id: swept(one) for id, one in state.items()}
    return {
        "records": sorted(keys.prompt(id) for id, one in left.items() if one.status is not None),
        **{
            name: [
                id for _, _, id in sorted(
                    (-getattr(one, name), id.encode(), id) for id, one in left.items() if getattr(one, name) is not None
                )
            ]
            for name in ("due", "inflight", "done")
        },
    }  # fmt: skip


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """A loop for a test that is not one itself."""
    with asyncio.Runner() as loop:
        yield loop


def test_it_is_declared_as_the_catalogue_says() -> None:
    """Every two days, needs Redis, keeps a week."""
    declared = declaration_of(scheduled_prompt_cleanup)
    assert declared is not None
    assert list(inspect.signature(scheduled_prompt_cleanup).parameters) == ["redis"]
    assert (declared.interval, declared.requires, declared.requires_chat_llm) == (
        172_800.0,
        frozenset({"redis"}),
        False,
    )
    assert Params().days_to_keep == 7


def test_of_any_state_the_oracles_set_is_kept(embedded: EmbeddedServer, runner: asyncio.Runner) -> None:
    """500 random states, garbage included; the report is what went, a dry run foretells it, a second is noop.

    The prefix holds characters that a SCAN pattern would take for its own.
    """
    keys, client = Keys("a[1]*:"), connect(embedded.url)

    async def story(state: dict[str, One]) -> None:
        await client.flushall()
        await lay(client, keys, state)
        before = await stored(client, keys)
        dry = await clean(client, keys, SMALL.model_copy(update={"dry_run": True}))
        assert await stored(client, keys) == before

        report = await clean(client, keys)
        left = await stored(client, keys)

        assert left == expected(keys, state)
        assert report.deleted == len(before["records"]) - len(left["records"])
        assert (dry.deleted, dry.extra["orphans"]) == (report.deleted, report.extra["orphans"])
        assert ((await clean(client, keys)).outcome, await stored(client, keys)) == ("noop", left)

    @settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
    @given(state=states)
    def law(state: dict[str, One]) -> None:
        runner.run(story(state))

    law()
    runner.run(client.aclose())


STATE = {
    "old": One("done", 8 * DAY, None, None, 8 * DAY),
    "older": One("cancelled", 9 * DAY, None, None, 9 * DAY),
    "young": One("done", DAY, None, None, DAY),
    "active": One("active", 9 * DAY, -60, None, None),
    "revived": One("active", 0, -60, None, None),
    "lost": One("failed", 2 * HOUR, None, None, None),
    "bare": One(None, None, None, None, 2 * HOUR),
    "stranded": One("active", 9 * DAY, None, None, None),
}


@pytest.fixture
def keys(prefix: str) -> Keys:
    """Keys of the test's own."""
    return Keys(f"{prefix}:")


async def test_the_report_counts_by_kind_and_names_what_is_stranded(redis: Redis, keys: Keys) -> None:
    """An active prompt that no index knows will not fire: somebody must hear of it."""
    await lay(redis, keys, STATE)
    report = await clean(redis, keys)
    assert (report.outcome, report.deleted) == ("ok", 3)
    assert report.extra == {
        "finished": 2, "orphans": {"record_without_index": 1, "index_without_record": 1}, "stranded": 1, "remaining": 1,
    }  # fmt: skip
    assert report.errors == ["prompt 'stranded' is active but in no index: add it again"]


async def test_a_prompt_revived_at_any_moment_of_the_sweep_lives(
    redis: Redis, embedded: EmbeddedServer, keys: Keys
) -> None:
    """Whatever call it comes before: the record is looked at again by the script that deletes."""
    draft: dict[str, object] = {"id": "old", "owner": "o", "channel": "c", "text": "t", "kind": "cron"}
    for moment in range(8):
        await redis.flushall()
        await lay(redis, keys, STATE)
        client = connect(embedded.url)
        send, calls = client.execute_command, iter(range(100))

        async def meanwhile(*args: Any, at: int = moment, send: Any = send, calls: Any = calls, **kwargs: Any) -> Any:
            if next(calls) == at:
                await PromptStore(redis, keys).add(draft | {"expr": "* * * * *"}, now=NOW)
            return await send(*args, **kwargs)

        vars(client)["execute_command"] = meanwhile
        await clean(client, keys)
        await client.aclose()
        prompt = await PromptStore(redis, keys).get("old")
        claims = await PromptStore(redis, keys).queue.claim(now=NOW + 60)
        assert prompt is not None, f"revived before call {moment}"
        assert sorted(claim.id for claim in claims) == ["active", "old", "revived"]


@pytest.mark.parametrize("obeyed", [False, True])
async def test_a_kill_at_any_call_is_made_good_by_the_next_run(
    redis: Redis, embedded: EmbeddedServer, keys: Keys, *, obeyed: bool
) -> None:
    """What was deleted stays deleted, the rest follows."""
    counting = CrashingClient(connect(embedded.url), at=None)
    await lay(redis, keys, STATE)
    await clean(counting.client, keys)
    world = await stored(redis, keys)
    for at in range(counting.trips):
        await redis.flushall()
        await lay(redis, keys, STATE)
        dying = CrashingClient(connect(embedded.url), at=at, obeyed=obeyed)
        with pytest.raises(Crash):
            await clean(dying.client, keys)
        await clean(redis, keys)
        assert await stored(redis, keys) == world, f"killed at call {at}"
        await dying.client.aclose()
    await counting.client.aclose()


async def test_a_run_that_may_not_act_any_more_deletes_nothing(redis: Redis, keys: Keys) -> None:
    """Leadership is asked for before each sweep."""

    async def lost() -> None:
        raise NotLeader("slot 3 was taken")

    await lay(redis, keys, STATE)
    before = await stored(redis, keys)
    with a_run(SMALL, clock=FrozenClock(NOW), prefix=keys.prefix) as run:
        enter_run(replace(run, on_verify=lost))
        with pytest.raises(NotLeader):
            await scheduled_prompt_cleanup(redis)
    assert await stored(redis, keys) == before


async def test_a_record_without_a_date_gets_one_and_goes_an_hour_later(redis: Redis, keys: Keys) -> None:
    """Its age is unknown, so it is given the benefit of the doubt once."""
    await lay(redis, keys, {"x": One("done", "soon", None, None, None)})
    assert (await clean(redis, keys)).deleted == 0
    assert (await clean(redis, keys, at=NOW + HOUR)).deleted == 0
    assert (await clean(redis, keys, at=NOW + HOUR + 1)).deleted == 1


async def test_a_run_out_of_time_leaves_the_rest_to_the_next(redis: Redis, keys: Keys) -> None:
    """It says so."""
    await lay(redis, keys, STATE)
    clock = FrozenClock(NOW)
    vars(clock)["monotonic"] = lambda: clock.advance(1.0) or clock.at  # type: ignore[func-returns-value]
    with a_run(Params(chunk=1, run_s=1), clock=clock, prefix=keys.prefix):
        report = await scheduled_prompt_cleanup(redis)
    assert (report.outcome, report.reason, report.deleted) == ("partial", "time", 1)
    assert (await clean(redis, keys)).deleted == 2


async def test_many_finished_prompts_go_in_short_calls(redis: Any, keys: Keys) -> None:
    """5,000 here; `prompts_cleanup_s` measures 100,000. No script holds the server for 50 ms."""
    async with redis.pipeline(transaction=False) as pipe:
        for number in range(5_000):
            pipe.hset(keys.prompt(str(number)), mapping={"status": "done", "text": "x" * 100})
            pipe.zadd(keys.queue("prompts").done, {str(number): (NOW - 8 * DAY) * 1000})
        await pipe.execute()
    await redis.config_set("slowlog-log-slower-than", 50_000)
    await redis.slowlog_reset()
    report = await clean(redis, keys, Params())
    assert (report.deleted, report.extra["remaining"], await redis.slowlog_len()) == (5_000, 0, 0)
