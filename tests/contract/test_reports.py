"""A finished report goes to the runs stream and the topic, and never turns a success into a failure."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from background_tasks.authoring import TaskParams, TaskReport
from background_tasks.knowledge.keys import Keys
from background_tasks.knowledge.reports import publish
from background_tasks.services.redis import connect
from background_tasks.testing import a_run

pytestmark = pytest.mark.contract


async def test_a_report_is_kept_and_told_to_subscribers(redis: Any, prefix: str) -> None:
    """Named after the run where it has no name yet."""
    keys = Keys(f"{prefix}:")
    async with redis.pubsub() as listener, asyncio.timeout(5):
        await listener.subscribe(keys.events("kg_decay"))
        await listener.get_message(timeout=5)
        with a_run(TaskParams(), run_id="r-1"):
            sent = await publish(TaskReport(task="kg_decay", updated=3), redis, topic="kg_decay", keys=keys)
        message = await listener.get_message(timeout=5)

    ((_, kept),) = await redis.xrange(keys.runs)
    assert (sent.task, sent.run_id) == ("kg_decay", "r-1")
    assert kept == {"task": "kg_decay", "report": sent.model_dump_json()}
    assert TaskReport.model_validate_json(message["data"]) == sent


async def test_a_store_that_is_not_there_is_logged_and_the_report_returned(redis: Redis) -> None:
    """The effect is already made."""
    nowhere = connect("redis://127.0.0.1:1/0")
    report = TaskReport(task="t", run_id="r")
    assert await publish(report, nowhere) == report
    assert await publish(report, None) == report
    await nowhere.aclose()


async def test_a_fault_that_quotes_a_secret_is_told_without_it(redis: Any, prefix: str) -> None:
    """Whatever part of the report quotes the data, nobody gets to read it."""
    keys, said = Keys(f"{prefix}:"), "expr is 'password=hunter2-FAKE'"
    report = TaskReport(task="t", reason=said, errors=[said], extra={"steps": {"consent": {"failed": said}}, "n": [1]})

    sent = await publish(report, redis, keys=keys)

    ((_, kept),) = await redis.xrange(keys.runs)
    assert (sent.errors, sent.extra["n"]) == (["expr is 'password=[redacted]'"], [1])
    assert "hunter2" not in sent.model_dump_json() + kept["report"]
