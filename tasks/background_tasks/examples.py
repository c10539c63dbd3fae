"""Small tasks that the samples run: one per feature, each short enough to be copied.

Not here: anything useful to an application; that is the catalogue.
"""

import asyncio
import hashlib
import time

from pydantic import Field

from background_tasks.authoring import RunContext, TaskParams, TaskReport, background_task


class Greeting(TaskParams):
    """What `spec.params` of `example_greet` may say."""

    name: str = Field("world", min_length=1, max_length=80, description="Who is greeted.")


@background_task(interval=60, params=Greeting)
async def example_greet(ctx: RunContext[Greeting]) -> TaskReport:
    """Greet somebody; shows validated params and the run's context."""
    ctx.logger.info("hello", name=ctx.params.name, attempt=ctx.attempt)
    return TaskReport(items_in=1, extra={"greeted": ctx.params.name})


class Work(TaskParams):
    """How long the piece of work takes."""

    seconds: float = Field(0.05, ge=0, le=3600, description="Seconds of work.")


@background_task(interval=60, params=Work)
async def example_work(ctx: RunContext[Work]) -> TaskReport:
    """Wait as a call to some service would."""
    await asyncio.sleep(ctx.params.seconds)
    return TaskReport(items_in=1)


@background_task(interval=60, params=Work)
async def example_block(params: Work) -> TaskReport:
    """Hold the thread it runs on, as a synchronous library does; belongs to `isolation: Thread`."""
    time.sleep(params.seconds)  # noqa: ASYNC251  # the point of this example
    return TaskReport(items_in=1)


class Digest(TaskParams):
    """How much is computed."""

    rounds: int = Field(50_000, ge=1, le=10_000_000, description="Rounds of hashing.")


@background_task(interval=60, params=Digest)
async def example_compute(params: Digest) -> TaskReport:
    """Burn processor time in pure Python; belongs to `isolation: Process`."""
    value = b""
    for _ in range(params.rounds):
        value = hashlib.sha256(value).digest()
    return TaskReport(items_in=params.rounds, extra={"digest": value.hex()[:12]})


@background_task(interval=60)
async def example_flaky(ctx: RunContext[None]) -> TaskReport:
    """Fail at the first attempt and succeed at the second; shows `retry`."""
    if ctx.attempt == 1:
        raise ConnectionError("the first attempt always fails; the retry succeeds")
    return TaskReport(items_in=1)


@background_task(interval=60)
async def example_fail() -> None:
    """Fail at every attempt; shows `breaker` and what a person sees of a failure."""
    raise RuntimeError("this example always fails, so that its breaker opens")


@background_task(interval=60)
async def example_follow(ctx: RunContext[None]) -> TaskReport:
    """Live for five seconds and report each second; shows `continuous`."""
    for beat in range(5):
        await asyncio.sleep(1)
        ctx.report(TaskReport(items_in=beat + 1))
    return TaskReport(items_in=5)


@background_task(interval=60)
async def example_act_once(ctx: RunContext[None]) -> TaskReport:
    """Check the lease before acting, and hand the fence to whoever takes the effect."""
    await ctx.verify_leadership()
    return TaskReport(items_in=1, extra={"fence": str(ctx.fence)})
