"""What a coroutine is called with: each argument is found by the name of its parameter.

Not here: whether a pool has a service (`registry` asks the gates), or what params may say (`params`).
"""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from background_tasks.api.hints import nearest
from background_tasks.authoring import RunContext, TaskCoroutine, is_coroutine_function
from background_tasks.errors import Refused

SERVICES = (
    "redis",
    "kg_manager",
    "openrouter",
    "bot_runner",
    "message_cache",
    "embedding_queue",
    "adapters",
)
"""Parameters that are outside worlds: without a default, the task needs the service."""
CONFIG = "config"
"""The pool's flags, or the object given to `build_scheduler`. Never a gate: without one it is None."""
KNOWN = (*SERVICES, CONFIG, "ctx", "params")

type Call = Callable[[RunContext[Any]], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What one coroutine function takes, as its signature says."""

    needed: frozenset[str]
    """Services without a default."""
    optional: frozenset[str]
    """Services with a default, which stands where the pool has none."""
    of_run: frozenset[str]
    """Of `ctx`, `params`, `config`."""

    @property
    def belongs_to_loop(self) -> bool:
        """Whether it is given something that may be tied to the worker's loop: a client, or a way to one."""
        return bool(self.needed or self.optional or "ctx" in self.of_run)

    def of(self, ctx: RunContext[Any]) -> dict[str, object]:
        """Collect the arguments of one run."""
        get = ctx.services.get if ctx.services is not None else _nothing
        found: dict[str, object] = {name: get(name) for name in self.needed}
        for name in self.optional:
            service = get(name)
            if service is not None:
                found[name] = service
        for name in self.of_run:
            found[name] = ctx if name == "ctx" else ctx.params if name == "params" else get(CONFIG)
        return found


def arguments_of(func: TaskCoroutine) -> Arguments:
    """Read the signature. Raises `Refused` for what is not async, and for a parameter that nobody could fill."""
    if not is_coroutine_function(func):
        raise Refused(f"{func!r} is not a coroutine function; declare it with `async def`")
    needed: set[str] = set()
    optional: set[str] = set()
    of_run: set[str] = set()
    for parameter in inspect.signature(func).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        has_default = parameter.default is not parameter.empty
        if parameter.kind is parameter.POSITIONAL_ONLY or parameter.name not in KNOWN:
            if not has_default:
                raise Refused(_unfillable(func, parameter))
        elif parameter.name in SERVICES:
            (optional if has_default else needed).add(parameter.name)
        else:
            of_run.add(parameter.name)
    return Arguments(needed=frozenset(needed), optional=frozenset(optional), of_run=frozenset(of_run))


def call_of(func: TaskCoroutine, arguments: Arguments) -> Call:
    """Make what the engine calls for a run."""
    if not (arguments.needed or arguments.optional or arguments.of_run):

        async def call_bare(_: RunContext[Any]) -> object:
            return await func()

        return call_bare

    async def call(ctx: RunContext[Any]) -> object:
        return await func(**arguments.of(ctx))

    return call


def _unfillable(func: TaskCoroutine, parameter: inspect.Parameter) -> str:
    name = getattr(func, "__name__", repr(func))
    if parameter.kind is parameter.POSITIONAL_ONLY:
        return f"{name}: parameter {parameter.name!r} is positional-only; arguments are passed by name, remove the `/`"
    meant = nearest(parameter.name, KNOWN)
    fix = f"did you mean {meant}?" if meant else f"known are {', '.join(KNOWN)}; give it a default or rename it"
    return f"{name}: nothing is known for parameter {parameter.name!r}; {fix}"


def _nothing(_: str) -> None:
    return None
