"""Asyncio background tasks that run again and again: declared, leader-elected, explained.

The public names; each is imported when it is first used, so that importing the package stays cheap and needs no
graph, chat or platform library. Nothing inside the package imports from here.
"""

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "background_task": "authoring",
    "_BACKGROUND_TASKS_REGISTRY": "authoring",
    "RunContext": "authoring",
    "TaskParams": "authoring",
    "TaskReport": "authoring",
    "current_run": "authoring",
    "BackgroundScheduler": "worker.background_scheduler",
    "TaskSupervisor": "worker.supervisor",
    "kubernetes_lease": "worker.supervisor",
    "build_scheduler": "worker.build",
    "scheduled_prompt_tick": "catalogue.scheduled_prompt_tick",
    "scheduled_prompt_cleanup": "catalogue.scheduled_prompt_cleanup",
    "journal_stream_task": "catalogue.journal_stream",
    "kg_decay_task": "catalogue.kg_decay",
    "limbic_maintenance_task": "catalogue.limbic_maintenance",
}

if TYPE_CHECKING:
    from background_tasks.authoring import _BACKGROUND_TASKS_REGISTRY as _BACKGROUND_TASKS_REGISTRY
    from background_tasks.authoring import RunContext as RunContext
    from background_tasks.authoring import TaskParams as TaskParams
    from background_tasks.authoring import TaskReport as TaskReport
    from background_tasks.authoring import background_task as background_task
    from background_tasks.authoring import current_run as current_run
    from background_tasks.catalogue.journal_stream import journal_stream_task as journal_stream_task
    from background_tasks.catalogue.kg_decay import kg_decay_task as kg_decay_task
    from background_tasks.catalogue.limbic_maintenance import limbic_maintenance_task as limbic_maintenance_task
    from background_tasks.catalogue.scheduled_prompt_cleanup import scheduled_prompt_cleanup as scheduled_prompt_cleanup
    from background_tasks.catalogue.scheduled_prompt_tick import scheduled_prompt_tick as scheduled_prompt_tick
    from background_tasks.worker.background_scheduler import BackgroundScheduler as BackgroundScheduler
    from background_tasks.worker.build import build_scheduler as build_scheduler
    from background_tasks.worker.supervisor import TaskSupervisor as TaskSupervisor
    from background_tasks.worker.supervisor import kubernetes_lease as kubernetes_lease

__all__ = [name for name in _HOMES if not name.startswith("_")]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
