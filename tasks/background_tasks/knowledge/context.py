"""What a catalogue task takes from its run, because its signature is fixed: params, clock, fence, report.

A task that is awaited in a plain script gets a default context: the machine's clock, no fence, settings from the
environment, the report to the log. Take `run_context` once per run and hand parts of it on; without a scheduler each
call makes a context of its own.
"""

import os
import random
import time
import uuid
from collections.abc import Mapping
from typing import Any

import structlog
from pydantic import ValidationError

from background_tasks.authoring import RunContext, TaskParams, TaskReport, current_run
from background_tasks.domain.model import EMPTY, Fence, OnStart, Policy, Schedule, Task, TaskUid
from background_tasks.errors import InvalidParams
from background_tasks.ports import Clock

DIRECT = "direct"
"""Namespace of a task that was called without a scheduler."""


class MachineClock:
    """This machine's own clock, for runs without a scheduler. `is_machine` tells it from an injected one."""

    is_machine = True

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds on the time base of asyncio's own loops."""
        return time.monotonic()

    def boottime(self) -> float:
        """Seconds that go on while the machine sleeps."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def draw(self) -> float:
        """A random number in [0, 1)."""
        return random.random()


def run_context[P: TaskParams](model: type[P], task: str = "") -> RunContext[P]:
    """Return the context of the run that is going on, with its params as a `model`; a default one in a plain script.

    Params of another model (the task was awaited inside another task) mean this model's defaults. A mapping is
    validated; raises `InvalidParams` with all faults.
    """
    run = current_run()
    if run is None:
        return _direct(model(), task or model.__module__.rpartition(".")[2])
    params = _as(model, run.params)
    return run if run.params is params else _with_params(run, params)


def params_of[P: TaskParams](model: type[P]) -> P:
    """Return the run's params as a `model`; its defaults in a plain script."""
    run = current_run()
    return model() if run is None else _as(model, run.params)


def clock() -> Clock:
    """Return the run's clock; the machine's own in a plain script."""
    run = current_run()
    return MachineClock() if run is None else run.clock


def injected_now(clock: Clock) -> float | None:
    """Return the wall time of a clock that somebody injected; None for a machine's clock: let the store tell time."""
    return None if getattr(clock, "is_machine", False) else clock.wall()


def fence() -> Fence | None:
    """Return the run's fence; None outside a pool."""
    run = current_run()
    return None if run is None else run.fence


def run_id() -> str:
    """Return the run's id; a new one in a plain script."""
    run = current_run()
    return _new_run_id() if run is None else run.run_id


def setting(name: str, default: str) -> str:
    """Return a setting of the run; in a plain script the environment variable of that name."""
    run = current_run()
    settings: Mapping[str, str] = os.environ if run is None else run.settings
    return settings.get(name, default)


def service(name: str) -> Any:
    """Return a service of the pool that the task's signature lacks; None where there is none."""
    run = current_run()
    return None if run is None or run.services is None else run.services.get(name)


def _as[P: TaskParams](model: type[P], params: object) -> P:
    if isinstance(params, model):
        return params
    if not isinstance(params, Mapping) or isinstance(params, TaskParams):
        return model()
    try:
        return model.model_validate(dict(params))
    except ValidationError as error:
        raise InvalidParams(f"spec.params: {error}") from error


def _direct[P: TaskParams](params: P, task: str) -> RunContext[P]:
    machine = MachineClock()
    log = structlog.get_logger("background_tasks").bind(task=task)

    def to_log(report: TaskReport) -> None:
        log.info("task_report", **report.model_dump(exclude_defaults=True, exclude={"task"}))

    return RunContext(
        task=Task(
            uid=TaskUid(f"{DIRECT}/{task}"),
            name=f"{DIRECT}/{task}",
            policy=Policy(coroutine=task, schedule=Schedule(cadence=OnStart(cooldown=0.0))),
            params=EMPTY,
        ),
        run_id=_new_run_id(),
        params=params,
        scheduled_for=machine.wall(),
        attempt=1,
        clock=machine,
        settings=dict(os.environ),
        logger=log,
        on_report=to_log,
    )


def _with_params[P: TaskParams](run: RunContext[Any], params: P) -> RunContext[P]:
    return RunContext(
        task=run.task,
        run_id=run.run_id,
        params=params,
        scheduled_for=run.scheduled_for,
        attempt=run.attempt,
        clock=run.clock,
        fence=run.fence,
        settings=run.settings,
        services=run.services,
        logger=run.logger,
        on_report=run.on_report,
        on_verify=run.on_verify,
    )


def _new_run_id() -> str:
    return f"{DIRECT}-{uuid.uuid4().hex[:16]}"
