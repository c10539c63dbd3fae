"""`scheduled_prompt_tick`: reminders and recurring prompts go off, each occurrence once for any number of workers."""

import asyncio
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from background_tasks.authoring import RunContext, TaskParams, TaskReport, background_task
from background_tasks.errors import Refused, Unavailable
from background_tasks.knowledge.context import injected_now, run_context
from background_tasks.knowledge.due_queue import Settled
from background_tasks.knowledge.prompt_firing import TASK, Planned, Rules, Step, plan_claim, refused
from background_tasks.knowledge.prompts import PromptStore
from background_tasks.knowledge.reports import publish
from background_tasks.services.webhook import Hook, post

if TYPE_CHECKING:
    from redis.asyncio import Redis

TOLD_ERRORS = 10


class Params(TaskParams):
    """What `spec.params` may say."""

    claim_limit: int = Field(100, ge=1, le=1_000, description="Prompts taken at once.")
    lease_s: float = Field(60.0, gt=0, description="Seconds after which what a crashed worker held is taken over.")
    run_s: float = Field(50.0, gt=0, description="Seconds after which a run leaves the rest to the next one.")
    catch_up: int = Field(10, ge=1, le=100, description="Most due instants of one prompt that are considered.")
    flag_days: float = Field(7.0, gt=0, description="Days for which a fired occurrence is remembered.")
    sink: Literal["stream", "webhook"] = Field("stream", description="Where envelopes go.")
    webhook_url: str = Field("", description="http(s) address that gets a POST per envelope.")
    webhook_timeout_s: float = Field(10.0, gt=0, description="Seconds for one delivery.")
    webhook_tries: int = Field(5, ge=1, le=20, description="Deliveries of one envelope before it is given up.")
    webhook_backoff_s: float = Field(10.0, gt=0, description="Seconds before the second try; doubles each time.")
    webhook_parallel: int = Field(10, ge=1, le=100, description="Deliveries at once.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.sink == "webhook":
            try:
                Hook.parse(self.webhook_url)
            except Refused as refused_url:
                raise ValueError(str(refused_url)) from refused_url
            if self.webhook_timeout_s >= self.lease_s:
                raise ValueError("webhook_timeout_s must be under lease_s: else another worker delivers meanwhile")
        return self

    @property
    def rules(self) -> Rules:
        """What the decisions need of it."""
        return Rules(
            catch_up=self.catch_up,
            flag_life_s=self.flag_days * 86_400,
            to_stream=self.sink == "stream",
            max_tries=self.webhook_tries,
            backoff_s=self.webhook_backoff_s,
        )

    @property
    def batch(self) -> int:
        """How many to claim at once: never more than can be delivered within the lease."""
        return self.claim_limit if self.sink == "stream" else self.webhook_parallel


@dataclass(slots=True)
class Tally:
    """What a run has done so far; only what Redis confirmed is counted."""

    due: int = 0
    steps: Counter[Step] = field(default_factory=Counter)
    stale: int = 0
    repeated: int = 0
    notices: int = 0
    left_out: int = 0
    lateness: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def count(self, planned: Planned, outcome: Settled | Exception) -> None:
        """Count one settlement."""
        if isinstance(outcome, Exception):
            self.errors.append(f"{planned.settlement.claim.id!r}: {outcome}")
        elif outcome is Settled.STALE:
            self.stale += 1
        elif outcome is Settled.REPEATED:
            self.repeated += 1
        else:
            self._applied(planned)

    def _applied(self, planned: Planned) -> None:
        self.steps[planned.step] += 1
        self.left_out += planned.left_out
        if planned.reason:
            self.errors.append(planned.reason)
        if planned.step is Step.INVALID and planned.settlement.firing is not None:
            self.notices += 1
        if planned.step is Step.FIRED and planned.envelope is not None:
            self.lateness.append(planned.envelope.fired_at - planned.envelope.scheduled_for)


@background_task(interval=60, requires_redis=True, requires_chat_llm=True, params=Params)
async def scheduled_prompt_tick(redis: "Redis") -> TaskReport:
    """Fire what is due until nothing is, or the run's time is up; the rest waits for the next run.

    An envelope and its prompt's next instant are one script, so a crash loses and doubles nothing. Raises
    `Unavailable` when Redis does not answer or takes nothing.
    """
    run = run_context(Params, TASK)
    store, tally, start = PromptStore(redis), Tally(), run.clock.monotonic()
    in_time = True
    while in_time and await _round(store, run, tally):
        in_time = run.clock.monotonic() - start < run.params.run_s
    if tally.errors and not sum(tally.steps.values()):
        raise Unavailable(f"{len(tally.errors)} prompts could not be settled: {tally.errors[0]}")
    named = {"run_id": run.run_id, "duration_ms": (run.clock.monotonic() - start) * 1000}
    return await publish(report_of(tally, in_time=in_time).model_copy(update=named), redis, keys=store.keys)


async def _round(store: PromptStore, run: RunContext[Params], tally: Tally) -> bool:
    """Claim, decide, deliver, settle once; False when nothing was due."""
    params, now = run.params, injected_now(run.clock)
    async with store.queue.hold(params.batch, params.lease_s, now=now) as claims:
        if not claims:
            return False
        records = await store.read([claim.id for claim in claims])
        rules = params.rules
        plans = [plan_claim(claim, fields, rules, store.keys) for claim, fields in zip(claims, records, strict=True)]
        if params.sink == "webhook":
            plans = await _deliver(plans, store, run)
        outcomes = await store.queue.settle([planned.settlement for planned in plans], now=now)
    tally.due += len(claims)
    for planned, outcome in zip(plans, outcomes, strict=True):
        tally.count(planned, outcome)
    return True


async def _deliver(plans: Sequence[Planned], store: PromptStore, run: RunContext[Params]) -> list[Planned]:
    """POST every envelope of a round at once; what was refused is planned anew."""
    hook, start = Hook.parse(run.params.webhook_url), run.clock.monotonic()

    async def deliver(planned: Planned) -> Planned:
        envelope = planned.envelope
        if envelope is None:
            return planned
        try:
            await post(
                hook, envelope.model_dump_json(), key=envelope.occurrence, timeout_s=run.params.webhook_timeout_s
            )
        except Unavailable as error:
            at = planned.settlement.claim.at + run.clock.monotonic() - start
            return refused(planned, str(error), at, run.params.rules, store.keys)
        return planned

    async with asyncio.TaskGroup() as group:
        delivering = [group.create_task(deliver(planned)) for planned in plans]
    return [one.result() for one in delivering]


def report_of(tally: Tally, *, in_time: bool) -> TaskReport:
    """Make the report; its numbers are what was confirmed."""
    steps = tally.steps
    unfinished = not in_time or bool(tally.errors) or steps[Step.FAILED] or steps[Step.RETRY]
    p50, p95 = _quantiles(tally.lateness)
    return TaskReport(
        task=TASK,
        outcome="partial" if unfinished else "ok" if tally.due else "noop",
        reason="" if in_time else "time",
        items_in=tally.due,
        created=steps[Step.FIRED] + tally.notices,
        updated=sum(steps[step] for step in Step if step not in {Step.DROPPED, Step.EARLY}),
        lag_s=max(tally.lateness, default=None),
        errors=tally.errors[:TOLD_ERRORS],
        extra={
            "due": tally.due,
            **{step.value: steps[step] for step in Step},
            "left_out": tally.left_out,
            "stale": tally.stale,
            "repeated": tally.repeated,
            "lateness_p50_s": p50,
            "lateness_p95_s": p95,
        },
    )


def _quantiles(values: list[float]) -> tuple[float | None, float | None]:
    if len(values) < 2:
        return (values[0], values[0]) if values else (None, None)
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return cuts[9], cuts[18]
