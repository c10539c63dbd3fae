"""`BackgroundTask`: what runs, when, and what happens when it goes wrong.

Not here: how it becomes the engine's `Task` (`convert`); what a refusal looks like (`refusals`).
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from background_tasks.api import names
from background_tasks.api.duration import PositiveDuration, parse_duration
from background_tasks.api.faults import Fault, fault, raise_faults
from background_tasks.api.fields import Flag, Label, Maybe, Part, patterned
from background_tasks.api.metadata import ObjectMeta
from background_tasks.api.rules import longer, rule, ruled, seconds
from background_tasks.api.schedule import Schedule
from background_tasks.domain import model as domain

TASK_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)
"""A registered name, such as `kg_decay`."""
MODULE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)
MODULE_ATTRIBUTE = re.compile(rf"{MODULE_NAME.pattern}:{MODULE_NAME.pattern}", re.ASCII)
"""As in `my_app.tasks:digest`."""
TASK_NAME_LENGTH = 253
NEED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
MAX_NEEDS = 32
NEED_LENGTH = 128
MAX_PARAMS = 256

_TASK_FIX = "is no task; write a registered name (kg_decay) or module:attribute (my_app.tasks:digest)"
_NEED_FIX = "is not the name of a service or flag; write one such as redis or kg_manager"
_TASK = re.compile(f"{TASK_NAME.pattern}|{MODULE_ATTRIBUTE.pattern}", re.ASCII)


def check_task_name(value: str) -> str:
    """Accept a registered name or `module:attribute`."""
    if not _TASK.fullmatch(value):
        raise fault(_TASK_FIX)
    return value


def check_need(value: str) -> str:
    """Accept the name of a service or flag."""
    if not NEED.fullmatch(value):
        raise fault(_NEED_FIX)
    return value


TaskName = Annotated[
    str,
    Field(max_length=TASK_NAME_LENGTH),
    AfterValidator(check_task_name),
    patterned(_TASK, TASK_NAME_LENGTH, _TASK_FIX),
]
Need = Annotated[
    str, Field(max_length=NEED_LENGTH), AfterValidator(check_need), patterned(NEED, NEED_LENGTH, _NEED_FIX)
]


class PoolRef(Part):
    """Which workers run the task."""

    name: Label = Field(
        names.DEFAULT_POOL,
        description="Name of a WorkerPool in the same namespace. A pool named default is made where there is none.",
    )


class Missed(Part):
    """What to do with fire times that nobody served."""

    policy: domain.MissedPolicy = Field(
        domain.MissedPolicy.ONCE,
        description="Once: one run for all of them. Skip: none. All: one for each, oldest first.",
    )
    limit: Annotated[int, Field(strict=True, ge=1, le=1000)] = Field(
        10, description="With policy All: so many at the most, the latest ones."
    )
    on_resume: domain.OnResume = Field(
        domain.OnResume.SKIP,
        description="When a suspension or pause ends. Skip: wait for the next fire time. Once: one run at once.",
    )

    def to_domain(self) -> domain.Missed:
        """Build the domain's policy."""
        return domain.Missed(policy=self.policy, limit=self.limit, on_resume=self.on_resume)


class Retry(Part):
    """Attempts within one run, and the waits between them (full jitter)."""

    model_config = ConfigDict(
        json_schema_extra=ruled(
            rule(
                f"!({longer(seconds('self.initialBackoff'), seconds('self.maxBackoff'))})",
                "is longer than maxBackoff; write at most that, or raise maxBackoff",
                at=".initialBackoff",
                shown="self.initialBackoff",
            )
        )
    )

    attempts: Annotated[int, Field(strict=True, ge=1, le=100)] = Field(
        1, description="So many attempts at the most; 1: no second one."
    )
    initial_backoff: PositiveDuration = Field(
        "1s", description="The wait after the first attempt is drawn from zero to this."
    )
    factor: Annotated[float, Field(strict=True, ge=1, le=100)] = Field(
        2.0, description="Each further wait is drawn up to so many times the bound of the one before."
    )
    max_backoff: PositiveDuration = Field("5m", description="No wait is longer than this.")

    @model_validator(mode="after")
    def _waits_grow(self) -> "Retry":
        if parse_duration(self.initial_backoff) > parse_duration(self.max_backoff):
            fix = f"write at most {self.max_backoff}, or raise maxBackoff"
            raise_faults([Fault(("initialBackoff",), f"is longer than maxBackoff; {fix}", self.initial_backoff)])
        return self

    def to_domain(self) -> domain.Retry:
        """Build the domain's policy."""
        return domain.Retry(
            attempts=self.attempts,
            initial_backoff=parse_duration(self.initial_backoff),
            factor=self.factor,
            max_backoff=parse_duration(self.max_backoff),
        )


