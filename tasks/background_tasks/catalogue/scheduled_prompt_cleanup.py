"""`scheduled_prompt_cleanup`: finished prompts do not pile up; an active, due or claimed one is never touched."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import Field

from background_tasks.authoring import RunContext, TaskParams, TaskReport, background_task
from background_tasks.knowledge.context import injected_now, run_context
from background_tasks.knowledge.prompt_sweep import PromptSweep, Swept
from background_tasks.knowledge.prompts import PromptStore
from background_tasks.knowledge.reports import publish

if TYPE_CHECKING:
    from redis.asyncio import Redis

TASK = "scheduled_prompt_cleanup"
NAMED = 10
"""Stranded prompts that the report names; all are counted."""


class Params(TaskParams):
    """What `spec.params` may say."""

    days_to_keep: float = Field(7.0, ge=0, description="Days for which an ended prompt can still be read.")
    orphan_age_s: float = Field(3_600.0, ge=60, description="Seconds before a record or entry counts as lost.")
    chunk: int = Field(500, ge=1, le=5_000, description="Prompts per script: a few milliseconds of Redis.")
    scan_count: int = Field(1_000, ge=10, le=10_000, description="Keys that one SCAN call looks at.")
    run_s: float = Field(600.0, gt=0, description="Seconds after which a run leaves the rest to the next one.")
    dry_run: bool = Field(False, description="Count what would go and delete nothing.")


@dataclass(slots=True)
class Tally:
    """What a run has done so far."""

    finished: int = 0
    index_without_record: int = 0
    record_without_index: int = 0
    stranded: dict[str, None] = field(default_factory=dict)

    def add(self, swept: Swept) -> None:
        """Count one step."""
        self.finished += swept.finished
        self.index_without_record += swept.index_without_record
        self.record_without_index += swept.record_without_index
        self.stranded.update(dict.fromkeys(swept.stranded))


@background_task(interval=48 * 3_600, requires_redis=True, params=Params)
async def scheduled_prompt_cleanup(redis: "Redis") -> TaskReport:
    """Delete prompts that ended over `days_to_keep` ago, then orphans; a second run deletes nothing more.

    Raises `Unavailable` when Redis does not answer; what was deleted until then stays deleted, the rest follows.
    """
    run = run_context(Params, TASK)
    params, store, tally, start = run.params, PromptStore(redis), Tally(), run.clock.monotonic()
    sweep = PromptSweep(
        redis=redis, keys=store.keys, chunk=params.chunk, scan_count=params.scan_count, dry_run=params.dry_run
    )
    in_time = True
    async with aclosing(_steps(sweep, store, run)) as steps:
        async for swept in steps:
            tally.add(swept)
            in_time = run.clock.monotonic() - start < params.run_s
            if not in_time:
                break
    named = {"run_id": run.run_id, "duration_ms": (run.clock.monotonic() - start) * 1000}
    report = report_of(tally, remaining=await sweep.remaining(), in_time=in_time)
    return await publish(report.model_copy(update=named), redis, keys=store.keys)


async def _steps(sweep: PromptSweep, store: PromptStore, run: RunContext[Params]) -> AsyncGenerator[Swept]:
    """Go through the sweeps in order; before each, ask whether this run may still act."""
    injected = injected_now(run.clock)
    now = await store.queue.now() if injected is None else injected
    lost = now - run.params.orphan_age_s
    for steps in (
        sweep.finished(now - run.params.days_to_keep * 86_400),
        sweep.bare_entries(lost),
        sweep.lost_records(lost, now),
    ):
        await run.verify_leadership()
        async for swept in steps:
            yield swept


def report_of(tally: Tally, *, remaining: int, in_time: bool) -> TaskReport:
    """Make the report; `deleted` counts records, entries without one stand in `extra`."""
    deleted = tally.finished + tally.record_without_index
    return TaskReport(
        task=TASK,
        outcome="partial" if not in_time else "ok" if deleted or tally.index_without_record else "noop",
        reason="" if in_time else "time",
        deleted=deleted,
        errors=[f"prompt {id!r} is active but in no index: add it again" for id in list(tally.stranded)[:NAMED]],
        extra={
            "finished": tally.finished,
            "orphans": {
                "record_without_index": tally.record_without_index,
                "index_without_record": tally.index_without_record,
            },
            "stranded": len(tally.stranded),
            "remaining": remaining,
        },
    )
