"""The `status` object of a task: what a worker shows of it.

Not here: `Accepted` (the operator's), when to write, and what the last write was; give that as `previous`, so that a
condition keeps the time of its last change.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from background_tasks.domain.breaker import opens_until
from background_tasks.domain.gates import Gate
from background_tasks.domain.holds import FOREVER, held_until
from background_tasks.domain.model import Fence, Past, RunRecord, SkipReason, Task
from background_tasks.domain.wording import cadence_text, rfc3339, spell


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a worker sees of a task besides its past."""

    now: float
    worker: str = ""
    """Empty: no worker acts for it."""
    slot: int | None = None
    fence: Fence | None = None
    next_start: float | None = None
    running: int = 0
    gates: Sequence[Gate] = ()
    refusal: tuple[str, str] | None = None
    """Reason and message: the task is known and cannot be run as it is."""
    quarantine: str = ""
    """Why it was moved off the loop or is held back; empty: it was not."""
    history: Sequence[RunRecord] = ()
    """Oldest first."""
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    last_skip: tuple[float, SkipReason] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A named observation; `met` None: not known yet."""

    type: str
    met: bool | None
    reason: str
    message: str = ""


def status(
    task: Task, past: Past, *, observed: Observed, previous: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Build the status object: camelCase, RFC 3339 times, durations as strings, nothing that is not known."""
    history = [run_status(run) for run in reversed(observed.history)]
    skip = observed.last_skip
    return _known(
        conditions=list(_stamped(conditions(task, past, observed), task.generation, observed.now, previous)),
        observedGeneration=task.generation,
        schedule=cadence_text(task.policy.schedule.cadence),
        worker=observed.worker or None,
        slot=observed.slot,
        fence=None if observed.fence is None else str(observed.fence),
        lastRun=history[0] if history else None,
        nextRunTime=_time(observed.next_start),
        lastSuccessTime=_time(past.success_at),
        consecutiveFailures=past.failures,
        runs={"succeeded": observed.succeeded, "failed": observed.failed, "skipped": observed.skipped},
        history=history[: task.policy.history_limit],
        lastSkip=None if skip is None else {"reason": skip[1].value, "at": rfc3339(skip[0])},
    )


def run_status(run: RunRecord) -> dict[str, object]:
    """Show one run."""
    return _known(
        scheduledFor=rfc3339(run.scheduled_for),
        startedAt=rfc3339(run.started_at),
        endedAt=rfc3339(run.ended_at),
        outcome=run.outcome.value,
        attempt=run.attempt,
        lateness=spell(run.lateness),
        reason=run.reason or None,
        message=run.message or None,
    )


def conditions(task: Task, past: Past, observed: Observed) -> Iterator[Condition]:
    """Judge a task: Ready always, ObjectiveMet and BreakerClosed where the task has an objective, a breaker."""
    yield ready(task, past, observed)
    if task.policy.max_lateness is not None:
        yield _objective(task.policy.max_lateness, observed)
    if task.policy.breaker is not None:
        yield _breaker(task, past, observed.now)


def ready(task: Task, past: Past, observed: Observed) -> Condition:
    """Say whether the task runs as declared; if not, the first obstacle and what to do about it."""
    obstacle = next(_obstacles(task, past, observed), None)
    if obstacle is not None:
        return Condition(type="Ready", met=False, reason=obstacle[0], message=obstacle[1])
    if observed.running:
        return Condition(type="Ready", met=True, reason="Running")
    return Condition(type="Ready", met=True, reason="Idle" if observed.next_start is None else "Armed")


def _obstacles(task: Task, past: Past, observed: Observed) -> Iterator[tuple[str, str]]:
    """Name what is in the way, the most lasting first."""
    if observed.refusal is not None:
        yield observed.refusal
    for gate in observed.gates:
        yield gate.reason, gate.message
    until = held_until(task.switches, observed.now)
    if task.switches.suspend:
        yield "Suspended", "spec.suspend is true; set it to false to go on"
    elif until is not None:
        end = "until someone resumes it" if until == FOREVER else f"until {rfc3339(until)}"
        pause = task.switches.pause
        author = f" by {pause.by}" if pause is not None and pause.by else ""
        yield "Paused", f"paused{author} {end}; resume it to go on sooner"
    if not observed.worker:
        yield "NoWorker", "no worker acts for this task; look at the pool's workers and slots"
    if observed.quarantine:
        yield "Quarantined", observed.quarantine
    breaker = _breaker(task, past, observed.now)
    if breaker.met is False:
        yield "BreakerOpen", breaker.message


def _objective(limit: float, observed: Observed) -> Condition:
    overdue = 0.0 if observed.next_start is None or observed.running else observed.now - observed.next_start
    if overdue > limit:
        message = f"due for {spell(overdue)} and not started; the objective is {spell(limit)}"
        return Condition(type="ObjectiveMet", met=False, reason="Overdue", message=message)
    if not observed.history:
        return Condition(type="ObjectiveMet", met=None, reason="NoRunYet")
    lateness = observed.history[-1].lateness
    if lateness > limit:
        message = f"the last run began {spell(lateness)} late; the objective is {spell(limit)}"
        return Condition(type="ObjectiveMet", met=False, reason="TooLate", message=message)
    return Condition(type="ObjectiveMet", met=True, reason="OnTime")


def _breaker(task: Task, past: Past, now: float) -> Condition:
    until = opens_until(task.policy.breaker, past, now)
    if until is None:
        return Condition(type="BreakerClosed", met=True, reason="Closed")
    failed = f"{past.failures} failures in a row"
    if now < until:
        message = f"{failed}; one probe may run from {rfc3339(until)} on; read the last run's message"
        return Condition(type="BreakerClosed", met=False, reason="Open", message=message)
    message = f"{failed}; the next run is the probe: if it succeeds the breaker closes"
    return Condition(type="BreakerClosed", met=False, reason="Probing", message=message)


def _stamped(
    found: Iterable[Condition], generation: int, now: float, previous: Mapping[str, object] | None
) -> Iterator[dict[str, object]]:
    """Write conditions; one whose status did not change keeps its time."""
    listed = (previous or {}).get("conditions")
    old = {item.get("type"): item for item in listed if isinstance(item, Mapping)} if isinstance(listed, list) else {}
    for condition in found:
        word = "Unknown" if condition.met is None else str(condition.met)
        before = old.get(condition.type)
        same = before is not None and before.get("status") == word and before.get("lastTransitionTime")
        yield {
            "type": condition.type,
            "status": word,
            "reason": condition.reason,
            "message": condition.message,
            "observedGeneration": generation,
            "lastTransitionTime": same or rfc3339(int(now)),
        }


def _time(instant: float | None) -> str | None:
    return None if instant is None else rfc3339(instant)


def _known(**fields: object) -> dict[str, object]:
    """Leave out what is None."""
    return {name: value for name, value in fields.items() if value is not None}
