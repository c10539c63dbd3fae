"""The webhook sink against a real HTTP server: at least once, the occurrence as idempotency key, five tries."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError
from redis.asyncio import Redis

from background_tasks.authoring import TaskReport
from background_tasks.catalogue.scheduled_prompt_tick import Params, scheduled_prompt_tick
from background_tasks.errors import Ambiguous, BackgroundTaskError, Refused, Unavailable
from background_tasks.knowledge.keys import Keys
from background_tasks.knowledge.prompt_record import Status
from background_tasks.knowledge.prompts import PromptStore
from background_tasks.services.webhook import Hook, post
from background_tasks.testing import FrozenClock, a_run

pytestmark = pytest.mark.contract
NOON = 1_699_963_200.0
TEA: dict[str, object] = {
    "id": "tea ☕", "owner": "ann", "channel": "kitchen", "text": "tea?",
    "kind": "once", "expr": "2023-11-14T12:00:00Z",
}  # fmt: skip


@dataclass
class Stub:
    """A hook that answers by script: a status, or a misbehaviour; 204 when the script has ended."""

    script: list[int | str] = field(default_factory=list)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""
    at_once: int = 0
    most_at_once: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Note the call, then do as the script says."""
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.calls.append((request.headers["Idempotency-Key"], await request.json()))
            self.called.set()
            return await self._act(request, self.script.pop(0) if self.script else 204)
        finally:
            self.at_once -= 1

    async def _act(self, request: web.Request, act: int | str) -> web.StreamResponse:
        if isinstance(act, int):
            return web.Response(status=act, headers={"Location": self.url} if act == 302 else {})
        if act == "hang":
            await asyncio.sleep(30)
        elif request.transport is not None:
            request.transport.write(
                {"garbage": b"hello\r\n\r\n", "drip": b"HTT", "endless": b"x" * 9_000}.get(act, b"")
            )
            if act != "drip":
                request.transport.close()
            await asyncio.sleep(0.5 if act == "drip" else 0)
        return web.Response(status=500)


