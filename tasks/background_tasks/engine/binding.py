"""What a task's name stands for: the coroutine to call, or a refusal that says why there is none.

Not here: the registry (`worker`), which knows names, modules and services.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from background_tasks.authoring import RunContext, is_coroutine_function
from background_tasks.domain.model import Isolation, Task
from background_tasks.errors import InvalidParams, Refused
from background_tasks.ports import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What the worker's registry makes of a task. Tasks without params of their own may share one.

    Raises `Refused` for a `call` that is not a coroutine function.
    """

    call: Callable[[RunContext[Any]], Awaitable[object]]
    params: object = None
    """Handed to the run as `ctx.params`."""
    entry: str | None = None
    """`module:attribute` that a child process can import; needed for Process isolation."""
    movable: bool = False
    """Whether a coroutine that blocks the loop again and again may be moved to a thread: it uses nothing that belongs
    to the worker's loop."""

    def __post_init__(self) -> None:
        if not is_coroutine_function(self.call):
            raise Refused(f"{self.call!r} is not a coroutine function; declare it with `async def`")


type Bind = Callable[[Task], Binding | Refusal]


def bound(bind: Bind, task: Task) -> Binding | Refusal:
    """Bind a task; what cannot be bound, or not run where it is to run, is a refusal."""
    try:
        binding = bind(task)
    except Refused as refused:
        reason = "InvalidParams" if isinstance(refused, InvalidParams) else "Refused"
        return _refusal(task, "spec.task", task.policy.coroutine, str(refused), reason)
    if isinstance(binding, Binding) and task.policy.isolation is Isolation.PROCESS and binding.entry is None:
        message = f"a child process cannot import {task.policy.coroutine!r}; use Thread, or a function of a module"
        return _refusal(task, "spec.isolation", "Process", message, "Refused")
    return binding


def _refusal(task: Task, field: str, value: str, message: str, reason: str) -> Refusal:
    return Refusal(where=task.name, field=field, value=value, message=message, uid=task.uid, reason=reason)
