"""The `status` of both resources, field by field, as the published schema and its readers know it.

Bounds are wide and words are open: a status is written by programs, and one that is refused is a status nobody sees.
Not here: who writes what and when (`domain.status`, the operator); the checks of what people write.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from background_tasks.domain.model import Outcome

MAX_CONDITIONS = 16
MAX_HISTORY = 20

Time = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]
"""RFC 3339, UTC, such as `2026-01-31T12:00:00Z`."""
Words = Annotated[str, Field(max_length=32_768)]
Word = Annotated[str, Field(max_length=1024)]
Count = Annotated[int, Field(ge=0)]
Spelled = Annotated[str, Field(max_length=64)]
"""A duration such as `1h30m`."""


class Shown(BaseModel):
    """Base of all models here: camelCase outside, frozen; fields of a later release are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel)


class ShownCondition(Shown):
    """One named observation."""

    type: Annotated[str, Field(max_length=316)] = Field(description="What is observed, such as Ready.")
    status: Annotated[str, Field(json_schema_extra={"enum": ["True", "False", "Unknown"]})] = Field(
        description="True, False, or Unknown where nobody can tell yet."
    )
    reason: Word = Field("", description="The observation in one word, for programs, such as Armed or MissingService.")
    message: Words = Field("", description="The observation in a sentence, with what to do about it.")
    observed_generation: Count | None = Field(None, description="The metadata.generation that was judged.")
    last_transition_time: Time = Field(description="When status became what it is.")


Conditions = Annotated[
    tuple[ShownCondition, ...],
    Field(
        max_length=MAX_CONDITIONS,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    ),
]


class ShownRun(Shown):
    """One run that ended."""

    scheduled_for: Time | None = Field(None, description="The fire time: when it was due.")
    started_at: Time | None = Field(None, description="When it began.")
    ended_at: Time | None = Field(None, description="When it ended.")
    outcome: Word | None = Field(None, description=f"How it ended: {', '.join(Outcome)}.")
    attempt: Count | None = Field(None, description="The attempt that gave the outcome; 1 is the first.")
    lateness: Spelled | None = Field(None, description="startedAt minus scheduledFor, such as 120ms.")
    reason: Word | None = Field(None, description="Why it ended so, in one word, where the outcome does not say it.")
    message: Words | None = Field(None, description="Why it ended so, in a sentence; for a failure the error.")


class ShownCounts(Shown):
    """Runs by how they ended, as counted by the workers of the pool."""

    succeeded: Count | None = Field(None, description="Runs that reached their end.")
    failed: Count | None = Field(None, description="Runs that failed or timed out.")
    skipped: Count | None = Field(None, description="Fire times without a run.")


class ShownSkip(Shown):
    """The last fire time without a run."""

    reason: Word | None = Field(None, description="Why nothing ran, such as Overlap or Blackout.")
    at: Time | None = Field(None, description="When that was decided.")


class TaskStatus(Shown):
    """What workers and the operator tell of a task."""

    conditions: Conditions = Field(
        (),
        description="Observations, one per type: Accepted (is the resource usable, and does its pool exist), Ready "
        "(does it run as declared; if not, the first obstacle and what to do), ObjectiveMet (does it start on time), "
        "BreakerClosed (may it run, or did it fail too often).",
    )
    observed_generation: Count | None = Field(None, description="The metadata.generation that this status is about.")
    schedule: Word | None = Field(None, description="The schedule in short, such as every 5m.")
    worker: Word | None = Field(None, description="The worker that acts for the task; absent: none does.")
    slot: Count | None = Field(None, description="The slot of the pool that the task belongs to.")
    fence: Word | None = Field(None, description="The right under which the worker acts: realm/slot/epoch.")
    last_run: ShownRun | None = Field(None, description="The run that ended last.")
    next_run_time: Time | None = Field(None, description="When the next run begins; absent: none is due.")
    last_success_time: Time | None = Field(None, description="When a run last ended well.")
    consecutive_failures: Count | None = Field(None, description="Failures in a row; a success sets it to 0.")
    runs: ShownCounts | None = Field(None, description="Runs by how they ended.")
    history: Annotated[tuple[ShownRun, ...], Field(max_length=MAX_HISTORY)] = Field(
        (), description="The last runs, latest first; spec.historyLimit says how many."
    )
    last_skip: ShownSkip | None = Field(None, description="The last fire time without a run.")
    ledger: dict[str, Any] | None = Field(
        None,
        description="What the next worker must know so that no fire time is doubled or lost. Written and read by "
        "workers; not for people, and no part of the API.",
        max_length=64,
        json_schema_extra={"x-kubernetes-map-type": "atomic"},  # written whole: what a person added goes with it
    )


class SlotCounts(Shown):
    """Slots of a pool."""

    held: Count | None = Field(None, description="Slots with a live holder.")
    total: Count | None = Field(None, description="Slots in all: spec.slots.")


class TaskCounts(Shown):
    """Tasks of a pool."""

    total: Count | None = Field(None, description="Tasks that name the pool.")
    ready: Count | None = Field(None, description="Tasks whose condition Ready is True.")
    running: Count | None = Field(None, description="Tasks with a run going on.")
    late: Count | None = Field(None, description="Tasks whose condition ObjectiveMet is False.")


class PoolStatus(Shown):
    """What the operator tells of a pool."""

    conditions: Conditions = Field(
        (),
        description="Observations, one per type: Available (do enough workers run, and is each slot held), Progressing "
        "(is a change under way), Degraded (is something wrong that does not mend itself).",
    )
    observed_generation: Count | None = Field(None, description="The metadata.generation that this status is about.")
    replicas: Count | None = Field(None, description="Workers that exist.")
    ready_replicas: Count | None = Field(None, description="Workers that are ready.")
    selector: Annotated[str, Field(max_length=1024)] | None = Field(
        None, description="Label selector of the workers, as text; autoscalers read it through /scale."
    )
    slots: SlotCounts | None = Field(None, description="Shares of work, and how many of them have a holder.")
    tasks: TaskCounts | None = Field(None, description="Tasks of the pool by state.")
    load: Annotated[str, Field(max_length=64)] | None = Field(
        None, description="Work that is due in the next minute, in workers, such as 1.8."
    )
