"""All that a task's author imports: the decorator, params, the run's context, the report.

Not here: how runs are started. Importing this reads no clock, opens no connection and starts nothing.
"""

import contextvars
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from background_tasks.domain.model import EMPTY, Fence, Task
from background_tasks.errors import NotLeader, Refused
from background_tasks.ports import Clock

type TaskCoroutine = Callable[..., Awaitable[object]]


class TaskParams(BaseModel):
    """Base of what `spec.params` may say: frozen, unknown fields refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TaskReport(BaseModel):
    """What a run tells of its effects. The numbers equal the change that was made; `extra` holds the task's own."""

    model_config = ConfigDict(extra="forbid")

    task: str = ""
    run_id: str = ""
    outcome: Literal["ok", "partial", "noop", "deferred", "superseded", "error"] = "ok"
    reason: str = ""
    items_in: int = 0
    created: int = 0
    updated: int = 0
    merged: int = 0
    invalidated: int = 0
    deleted: int = 0
    rejected: dict[str, int] = Field(default_factory=dict)
    llm_calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0
    cursor_before: str | None = None
    cursor_after: str | None = None
    lag_s: float | None = None
    duration_ms: float | None = None
    errors: list[str] = Field(default_factory=list)
    extra: dict[str, Any] = Field(default_factory=dict)


class Services(Protocol):
    """The outside worlds of a pool, by the names that coroutines declare (`redis`, `kg_manager`, `openrouter` ...)."""

    def get(self, name: str) -> object | None:
        """Return the service, or None where the pool has none."""
        ...


def _no_report(report: TaskReport) -> None:
    """Progress goes nowhere unless a scheduler listens."""


async def _permanent_leader() -> None:
    """A run outside any pool counts as alone."""


@dataclass(slots=True, kw_only=True, eq=False)
class RunContext[P]:
    """What a run may know and do. Handed over as `ctx`; also `current_run()` anywhere inside the run.

    `scheduled_for` is the fire time (wall seconds). `fence` is None outside a pool and for EveryWorker tasks.
    """

    task: Task
    run_id: str
    params: P
    scheduled_for: float
    attempt: int
    clock: Clock
    fence: Fence | None = None
    settings: Mapping[str, str] = EMPTY  # type: ignore[assignment]  # an empty mapping is a mapping of anything
    services: Services | None = None
    logger: Any = field(default_factory=lambda: logging.getLogger("background_tasks"))
    on_report: Callable[[TaskReport], None] = _no_report
    on_verify: Callable[[], Awaitable[None]] = _permanent_leader

    def report(self, progress: TaskReport) -> None:
        """Publish progress; continuous tasks call it about once a minute."""
        self.on_report(progress)

    async def verify_leadership(self) -> None:
        """Return while this run may act; raise `NotLeader` when its slot is lost, overdue or taken."""
        await self.on_verify()

    @classmethod
    def current(cls) -> "RunContext[Any] | None":
        """Return the context of the run that is going on here, or None in a plain script."""
        return _current.get()


_current: contextvars.ContextVar[RunContext[Any] | None] = contextvars.ContextVar("background_tasks_run", default=None)


def current_run() -> RunContext[Any] | None:
    """Return the context of the run that is going on here, or None in a plain script."""
    return _current.get()


def run_of(context: contextvars.Context) -> RunContext[Any] | None:
    """Return the run that a contextvars context belongs to, seen from outside it (any thread)."""
    return context.get(_current)


