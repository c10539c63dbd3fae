"""What users test their tasks with: virtual time, one run of a task, a whole world that an hour can be advanced in.

Names are imported when they are first used: the pytest plugin of this room is loaded by every pytest run, and must
cost nothing there.
"""

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "CrashingClient": "crashes",
    "FrozenClock": "runs",
    "a_run": "runs",
    "LoopClock": "one_run",
    "MemoryLeases": "memory",
    "MemoryLedger": "memory",
    "MemoryStatusSink": "memory",
    "Notes": "notes",
    "RunResult": "one_run",
    "Stuck": "virtual_time",
    "TaskWorld": "world",
    "VirtualTime": "virtual_time",
    "run_task": "one_run",
}

if TYPE_CHECKING:
    from background_tasks.testing.crashes import CrashingClient as CrashingClient
    from background_tasks.testing.memory import MemoryLeases as MemoryLeases
    from background_tasks.testing.memory import MemoryLedger as MemoryLedger
    from background_tasks.testing.memory import MemoryStatusSink as MemoryStatusSink
    from background_tasks.testing.notes import Notes as Notes
    from background_tasks.testing.one_run import LoopClock as LoopClock
    from background_tasks.testing.one_run import RunResult as RunResult
    from background_tasks.testing.one_run import run_task as run_task
    from background_tasks.testing.runs import FrozenClock as FrozenClock
    from background_tasks.testing.runs import a_run as a_run
    from background_tasks.testing.virtual_time import Stuck as Stuck
    from background_tasks.testing.virtual_time import VirtualTime as VirtualTime
    from background_tasks.testing.world import TaskWorld as TaskWorld

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
