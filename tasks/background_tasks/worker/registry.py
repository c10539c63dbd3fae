"""Name -> coroutine: what `spec.task` may say in this pool, and what becomes of a task that says it.

Not here: importing (`task_modules`), schedules, runs. A name belongs to one coroutine: the first that took it, the
catalogue before all others; whoever comes later with the same name is refused, and told.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pydantic import BaseModel

from background_tasks.api.hints import nearest
from background_tasks.authoring import Declaration, Services
from background_tasks.catalogue import entries
from background_tasks.domain.gates import Gate, unmet
from background_tasks.domain.model import EMPTY, Isolation, Policy, Task
from background_tasks.engine.scheduler import Binding
from background_tasks.errors import Refused
from background_tasks.ports import Refusal
from background_tasks.worker.arguments import SERVICES, Arguments, Call, arguments_of, call_of
from background_tasks.worker.params import check, model_of
from background_tasks.worker.task_modules import attribute_of, declared, entry_of, load

SHOWN_NAMES = 12
"""Names that a refusal lists where none is near; a pool may know hundreds."""
CATALOGUE_MODULES = frozenset(entry.partition(":")[0] for entry in entries())
SPOKEN_SERVICES = {"knowledgeGraph": "kg_manager", "chatModel": "openrouter"}
"""How a WorkerPool spells services, for `spec.requires`."""
POOL_SERVICES = frozenset({*SERVICES, "embeddings"})
"""What else `spec.requires` names is a flag, unless the worker has a service of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A coroutine that can be run."""

    declaration: Declaration
    arguments: Arguments
    model: type[BaseModel] | None
    call: Call
    entry: str | None

    @property
    def needs(self) -> frozenset[str]:
        """Services without which it cannot run."""
        return self.declaration.requires | self.arguments.needed

    @property
    def movable(self) -> bool:
        """Whether it may run on another loop than the worker's."""
        return not self.needs and not self.arguments.belongs_to_loop and self.declaration.singleton


def ready(declaration: Declaration) -> Ready:
    """Look at a coroutine once. Raises `Refused` when it could never be run."""
    arguments = arguments_of(declaration.func)
    return Ready(
        declaration=declaration,
        arguments=arguments,
        model=model_of(declaration.func, declaration.params),
        call=call_of(declaration.func, arguments),
        entry=entry_of(declaration.func),
    )


def named(declarations: Iterable[Declaration]) -> tuple[Mapping[str, Declaration], tuple[Refusal, ...]]:
    """Give every name to one coroutine; the same function twice is once, another one under a taken name is refused."""
    names: dict[str, Declaration] = {}
    refusals: list[Refusal] = []
    for declaration in declarations:
        taken = {name: names[name] for name in declaration.names if name in names}
        rivals = {name: other for name, other in taken.items() if other.func is not declaration.func}
        if rivals:
            refusals += [_taken(name, declaration, other) for name, other in sorted(rivals.items())]
            continue
        names |= dict.fromkeys(declaration.names - taken.keys(), declaration)
    return MappingProxyType(names), tuple(refusals)