class Breaker(Part):
    """Stops a task that fails again and again, and lets one probe through after a while."""

    failures: Annotated[int, Field(strict=True, ge=1, le=1000)] = Field(
        description="So many failures in a row open it."
    )
    cooldown: PositiveDuration = Field(
        "5m", description="It stays open for so long; then one run is let through as a probe."
    )

    def to_domain(self) -> domain.Breaker:
        """Build the domain's policy."""
        return domain.Breaker(failures=self.failures, cooldown=parse_duration(self.cooldown))


class Objective(Part):
    """What is promised to those who depend on the task."""

    max_lateness: PositiveDuration = Field(
        description="A run that starts later than this breaks the objective: condition ObjectiveMet, event, metric."
    )


class TaskSpec(Part):
    """What a BackgroundTask declares."""

    model_config = ConfigDict(
        json_schema_extra=ruled(
            rule(
                'self.overlap == "Skip" || has(self.schedule.every) || has(self.schedule.cron)',
                "goes with every and cron only: no other schedule is due while it runs; remove it",
                at=".overlap",
            ),
            rule(
                'self.runPolicy != "EveryWorker" || !has(self.group)',
                "has no effect with runPolicy EveryWorker; remove one of the two",
                at=".group",
                shown="self.group",
            ),
        )
    )

    task: TaskName = Field(
        description="Name of a registered coroutine, or module:attribute inside the pool's taskModules."
    )
    pool_ref: PoolRef = Field(PoolRef(), description="Which workers run it.")
    schedule: Schedule = Field(description="When it is due: exactly one of interval, every, cron, continuous, onStart.")
    run_policy: domain.RunPolicy = Field(
        domain.RunPolicy.SINGLETON,
        description="Singleton: it runs on exactly one worker of the pool. EveryWorker: on each.",
    )
    missed: Missed = Field(Missed(), description="What to do with fire times that nobody served.")
    overlap: domain.Overlap = Field(
        domain.Overlap.SKIP,
        description="When it is due while it still runs. Skip: leave that fire time out. Queue: run it afterwards; one "
        "waits at the most. Replace: cancel, then start. Allow: run beside it. Only for every and cron.",
    )
    timeout: Maybe[PositiveDuration] = Field(
        None, description="An attempt that takes longer is cancelled. Absent: none is."
    )
    retry: Retry = Field(Retry(), description="Attempts within one run.")
    breaker: Maybe[Breaker] = Field(None, description="Stops a task that fails again and again. Absent: it goes on.")
    guarantee: domain.Guarantee = Field(
        domain.Guarantee.AT_LEAST_ONCE,
        description="What a crash may do to a fire time. AtLeastOnce: repeat it. AtMostOnce: lose it.",
    )
    group: Maybe[Label] = Field(
        None, description="A group of the pool: its tasks share one slot and a cap on runs at one time."
    )
    params: dict[str, Any] = Field(
        {}, description="Parameters of the coroutine, which says what they may be.", max_length=MAX_PARAMS
    )
    requires: Annotated[tuple[Need, ...], Field(max_length=MAX_NEEDS)] = Field(
        (), description="Services or flags that the task needs beyond those its coroutine declares, such as redis."
    )
    objective: Maybe[Objective] = Field(None, description="What is promised to those who depend on the task.")
    isolation: domain.Isolation = Field(
        domain.Isolation.LOOP,
        description="Where the coroutine runs. Loop: beside the others. Thread: it may block. Process: it may block, "
        "leak memory or hold the interpreter.",
    )
    suspend: Flag = Field(False, description="While true, it is not due.")
    history_limit: Annotated[int, Field(strict=True, ge=0, le=20)] = Field(
        5, description="So many runs are kept in status.history."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "TaskSpec":
        raise_faults(self._faults())
        return self

    def _faults(self) -> Iterator[Fault]:
        if self.overlap is not domain.Overlap.SKIP and not (self.schedule.every or self.schedule.cron):
            yield Fault(
                ("overlap",),
                "goes with every and cron only: no other schedule is due while it runs; remove it",
                self.overlap,
            )
        if self.group is not None and self.run_policy is domain.RunPolicy.EVERY_WORKER:
            yield Fault(("group",), "has no effect with runPolicy EveryWorker; remove one of the two", self.group)


class BackgroundTask(Part):
    """A coroutine that runs again and again, as declared."""

    api_version: Literal["background-tasks.dev/v1alpha1"]
    kind: Literal["BackgroundTask"]
    metadata: ObjectMeta
    spec: TaskSpec
    status: Maybe[dict[str, Any]] = Field(None, description="Written by the worker; ignored when read.")
