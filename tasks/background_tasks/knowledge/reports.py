"""Where a finished report goes: the log, the `runs` stream, the topic's subscribers. The scheduler gets it by return.

Not here: status and metrics (the worker makes them of the returned report). The effect is already made when a report
goes out, so a store that does not answer is logged and does not turn a success into a failure.
"""

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, cast

import structlog

from background_tasks.authoring import TaskReport, current_run
from background_tasks.errors import Unavailable
from background_tasks.knowledge.keys import Keys, keys_of_run
from background_tasks.knowledge.redaction import redact
from background_tasks.services.redis import redis_errors

if TYPE_CHECKING:
    from redis.asyncio import Redis

RUNS_KEPT = 10_000
"""About: Redis trims whole nodes of the stream."""


async def publish(
    report: TaskReport, redis: "Redis | None", *, topic: str | None = None, keys: Keys | None = None
) -> TaskReport:
    """Send the report out and return it, named after the run that is going on where it has no name yet.

    A fault may quote the data that it is about, so secrets in `reason`, `errors` and `extra` are masked first.
    `redis` None: only to the log. `topic` is also sent to Pub/Sub `sg:events:{topic}`.
    """
    named = _masked(_named(report))
    log = structlog.get_logger("background_tasks").bind(task=named.task, run_id=named.run_id)
    log.info("task_report", **named.model_dump(exclude_defaults=True, exclude={"task", "run_id"}))
    if redis is None:
        return named
    try:
        await _send(redis, named, topic, keys or keys_of_run())
    except Unavailable as error:
        log.warning("task_report_not_published", error=str(error))
    return named


def _named(report: TaskReport) -> TaskReport:
    run = current_run()
    if run is None:
        return report
    return report.model_copy(
        update={"task": report.task or run.task.policy.coroutine, "run_id": report.run_id or run.run_id}
    )


def _masked(report: TaskReport) -> TaskReport:
    return report.model_copy(update={name: _mask(getattr(report, name)) for name in ("reason", "errors", "extra")})


def _mask(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {name: _mask(one) for name, one in value.items()}
    return [_mask(one) for one in value] if isinstance(value, list | tuple) else value


async def _send(redis: "Redis", report: TaskReport, topic: str | None, keys: Keys) -> None:
    body = report.model_dump_json()
    with redis_errors("publish report"):
        await cast(
            Awaitable[object],
            redis.xadd(keys.runs, {"task": report.task, "report": body}, maxlen=RUNS_KEPT, approximate=True),
        )
        if topic is not None:
            await cast(Awaitable[object], redis.publish(keys.events(topic), body))
