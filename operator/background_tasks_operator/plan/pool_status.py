"""The status of a pool: what was observed, in numbers and in three conditions.

Not here: how it was observed. Nothing here is assumed from the spec, except how many slots a table will have.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from background_tasks.api import names
from background_tasks.api.read import Unfit
from background_tasks_operator.plan.conditions import Condition, body_of, present_conditions
from background_tasks_operator.plan.metadata import selector
from background_tasks_operator.plan.model import DeploymentState, Observed, PoolFacts, Problem

AVAILABLE, PROGRESSING, DEGRADED = "Available", "Progressing", "Degraded"
INVALID = "Invalid"


def pool_status(
    pool: PoolFacts, observed: Observed, previous: object, now: float, *, problems: Iterable[Problem] = ()
) -> dict[str, Any]:
    """Build the whole `status`. `problems` are the plan's and those of applying it; `previous` is the present status.

    `now` is wall seconds. A pool about which nothing changed gets an equal status: compare before writing.
    """
    if pool.spec.lease.backend != "Kubernetes":
        observed = replace(observed, slots_held=0, slots_total=0)  # the table is elsewhere: what is here is an old one
    state, tasks = observed.deployment or DeploymentState(), observed.tasks
    found = (
        _available(pool, observed),
        _progressing(pool, observed.deployment),
        _degraded(pool, state, tuple(problems)),
    )
    present = present_conditions(previous)
    return {
        "observedGeneration": pool.generation,
        "replicas": state.replicas,
        "readyReplicas": state.ready,
        "selector": ",".join(f"{name}={value}" for name, value in selector(pool).items()),
        "slots": _slots(pool, observed),
        "tasks": {"total": tasks.total, "ready": tasks.ready, "running": tasks.running, "late": tasks.late},
        "conditions": [body_of(one, present.get(one.type), now) for one in found],
    }


def refused_pool_status(unfit: Unfit, generation: int, previous: object, now: float) -> dict[str, Any]:
    """Build the status of a pool that cannot be read: its workers go on, and all else stays as it was."""
    told = "; ".join(refusal.message for refusal in unfit.refusals)
    message = f"{told}; the workers stay as they are until this is changed"
    degraded = Condition(type=DEGRADED, status="True", reason=INVALID, message=message, observed_generation=generation)
    present = present_conditions(previous)
    kept = [dict(one) for kind, one in present.items() if kind in (AVAILABLE, PROGRESSING)]
    before = dict(previous) if isinstance(previous, Mapping) else {}
    return {
        **before,
        "observedGeneration": generation,
        "conditions": [*kept, body_of(degraded, present.get(DEGRADED), now)],
    }


def _slots(pool: PoolFacts, observed: Observed) -> dict[str, int]:
    """Count slots. Nothing is said of those that are held where the table is in a Redis: nobody here looks into it."""
    if pool.spec.lease.backend != "Kubernetes":
        return {"total": pool.spec.slots}
    return {"held": observed.slots_held, "total": observed.slots_total or pool.spec.slots}


def _available(pool: PoolFacts, observed: Observed) -> Condition:
    """A pool is available when a worker is, and holds slots: without any, only `EveryWorker` tasks would run."""
    state, held, total = observed.deployment, observed.slots_held, observed.slots_total
    if state is None:
        message = f"the Deployment {names.workers_name(pool.name)} does not exist yet"
        return _condition(pool, AVAILABLE, holds=False, reason="NotMade", message=message)
    if state.available == 0 and state.wanted == 0:
        message = "spec.replicas: 0 means that no task of this pool runs; write 1 or more"
        return _condition(pool, AVAILABLE, holds=False, reason="ScaledToZero", message=message)
    if state.available == 0:
        message = f"none of {_workers(state.wanted)} is available; see why with: {_look(pool)}"
        return _condition(pool, AVAILABLE, holds=False, reason="NoWorkerAvailable", message=message)
    message = f"{_of(state.available, state.wanted)} available"
    if total and not held:
        message = f"{message} and none holds a slot; if this stays, see the log with: {_logs(pool)}"
        return _condition(pool, AVAILABLE, holds=False, reason="NoSlotHeld", message=message)
    if held < total:
        message = f"{message}; {total - held} of {total} slots wait for one, and so do their tasks"
    return _condition(pool, AVAILABLE, holds=True, reason="WorkersAvailable", message=message)


def _progressing(pool: PoolFacts, state: DeploymentState | None) -> Condition:
    if state is None:
        return _condition(pool, PROGRESSING, holds=True, reason="Making", message="the workers are being made")
    if state.stalled:
        message = f"{state.stalled}; see why with: {_look(pool)}"
        return _condition(pool, PROGRESSING, holds=False, reason="Stalled", message=message)
    if not state.current or not state.replicas == state.updated == state.wanted:
        message = f"{_of(state.updated, state.wanted)} of the latest spec; {state.replicas} in all"
        return _condition(pool, PROGRESSING, holds=True, reason="RollingOut", message=message)
    if state.available < state.wanted:
        message = f"{_of(state.available, state.wanted)} available; the others are starting or failing"
        return _condition(pool, PROGRESSING, holds=True, reason="WaitingForWorkers", message=message)
    message = f"{_of(state.updated, state.wanted)} of the latest spec and available"
    return _condition(pool, PROGRESSING, holds=False, reason="UpToDate", message=message)


def _degraded(pool: PoolFacts, state: DeploymentState, problems: tuple[Problem, ...]) -> Condition:
    if problems:
        message = "; ".join(dict.fromkeys(problem.message for problem in problems))
        return _condition(pool, DEGRADED, holds=True, reason=problems[0].reason, message=message)
    if state.failure:
        message = f"pods cannot be made: {state.failure}"
        return _condition(pool, DEGRADED, holds=True, reason="PodsRefused", message=message)
    if state.stalled:
        message = f"the rollout does not go on: {state.stalled}; see why with: {_look(pool)}"
        return _condition(pool, DEGRADED, holds=True, reason="Stalled", message=message)
    return _condition(pool, DEGRADED, holds=False, reason="AsDeclared", message="all that the pool declares is there")


def _condition(pool: PoolFacts, kind: str, *, holds: bool, reason: str, message: str) -> Condition:
    return Condition(
        type=kind,
        status="True" if holds else "False",
        reason=reason,
        message=message,
        observed_generation=pool.generation,
    )


def _workers(count: int) -> str:
    return f"{count} worker{'' if count == 1 else 's'}"


def _of(part: int, whole: int) -> str:
    part = min(part, whole)  # more while old workers, or too many, are on their way out
    return f"{part} of {_workers(whole)} {'is' if part == 1 else 'are'}"


def _look(pool: PoolFacts) -> str:
    return f"kubectl -n {pool.namespace} describe pods -l {names.POOL_LABEL}={pool.name}"


def _logs(pool: PoolFacts) -> str:
    return f"kubectl -n {pool.namespace} logs -l {names.POOL_LABEL}={pool.name}"
