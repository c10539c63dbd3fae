"""Checks tasks against the coroutines that modules register: does the name exist, do the params fit.

Not here: whether a service is there or a flag is on; that is a matter of the pool a task will run in.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from background_tasks.domain.model import Task
from background_tasks.errors import Refused
from background_tasks.ports import Refusal
from background_tasks.worker.registry import Registry

_OF_THE_POOL = frozenset({"MissingService", "FlagOff"})


class _AnyService:
    """Stands for a pool that has every service."""

    def get(self, name: str) -> object:
        """Return something, whatever the name."""
        return self


def registered(modules: Sequence[str]) -> Callable[[Task], Refusal | None]:
    """Import modules and return a check that says what keeps a task from running with what they register.

    Modules are looked for in the working directory as well, as `python -m` does. Raises `Refused` for one that cannot
    be imported.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    registry = Registry.load(modules, services=_AnyService())
    failed = [refusal.message for refusal in registry.refusals if refusal.value in modules]
    if failed:
        raise Refused("; ".join(failed))

    def check(task: Task) -> Refusal | None:
        bound = registry.bind(task)
        return bound if isinstance(bound, Refusal) and bound.reason not in _OF_THE_POOL else None

    return check
