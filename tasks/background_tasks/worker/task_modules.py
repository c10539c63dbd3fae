"""Finds coroutines: those of the catalogue, and those of a pool's `taskModules`, imported by name.

Not here: binding a task to one (`registry`). A module that cannot be imported is a refusal that names the error and
where it is raised; the other modules go on.
"""

import sys
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from background_tasks.authoring import Declaration, TaskCoroutine, declaration_of, declarations, is_coroutine_function
from background_tasks.ports import Refusal

FIELD = "spec.taskModules"
UNSCHEDULED = 1.0
"""Interval of a coroutine that no decorator gave one: whoever runs it has a schedule of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What imports brought."""

    declarations: tuple[Declaration, ...]
    modules: frozenset[str]
    """Modules that were imported: `module:attribute` may name what they define."""
    refusals: tuple[Refusal, ...] = ()


def load(entries: Iterable[str], task_modules: Iterable[str]) -> Loaded:
    """Import `module:coroutine` entries and whole modules, in this order. Never raises for what a module does."""
    found: list[Declaration] = []
    modules: set[str] = set()
    refusals: list[Refusal] = []
    for name in dict.fromkeys((*entries, *task_modules)):
        module_name, _, attribute = name.partition(":")
        module = _import(module_name)
        if isinstance(module, Refusal):
            refusals.append(module)
            continue
        modules.add(module_name)
        found += [declared(getattr(module, attribute))] if attribute else list(_declared_by(module))
    return Loaded(declarations=tuple(found), modules=frozenset(modules), refusals=tuple(refusals))


def declared(func: TaskCoroutine, name: str | None = None) -> Declaration:
    """Return what the decorator said, or a bare declaration of a coroutine that was never decorated."""
    label = name or str(getattr(func, "__name__", func))
    return declaration_of(func) or Declaration(name=label, func=func, interval=UNSCHEDULED)


def attribute_of(module_name: str, attribute: str) -> TaskCoroutine | None:
    """Return a coroutine function that an imported module defines, or that is decorated; None for anything else.

    A name that the module merely imported is not enough: a resource must not reach what nobody offered.
    """
    found: TaskCoroutine | None = getattr(sys.modules.get(module_name), attribute, None)
    if found is None or not is_coroutine_function(found):
        return None
    is_own = getattr(found, "__module__", None) == module_name and not attribute.startswith("_")
    return found if is_own or declaration_of(found) is not None else None


def entry_of(func: TaskCoroutine) -> str | None:
    """Spell `module:attribute` by which another process finds the function; None where it cannot."""
    module, attribute = getattr(func, "__module__", None), getattr(func, "__qualname__", "")
    if not module or module == "__main__" or getattr(sys.modules.get(module), attribute, None) is not func:
        return None
    return f"{module}:{attribute}"


def _declared_by(module: ModuleType) -> Iterator[Declaration]:
    """Name what is decorated in the module, below it, or shown by it."""
    shown = {id(value) for value in vars(module).values()}
    for declaration in declarations():
        home = str(getattr(declaration.func, "__module__", ""))
        is_below = home == module.__name__ or home.startswith(f"{module.__name__}.")
        if is_below or id(declaration.func) in shown:
            yield declaration


def _import(name: str) -> ModuleType | Refusal:
    try:
        return import_module(name)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a user's module may raise anything; the others go on
        return Refusal(where=name, field=FIELD, value=name, message=_import_failure(name, error), reason="ImportFailed")


def _import_failure(name: str, error: BaseException) -> str:
    said = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    if isinstance(error, ModuleNotFoundError) and error.name and name.startswith(error.name):
        return f"{FIELD}: there is no module {name!r} ({said}); correct the name, or install it where the worker runs"
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    at = f" at {own[-1].filename}:{own[-1].lineno}" if len(own) > 1 else ""
    return f"{FIELD}: {name!r} cannot be imported: {said}{at}; correct the module, its tasks are unknown until then"