class Registry:
    """All coroutines of one worker. `refusals` names modules that failed and names that were taken twice."""

    def __init__(
        self,
        declarations: Iterable[Declaration],
        *,
        services: Services,
        flags: Mapping[str, object] = EMPTY,
        modules: Iterable[str] = (),
        refusals: Iterable[Refusal] = (),
    ) -> None:
        self._services = services
        self._flags = flags
        self._modules = frozenset(modules)
        self.names, taken = named(declarations)
        self.refusals = (*refusals, *taken)
        self._ready: dict[str, Ready | str] = {}
        self._shared: dict[tuple[str, frozenset[str], Isolation], Binding] = {}

    @classmethod
    def load(
        cls, task_modules: Iterable[str] = (), *, services: Services, flags: Mapping[str, object] = EMPTY
    ) -> "Registry":
        """Import the catalogue and a pool's modules. What cannot be imported is in `refusals`."""
        loaded = load(entries(), task_modules)
        return cls(
            loaded.declarations, services=services, flags=flags, modules=loaded.modules, refusals=loaded.refusals
        )

    def bind(self, task: Task) -> Binding | Refusal:
        """Make of a task what the engine runs, or say in one sentence why it cannot run here."""
        return (None if task.params else self._shared.get(_key(task.policy))) or self._bind(task)

    def _bind(self, task: Task) -> Binding | Refusal:
        found = self._find(task.policy.coroutine)
        if isinstance(found, str):
            return _refuse(task, "spec.task", task.policy.coroutine, found, "UnknownTask")
        try:
            params = check(found.model, task.params, task=found.declaration.name)
        except Refused as error:
            return _refuse(task, "spec.params", dict(task.params), str(error), "InvalidParams")
        unfit = _unfit_for_process(found) if task.policy.isolation is Isolation.PROCESS else ""
        if unfit:
            return _refuse(task, "spec.isolation", "Process", unfit, "InvalidIsolation")
        gates = self._unmet(found, task.policy.requires)
        if gates:
            return _refuse(task, "spec.task", gates[0].name, "; ".join(g.message for g in gates), gates[0].reason)
        binding = Binding(call=found.call, params=params, entry=found.entry, movable=found.movable)
        if not task.params and (found.model is None or found.model.model_config.get("frozen")):
            self._shared[_key(task.policy)] = binding
        return binding

    def _find(self, name: str) -> Ready | str:
        """Return the coroutine that a task names, or the sentence that says why there is none."""
        if name not in self._ready:
            declaration = self._named(name)
            if isinstance(declaration, str):
                return declaration
            try:
                self._ready[name] = ready(declaration)
            except Refused as error:
                self._ready[name] = f"spec.task: {error}"
        return self._ready[name]

    def _named(self, name: str) -> Declaration | str:
        if name in self.names:
            return self.names[name]
        module, _, attribute = name.partition(":")
        if attribute:
            return self._in_module(module, attribute)
        failed = "".join(f"; {refusal.message}" for refusal in self.refusals if refusal.reason == "ImportFailed")
        meant = nearest(name, tuple(self.names))
        known = ", ".join(sorted({declaration.name for declaration in self.names.values()})[:SHOWN_NAMES])
        hint = f"did you mean {meant}?" if meant else f"known: {known}"
        return f"spec.task: no coroutine {name!r} is known here; {hint}{failed}"

    def _in_module(self, module: str, attribute: str) -> Declaration | str:
        if not any(module == allowed or module.startswith(f"{allowed}.") for allowed in self._modules):
            allowed = ", ".join(sorted(name for name in self._modules if name not in CATALOGUE_MODULES))
            fix = f"it has {allowed}" if allowed else "it has none"
            return f"spec.task: module {module!r} is not one of the pool's taskModules ({fix}); add it there"
        func = attribute_of(module, attribute)
        if func is None:
            return (
                f"spec.task: {module!r} defines no coroutine function {attribute!r}; declare it there with `async def`"
            )
        return declared(func)

    def _unmet(self, found: Ready, more: frozenset[str]) -> tuple[Gate, ...]:
        extra = {SPOKEN_SERVICES.get(name, name) for name in more}
        flags = {name for name in extra - POOL_SERVICES if self._services.get(name) is None}
        needs = found.needs | (extra - flags)
        present = frozenset(name for name in needs if self._services.get(name) is not None)
        own = found.declaration
        gates = unmet(needs, own.requires_chat_llm, own.opt_in_config_flag, services=present, flags=self._flags)
        for flag in sorted(flags):
            gates += unmet(frozenset(), False, flag, services=present, flags=self._flags)
        return gates


def _key(policy: Policy) -> tuple[str, frozenset[str], Isolation]:
    return policy.coroutine, policy.requires, policy.isolation


def _unfit_for_process(found: Ready) -> str:
    """Say why a child process could not run the coroutine; empty: it can."""
    name = found.declaration.name
    if found.entry is None:
        return (
            f"spec.isolation: Process needs a function at the top of a module; {name} is not one, write Loop or Thread"
        )
    if found.arguments.needed:
        needed = ", ".join(sorted(found.arguments.needed))
        return f"spec.isolation: Process offers ctx and params, and {name} asks for {needed}; write Loop"
    return ""


def _taken(name: str, declaration: Declaration, other: Declaration) -> Refusal:
    mine, theirs = _home(declaration), _home(other)
    return Refusal(
        where=mine,
        field="name",
        value=name,
        message=f"{mine}: the name {name!r} belongs to {theirs}; it is not registered, give it another name",
        reason="NameTaken",
    )


def _home(declaration: Declaration) -> str:
    return (
        f"{getattr(declaration.func, '__module__', '?')}.{getattr(declaration.func, '__qualname__', declaration.name)}"
    )


def _refuse(task: Task, field: str, value: object, message: str, reason: str) -> Refusal:
    return Refusal(where=task.name, field=field, value=str(value), message=message, uid=task.uid, reason=reason)