def enter_run(context: RunContext[Any]) -> contextvars.Token[RunContext[Any] | None]:
    """Make `context` current in this contextvars context. For executors, not for tasks."""
    return _current.set(context)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What a decorator said about a coroutine."""

    name: str
    func: TaskCoroutine
    interval: float
    initial_delay: float = 0.0
    requires: frozenset[str] = frozenset()
    """Of `redis`, `kg_manager`, `openrouter`, `bot_runner`."""
    requires_chat_llm: bool = False
    requires_config: bool = False
    opt_in_config_flag: str | None = None
    params: type[TaskParams] | None = None
    schedule: Mapping[str, object] | None = None
    """`spec.schedule` as a resource spells it, where a plain interval does not say enough."""
    singleton: bool = True
    timeout: float | None = None
    supervised: bool = False
    """A `TaskSupervisor` runs it, so that `build_scheduler` leaves it out."""

    @property
    def names(self) -> frozenset[str]:
        """Every name that `spec.task` may use for it."""
        return frozenset({self.name, getattr(self.func, "__name__", self.name)})


_BACKGROUND_TASKS_REGISTRY: list[MutableMapping[str, Any]] = []
"""One dict per decorated coroutine, in order of import; kept under this name for users of the original."""

_SERVICE_GATES = {
    "requires_redis": "redis",
    "requires_kg": "kg_manager",
    "requires_openrouter": "openrouter",
    "requires_bot_runner": "bot_runner",
}


def background_task[F: TaskCoroutine](
    interval: float,
    initial_delay: float = 0.0,
    *,
    name: str | None = None,
    requires_redis: bool = False,
    requires_kg: bool = False,
    requires_openrouter: bool = False,
    requires_bot_runner: bool = False,
    requires_chat_llm: bool = False,
    requires_config: bool = False,
    opt_in_config_flag: str | None = None,
    params: type[TaskParams] | None = None,
    schedule: Mapping[str, object] | None = None,
    singleton: bool = True,
    timeout: float | None = None,
    supervised: bool = False,
) -> Callable[[F], F]:
    """Declare a coroutine function as a background task and return it unchanged.

    `interval` and `initial_delay` are seconds; the interval counts from the end of a run. `requires_*` are gates:
    without the service (or with the flag off) the task is not registered and says why. `requires_config` hands the
    config over and is never a gate. `params` is the model of `spec.params`; `schedule` a `spec.schedule` mapping.
    Raises `Refused` for a function that is not async or an interval that is not positive.
    """
    gates = {
        "requires_redis": requires_redis,
        "requires_kg": requires_kg,
        "requires_openrouter": requires_openrouter,
        "requires_bot_runner": requires_bot_runner,
    }

    def declare(func: F) -> F:
        label = name or str(getattr(func, "__name__", func))
        _refuse_unfit(label, func, interval, initial_delay)
        declaration = Declaration(
            name=label,
            func=func,
            interval=float(interval),
            initial_delay=float(initial_delay),
            requires=frozenset(_SERVICE_GATES[gate] for gate, needed in gates.items() if needed),
            requires_chat_llm=requires_chat_llm,
            requires_config=requires_config,
            opt_in_config_flag=opt_in_config_flag,
            params=params,
            schedule=schedule,
            singleton=singleton,
            timeout=timeout,
            supervised=supervised,
        )
        _BACKGROUND_TASKS_REGISTRY.append(_as_dict(declaration, gates))
        return func

    return declare


def declarations() -> tuple[Declaration, ...]:
    """Return everything that was decorated in this process so far."""
    return tuple(entry["declaration"] for entry in _BACKGROUND_TASKS_REGISTRY)


def declaration_of(func: TaskCoroutine) -> Declaration | None:
    """Return the last declaration of a coroutine function, or None when it is not decorated."""
    return next((found for found in reversed(declarations()) if found.func is func), None)


def is_coroutine_function(func: object) -> bool:
    """Say whether calling `func` gives a coroutine: an async function, a partial of one, or an async `__call__`."""
    return inspect.iscoroutinefunction(func) or (callable(func) and inspect.iscoroutinefunction(type(func).__call__))


def _refuse_unfit(label: str, func: object, interval: float, initial_delay: float) -> None:
    if not is_coroutine_function(func):
        raise Refused(f"task {label!r}: {func!r} is not a coroutine function; declare it with `async def`")
    if not 0 < interval < float("inf"):
        raise Refused(f"task {label!r}: interval is {interval!r}; give a positive number of seconds")
    if not 0 <= initial_delay < float("inf"):
        raise Refused(f"task {label!r}: initial_delay is {initial_delay!r}; give 0 or more seconds")


def _as_dict(declaration: Declaration, gates: Mapping[str, bool]) -> MutableMapping[str, Any]:
    return {
        "name": declaration.name,
        "func": declaration.func,
        "interval": declaration.interval,
        "initial_delay": declaration.initial_delay,
        **gates,
        "requires_chat_llm": declaration.requires_chat_llm,
        "requires_config": declaration.requires_config,
        "opt_in_config_flag": declaration.opt_in_config_flag,
        "declaration": declaration,
    }


__all__ = [
    "Declaration",
    "NotLeader",
    "RunContext",
    "Services",
    "TaskCoroutine",
    "TaskParams",
    "TaskReport",
    "background_task",
    "current_run",
    "declaration_of",
    "declarations",
    "enter_run",
    "is_coroutine_function",
    "run_of",
]