@pytest.fixture
async def hook() -> AsyncIterator[Stub]:
    """A running hook on a port of its own."""
    stub = Stub()
    app = web.Application()
    app.router.add_post("/hook", stub.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield stub
    await runner.cleanup()


@pytest.fixture
def clock() -> FrozenClock:
    """A clock that stands at noon."""
    return FrozenClock(NOON)


@pytest.fixture
def store(redis: Redis, prefix: str) -> PromptStore:
    """A store of the test's own."""
    return PromptStore(redis, Keys(f"{prefix}:"))


async def tick(store: PromptStore, clock: FrozenClock, hook: Stub) -> TaskReport:
    """Run the task once, with the hook as its sink."""
    with a_run(Params(sink="webhook", webhook_url=hook.url), clock=clock, prefix=store.keys.prefix):
        return await scheduled_prompt_tick(store._redis)


async def test_an_envelope_is_posted_with_its_occurrence_as_key(
    store: PromptStore, clock: FrozenClock, hook: Stub
) -> None:
    """What a header cannot hold is percent-encoded; the body has it as it is."""
    await store.add(TEA, now=NOON - 1)
    report = await tick(store, clock, hook)
    ((key, envelope),) = hook.calls
    assert key == '["tea %E2%98%95",1699963200000]'
    assert (envelope["occurrence"], envelope["text"]) == ('["tea ☕",1699963200000]', "tea?")
    assert (report.outcome, report.extra["fired"]) == ("ok", 1)
    assert await store._redis.exists(store.keys.inbound) == 0
    assert (await tick(store, clock, hook)).outcome == "noop"


async def test_a_refused_envelope_is_tried_five_times_with_doubling_waits_then_failed(
    store: PromptStore, clock: FrozenClock, hook: Stub
) -> None:
    """10, 20, 40, 80 seconds; the same occurrence each time; then a dead letter, and the owner can see why."""
    await store.add(TEA, now=NOON - 1)
    hook.script = [500] * 9
    tries = []
    for _ in range(200):
        report = await tick(store, clock, hook)
        tries += [clock.at - NOON] if report.extra["retry"] or report.extra["failed"] else []
        clock.advance(1)

    prompt = await store.get("tea ☕")
    assert prompt is not None
    assert tries == [0, 10, 30, 70, 150]
    assert len({key for key, _ in hook.calls}) == 1
    assert (prompt.status, prompt.fire_count, prompt.tries) == (Status.FAILED, 0, 0)
    assert "status 500" in prompt.error
    letters: Any = await store._redis.xrange(store.keys.dead_letters("scheduled_prompt_tick"))
    ((_, letter),) = letters
    assert json.loads(letter["envelope"])["text"] == "tea?"


async def test_a_recurring_prompt_outlives_a_failed_occurrence(
    store: PromptStore, clock: FrozenClock, hook: Stub
) -> None:
    """A hook that was down for three minutes does not end a daily reminder."""
    await store.add(TEA | {"id": "daily", "kind": "cron", "expr": "0 12 * * *"}, now=NOON - 1)
    hook.script = [503] * 5
    for wait in (10, 20, 40, 80, 86_400 - 150):
        await tick(store, clock, hook)
        clock.advance(wait)
    report = await tick(store, clock, hook)
    prompt = await store.get("daily")
    assert prompt is not None
    assert (report.extra["fired"], prompt.status, prompt.fire_count, len(hook.calls)) == (1, Status.ACTIVE, 1, 6)


async def test_a_hook_that_recovers_gets_the_occurrence_once_more(
    store: PromptStore, clock: FrozenClock, hook: Stub
) -> None:
    """Delivered at least once, under one key."""
    await store.add(TEA, now=NOON - 1)
    hook.script = [500, "garbage"]
    for wait in (10, 20, 40):
        await tick(store, clock, hook)
        clock.advance(wait)
    prompt = await store.get("tea ☕")
    assert prompt is not None
    assert (len(hook.calls), len({key for key, _ in hook.calls})) == (3, 1)
    assert (prompt.status, prompt.fire_count, prompt.error) == (Status.DONE, 1, "")


async def test_an_invalid_prompts_owner_is_told_over_the_hook_once(
    store: PromptStore, clock: FrozenClock, hook: Stub
) -> None:
    """A notice is delivered like a prompt, with tries."""
    await store.add(TEA | {"id": "bad"}, now=NOON - 1)
    await store._redis.hset(store.keys.prompt("bad"), "tz", "Mars/Base")
    hook.script = [500]
    for _ in range(3):
        await tick(store, clock, hook)
        clock.advance(30)
    assert [envelope["kind"] for _, envelope in hook.calls] == ["prompt_invalid"] * 2
    assert await store._redis.hget(store.keys.prompt("bad"), "status") == "invalid"


async def test_no_more_is_claimed_than_can_be_delivered_within_the_lease(
    store: PromptStore, clock: FrozenClock, hook: Stub
) -> None:
    """Ten at once by default; all are delivered in one run."""
    for number in range(35):
        await store.add(TEA | {"id": f"tea-{number}"}, now=NOON - 1)
    report = await tick(store, clock, hook)
    assert (report.extra["fired"], len(hook.calls), hook.most_at_once <= 10) == (35, 35, True)


async def test_a_cancellation_during_a_delivery_ends_at_once_and_leaves_no_lease(
    store: PromptStore, clock: FrozenClock, hook: Stub
) -> None:
    """A hook that hangs holds nobody up; the prompt is due again."""
    await store.add(TEA, now=NOON - 1)
    hook.script = ["hang"]
    run = asyncio.get_running_loop().create_task(tick(store, clock, hook))
    async with asyncio.timeout(5):
        await hook.called.wait()
        run.cancel()
        await asyncio.wait([run])
    assert run.cancelled()
    assert [claim.id for claim in await store.queue.claim(now=NOON)] == ["tea ☕"]


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (302, Unavailable), (400, Unavailable), (429, Unavailable), (500, Unavailable), ("garbage", Unavailable),
        ("endless", Ambiguous), ("close", Ambiguous), ("hang", Ambiguous), ("drip", Ambiguous),
    ],
)  # fmt: skip
async def test_what_is_no_2xx_is_not_delivered(hook: Stub, act: int | str, error: type[BackgroundTaskError]) -> None:
    """A status says that it was not taken; silence leaves it open."""
    hook.script = [act]
    with pytest.raises(error) as raised:
        await post(Hook.parse(hook.url), "{}", key="k", timeout_s=0.2)
    assert type(raised.value) is error


async def test_a_hook_that_is_not_there_took_nothing() -> None:
    """A refused connection is known not to have happened."""
    with pytest.raises(Unavailable) as raised:
        await post(Hook.parse("http://127.0.0.1:9/"), "{}", key="k")
    assert type(raised.value) is Unavailable


@pytest.mark.parametrize(
    "url",
    ["", "ftp://x/", "http://", "http://a b/", "http://u:p@h/", "http://h:99999/", "http://h/\r\nX: y", "http://hö/"],
)
def test_an_address_that_is_no_hook_is_refused(url: str) -> None:
    """Nobody smuggles a header or a password in."""
    with pytest.raises(Refused, match="webhook_url"):
        Hook.parse(url)


def test_params_that_contradict_each_other_are_refused() -> None:
    """A delivery may not outlast the lease; a webhook needs an address."""
    with pytest.raises(ValidationError, match="under lease_s"):
        Params(sink="webhook", webhook_url="http://h/", webhook_timeout_s=60)
    with pytest.raises(ValidationError, match="webhook_url"):
        Params(sink="webhook")
