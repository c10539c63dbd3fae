"""The catalogue in a program of its own, over a real Redis: what is registered really runs."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from background_tasks import build_scheduler
from background_tasks.knowledge.keys import Keys
from background_tasks.knowledge.prompts import PromptStore
from background_tasks.services.redis import connect

pytestmark = pytest.mark.contract
DEADLINE_S = 20.0
PROMPT = {"owner": "ann", "channel": "kitchen", "text": "tea?", "kind": "cron", "expr": "0 * * * *"}


async def test_a_due_prompt_fires_under_a_plain_scheduler(redis: Redis) -> None:
    """`build_scheduler(redis)`, `start`, and the prompt is in the inbound stream; after `stop` nothing runs."""
    store = PromptStore(redis)
    await store.add(PROMPT, now=1_700_000_000)
    scheduler = build_scheduler(redis)
    await scheduler.start()
    try:
        await _arrives(redis, store.keys)
    finally:
        await scheduler.stop()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not [task for task in others if "scheduler" in task.get_name()]


async def test_a_redis_that_is_away_stops_no_schedule() -> None:
    """Runs fail and are logged; the scheduler stays, and stops when it is told to."""
    nobody = connect("redis://127.0.0.1:1")
    failed = asyncio.Event()

    async def unharmed() -> None:
        failed.set()

    scheduler = build_scheduler(nobody)
    scheduler.register("unharmed", unharmed, interval=60, initial_delay=0.2)
    await scheduler.start()
    async with asyncio.timeout(DEADLINE_S):
        await failed.wait()
    await scheduler.stop()
    await nobody.aclose()


async def _arrives(redis: Redis, keys: Keys) -> None:
    """Wait for an entry of the inbound stream; the deadline names what is missing."""
    entries: Any = None
    async with asyncio.timeout(DEADLINE_S):
        while not entries:
            entries = await redis.xread({keys.inbound: 0}, block=500)
    assert len(entries) == 1
