"""A task module of the tests, mounted into workers: each run posts its beginning and its end to the recorder.

Not here: who reads it (`tests/e2e/recorder.py`).
"""

import asyncio
import json
import os
import urllib.request

from background_tasks import RunContext, TaskParams, background_task

TIMEOUT_S = 5


class Params(TaskParams):
    """Where runs are told, and how long one takes."""

    url: str
    seconds: float = 0


@background_task(interval=60, params=Params)
async def record(ctx: RunContext[Params]) -> None:
    """Tell the beginning, wait, tell the end."""
    await _tell(ctx, "begun")
    await asyncio.sleep(ctx.params.seconds)
    await _tell(ctx, "ended")


async def _tell(ctx: RunContext[Params], what: str) -> None:
    line = {
        "task": ctx.task.name,
        "what": what,
        "fire": ctx.scheduled_for,
        "run": ctx.run_id,
        "pod": os.environ["HOSTNAME"],
        "fence": str(ctx.fence),
        "at": ctx.clock.wall(),
    }
    await asyncio.to_thread(_post, ctx.params.url, json.dumps(line))


def _post(url: str, line: str) -> None:
    urllib.request.urlopen(urllib.request.Request(url, line.encode(), method="POST"), timeout=TIMEOUT_S).close()
