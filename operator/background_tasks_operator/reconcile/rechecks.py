"""One pass for one kind after it was listed anew: forget what was deleted while no watch told of it.

Not here: what follows from that (`memory` wishes for it).
"""

from background_tasks.api import names
from background_tasks_operator.reconcile.bodies import text
from background_tasks_operator.reconcile.keys import ObjectKey, PoolKey, Recheck, TaskKey
from background_tasks_operator.reconcile.memory import Memory
from background_tasks_operator.reconcile.ports import Api

ONE_BY_ONE = 20
"""Up to so many suspects are asked for by name; beyond, all objects of the kind are listed."""


class Rechecks:
    """Looks for what is gone."""

    def __init__(self, api: Api, memory: Memory) -> None:
        self._api = api
        self._memory = memory

    async def reconcile(self, key: Recheck) -> None:
        """Ask for all of a kind that the new lists did not tell of. Raises `Refused`, `Unavailable`."""
        suspects = self._suspects(key.kind)
        if len(suspects) <= ONE_BY_ONE:
            for suspect in suspects:
                found = await self._api.read(suspect)
                if found is None:
                    self._gone(suspect)
                else:
                    self._memory.told("MODIFIED", found)
            return
        living = await self._api.uids(key.kind)
        for suspect in self._suspects(key.kind):
            if self._uid(suspect) not in living:
                self._gone(suspect)

    def _suspects(self, kind: str) -> list[ObjectKey]:
        since = self._memory.relist_began
        match kind:
            case names.TASK_KIND:
                return [ObjectKey(kind, key.namespace, key.name) for key in self._memory.tasks.unseen_since(since)]
            case names.POOL_KIND:
                pools = self._memory.objects.pools_unseen_since(since)
                return [ObjectKey(kind, key.namespace, key.name) for key in pools]
            case _:
                return self._memory.objects.children_unseen_since(kind, since)

    def _uid(self, key: ObjectKey) -> str:
        if key.kind == names.TASK_KIND:
            record = self._memory.tasks.get(TaskKey(key.namespace, key.name))
            return record.uid if record is not None else ""
        objects = self._memory.objects
        is_pool = key.kind == names.POOL_KIND
        body = objects.pool(PoolKey(key.namespace, key.name)) if is_pool else objects.child(key)
        return text(body, "uid") if body is not None else ""

    def _gone(self, key: ObjectKey) -> None:
        match key.kind:
            case names.TASK_KIND:
                self._memory.task_gone(TaskKey(key.namespace, key.name))
            case names.POOL_KIND:
                self._memory.pool_gone(PoolKey(key.namespace, key.name))
            case _:
                self._memory.child_gone(key)
