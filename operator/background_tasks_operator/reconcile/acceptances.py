"""One pass for one task: tell it whether it is accepted, when that changed, and when it has no worker any more.

Not here: judging (`plan.acceptance`, done when the task's body came by), the pool that it needs (`pools`).
"""

from typing import Any

from background_tasks.api import names
from background_tasks.ports import Clock
from background_tasks_operator.plan.acceptance import accepted_status
from background_tasks_operator.reconcile.keys import TaskKey
from background_tasks_operator.reconcile.memory import Memory
from background_tasks_operator.reconcile.objects import Existence
from background_tasks_operator.reconcile.ports import Api
from background_tasks_operator.reconcile.queue import Again
from background_tasks_operator.reconcile.tasklist import TaskRecord


class Acceptances:
    """Tells tasks."""

    def __init__(self, api: Api, memory: Memory, *, clock: Clock) -> None:
        self._api = api
        self._memory = memory
        self._clock = clock

    async def reconcile(self, key: TaskKey) -> Again | None:
        """Write what is ours of one task's status, if it is not as it should be. Raises `Refused`, `Unavailable`."""
        record = self._memory.tasks.get(key)
        if record is None:
            return None
        existence = self._memory.objects.existence(record.pool)
        if existence is Existence.UNKNOWN:
            return None  # its pool is being asked for, and then its tasks are judged again
        exists, wait = existence is Existence.PRESENT, self._memory.no_worker_in(record)
        status = accepted_status(
            _slim(key, record),
            record.accepted(pool_exists=exists),
            self._clock.wall(),
            ready=record.no_worker(pool_exists=exists) if wait == 0 else None,
        )
        if status is not None:
            told = await self._api.apply_status(status, manager=names.OPERATOR_MANAGER)
            if told is not None:
                self._memory.task_seen(told)
        return Again(wait) if wait else None


def _slim(key: TaskKey, record: TaskRecord) -> dict[str, Any]:
    """Return what is needed of the task's body."""
    return {
        "kind": names.TASK_KIND,
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "uid": record.uid,
            "resourceVersion": str(record.version or ""),
        },
        "status": {"conditions": [told for told in (record.told, record.vacant) if told is not None]},
    }
