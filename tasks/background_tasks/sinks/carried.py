"""A ledger in a Redis, with copies in the tasks' status: a pool is given a Redis or loses it, and nothing runs twice.

What a status says itself, from before the pool had the Redis, counts where it is the newer word. A copy never does, as
the Redis knows better: it is for workers that have no Redis any more.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager

from background_tasks.domain.model import Fence, Past, RunRecord, Task, TaskUid
from background_tasks.errors import Unavailable
from background_tasks.ports import RunLedger
from background_tasks.sinks.kubernetes import StatusStore

_log = logging.getLogger("background_tasks.ledger")


class CarriedLedger:
    """`ports.RunLedger`: `ledger` decides, `store` carries copies."""

    def __init__(self, ledger: RunLedger, store: StatusStore, *, report: Callable[[str], None] = _log.warning) -> None:
        self._ledger = ledger
        self._store = store
        self._report = report

    async def load(self, uids: Iterable[TaskUid]) -> Mapping[TaskUid, Past]:
        """Read the pasts of many tasks: of each the newest word.

        An API server that is away is passed over: workers with a Redis live on without it, and what it would add is
        only from before they had one.
        """
        wanted = set(uids)
        found = dict(await self._ledger.load(wanted))
        try:
            before = await self._store.load(wanted)
        except Unavailable as error:
            self._report(f"what tasks did before the pool had its Redis is not read: {error}")
            return found
        for uid, past in before.items():
            if uid not in found or _latest(past) > _latest(found[uid]):
                found[uid] = past
        return found

    async def claim(self, task: Task, scheduled_for: float, fence: Fence | None) -> bool:
        """Write that this fire time is being served. False: it was claimed before. Raises `Superseded`."""
        return await self._ledger.claim(task, scheduled_for, fence)

    async def record(self, task: Task, past: Past | None, run: RunRecord | None, *, fence: Fence | None = None) -> None:
        """Write the past; a copy goes with the next status. Raises `Superseded`."""
        await self._ledger.record(task, past, run, fence=fence)
        self._store.carry(task, past, fence if run is None or run.fence is None else run.fence)

    async def forget(self, uid: TaskUid) -> None:
        """Drop everything about a removed task."""
        await self._ledger.forget(uid)
        await self._store.forget(uid)

    def hurried(self, uids: Collection[TaskUid] | None = None) -> AbstractAsyncContextManager[None]:
        """Have copies written inside as fast as it goes: whoever takes over may have no Redis."""
        return self._store.hurried(uids)


def _latest(past: Past) -> float:
    """Return the last instant that a past knows of."""
    known = (past.fired_at, past.started_at, past.ended_at, past.baseline, past.held_at, past.owed)
    return max((instant for instant in known if instant is not None), default=float("-inf"))
