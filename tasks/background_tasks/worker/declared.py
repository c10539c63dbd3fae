"""A decorated coroutine as a task: what its decorator said becomes a policy.

Not here: resources; where a task is declared by YAML, its schedule is the YAML's.
"""

from collections.abc import Mapping
from dataclasses import replace

from pydantic import ValidationError

from background_tasks.api.refusals import refusals_of
from background_tasks.api.schedule import Schedule as ScheduleFields
from background_tasks.authoring import Declaration
from background_tasks.domain.model import Interval, Policy, RunPolicy, Schedule
from background_tasks.errors import Refused


def policy_of(declaration: Declaration, *, interval: float | None = None) -> Policy:
    """Return the policy that the decorator described; `interval` (seconds) overrides its cadence.

    Raises `Refused` for a `schedule` that a resource would not be allowed either.
    """
    plain = Schedule(
        cadence=Interval(seconds=interval or declaration.interval), initial_delay=declaration.initial_delay
    )
    schedule = plain
    if declaration.schedule is not None and interval is None:
        schedule = schedule_of(declaration.schedule, where=declaration.name)
        if "initialDelay" not in declaration.schedule:
            schedule = replace(schedule, initial_delay=declaration.initial_delay)
    return Policy(
        coroutine=declaration.name,
        schedule=schedule,
        run_policy=RunPolicy.SINGLETON if declaration.singleton else RunPolicy.EVERY_WORKER,
        timeout=declaration.timeout,
    )


def schedule_of(fields: Mapping[str, object], *, where: str) -> Schedule:
    """Read a `spec.schedule` mapping. Raises `Refused` with all faults."""
    try:
        return ScheduleFields.model_validate(dict(fields)).to_domain()
    except ValidationError as error:
        faults = refusals_of(error, ScheduleFields, lambda _: where, None)
        told = "; ".join(
            f"schedule.{fault.message}" if fault.field else f"schedule: {fault.message}" for fault in faults
        )
        raise Refused(f"{where}: {told}") from error
