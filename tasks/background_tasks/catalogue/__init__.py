"""The tasks that ship with the project: one file each, one visible line each. Nothing is imported until asked for.

Not here: anything that two of them share; that is `knowledge`.
"""

from importlib import import_module
from pkgutil import iter_modules

from background_tasks.authoring import TaskCoroutine

CATALOGUE = (
    "scheduled_prompt_tick:scheduled_prompt_tick",
    "scheduled_prompt_cleanup:scheduled_prompt_cleanup",
    "kg_decay:kg_decay_task",
    "journal_stream:journal_stream_task",
    "limbic_maintenance:limbic_maintenance_task",
)
"""`file:coroutine`, in the order of the documentation."""


def entries() -> tuple[str, ...]:
    """Return every entry as `module:coroutine`, for those who import with care."""
    return tuple(f"{__name__}.{entry}" for entry in CATALOGUE)


def coroutines() -> tuple[TaskCoroutine, ...]:
    """Import all of them. Raises `ImportError` where an extra is missing."""
    pairs = (entry.split(":") for entry in entries())
    return tuple(getattr(import_module(module), attribute) for module, attribute in pairs)


def files() -> frozenset[str]:
    """Name the files of this folder that hold an entry: a file that is not in `CATALOGUE` is a mistake."""
    return frozenset(module.name for module in iter_modules(__path__))
