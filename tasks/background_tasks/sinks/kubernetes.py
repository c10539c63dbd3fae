"""Run ledger and statuses in the tasks' own `status`: what is remembered and what is shown are one write.

Not here: requests and fences (`task_objects`), whose turn it is (`status_queue`), what is written (`resource_status`).

Pasts of tasks that run rarely are written before `record` returns. Those of tasks that run often are taken at once and
written with the next status, about twice a minute: a crash forgets so much of their grid, a release or a drain nothing
(`hurried`). Runs themselves are kept in what is shown, and in logs.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from background_tasks.api.status import MAX_HISTORY
from background_tasks.domain.model import Fence, Past, RunRecord, Task, TaskUid
from background_tasks.domain.weight import is_long, is_weighty
from background_tasks.errors import Superseded
from background_tasks.ports import Clock
from background_tasks.services.kubernetes.client import Cluster
from background_tasks.sinks.codec import load_past
from background_tasks.sinks.resource_status import COUNTS, News, counts, fence_of, verdicts
from background_tasks.sinks.status_queue import StatusQueue
from background_tasks.sinks.task_objects import Address, TaskObjects
from background_tasks.sinks.turns import Rank, Turns

QUIET_S = 31.0
"""A task that runs often is written no more often than this: at most once in any half minute."""
PAST_WAITS_S = 33.0
"""After so long the past of such a task is written by itself; mostly the next status takes it along."""
LINGER_S = 0.05
"""The end of a run is told to the ledger and to people: so long the one waits for the other."""
REPORTS_KEPT = 1000

_log = logging.getLogger("background_tasks.status")


@dataclass(slots=True)
class _Told:
    """What this worker told of one task."""

    at: float = float("-inf")
    """When it was written last."""
    fence: Fence | None = None
    is_long: bool = False
    history_limit: int = MAX_HISTORY
    counted: Mapping[str, int] = field(default_factory=dict)
    """Runs that this worker counted, when it told of them last."""
    carried: Mapping[str, int] = field(default_factory=dict)
    """Runs that others had counted before it."""
    too_late: Superseded | None = None
    """What became of a past that nobody waited for."""


class StatusStore:
    """`ports.RunLedger` and `ports.StatusSink` over the API server. Run `work()` for as long as the worker lives.

    `address` finds a task that was never loaded or recorded; `verify` (`Membership.verify`) says whether a fence of a
    realm that a resource has not seen yet still holds. Without `ledger` another one knows the pasts, and copies of them
    are written with the statuses (`carry`).
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        pool: str,
        worker: str,
        clock: Clock,
        address: Callable[[TaskUid], Address | None] = lambda uid: None,
        ledger: bool = True,
        verify: Callable[[Fence], Awaitable[None]] | None = None,
        report: Callable[[str], None] = _log.warning,
        turns: Turns | None = None,
    ) -> None:
        self._clock = clock
        self._is_ledger = ledger
        self._report = report
        self._reported: set[str] = set()
        self._turns = turns or Turns()
        self._queue = StatusQueue(
            self._write, clock, turns=self._turns, too_late=self._too_late, report=self._report_once
        )
        self._told: dict[TaskUid, _Told] = {}
        self._objects = TaskObjects(
            cluster,
            namespace=namespace,
            pool=pool,
            worker=worker,
            copies=not ledger,
            address=address,
            verify=verify,
            report=self._report_once,
        )

    async def work(self) -> None:
        """Write what waits, in turn, for ever."""
        await self._queue.work()

    # --- ports.RunLedger -----------------------------------------------------------------------------------------

    async def load(self, uids: Iterable[TaskUid]) -> Mapping[TaskUid, Past]:
        """Read the pasts of many tasks; one that never ran, or whose past cannot be read, is absent.

        Where another ledger knows better, so is one of which only a copy is here.
        """
        found = await self._objects.read(set(uids))
        for uid, seen in found.items():
            told = self._told.setdefault(uid, _Told())
            told.fence, told.too_late = None, None
            before = counts(json.loads(seen.shown))
            told.carried = {name: max(0, count - told.counted.get(name, 0)) for name, count in before.items()}
        return {
            uid: load_past(seen.past)
            for uid, seen in found.items()
            if seen.past is not None and (self._is_ledger or not seen.is_copy)
        }

    async def claim(self, task: Task, scheduled_for: float, fence: Fence | None) -> bool:
        """Write that this fire time is being served. False: it was claimed before. Raises `Superseded`."""
        self._objects.meet(task.uid, task.name)
        self._turns.spend(self._clock.monotonic())
        return await self._objects.claim(task.uid, scheduled_for, fence)

    def carry(self, task: Task, past: Past | None, fence: Fence | None) -> None:
        """Take a copy of a past, which another ledger knows, along with the next status; nobody waits for it."""
        told = self._told.setdefault(task.uid, _Told())
        told.is_long, told.history_limit = is_long(task.policy), task.policy.history_limit
        told.too_late = None  # who is the newer one, the ledger says
        self._objects.meet(task.uid, task.name)
        if past is not None:
            told.fence = fence or told.fence
            news = News(past=past, fence=fence)
            self._queue.put(task.uid, news, Rank.SHORT, self._clock.monotonic() + PAST_WAITS_S)

    async def record(self, task: Task, past: Past | None, run: RunRecord | None, *, fence: Fence | None = None) -> None:
        """Take the past after a run. Raises `Superseded` also for an earlier one that was taken and came too late."""
        fence = fence if run is None or run.fence is None else run.fence
        told = self._told.setdefault(task.uid, _Told())
        told.is_long, told.history_limit = is_long(task.policy), task.policy.history_limit
        late, told.too_late = told.too_late, None
        if late is not None:
            raise late
        self._objects.meet(task.uid, task.name)
        seen = self._objects.seen(task.uid)
        if seen is not None:
            await self._objects.admit(seen, fence)
        if past is None:
            return
        told.fence = fence or told.fence
        news = News(past=past, fence=fence)
        if not is_weighty(task.policy):
            self._queue.put(task.uid, news, Rank.SHORT, told.at + PAST_WAITS_S)
            return
        self._queue.put(task.uid, news, Rank.LONG, self._clock.monotonic() + LINGER_S)
        await self._queue.written(task.uid)

    async def forget(self, uid: TaskUid) -> None:
        """The task is gone, and what is remembered of it with it."""
        self._forget(uid)

    # --- ports.StatusSink ----------------------------------------------------------------------------------------

    async def publish(self, uid: TaskUid, status: Mapping[str, object]) -> None:
        """Show the status when its turn has come; a later one takes its place."""
        told = self._told.setdefault(uid, _Told())
        singleton = "slot" in status
        told.fence = fence_of(status.get("fence")) or (told.fence if singleton else None)
        if told.fence is None and singleton:
            return  # its slot went before anything was told of it here: the next holder tells
        now, seen = self._clock.monotonic(), self._objects.seen(uid)
        shown = () if seen is None else verdicts(json.loads(seen.shown))
        told.counted = counts(status)
        runs = {name: told.counted.get(name, 0) + told.carried.get(name, 0) for name in COUNTS}
        news = News(status={**status, "runs": runs}, fence=told.fence, history_limit=told.history_limit)
        if shown and verdicts(status) != shown:
            self._queue.put(uid, news, Rank.CHANGED, now)
        elif told.is_long or not shown:
            self._queue.put(uid, news, Rank.LONG, now)
        else:
            self._queue.put(uid, news, Rank.SHORT, told.at + QUIET_S)

    async def withdraw(self, uid: TaskUid) -> None:
        """The task is gone, and its status with it."""
        self._forget(uid)

    # --- ports.Coalescing ----------------------------------------------------------------------------------------

    def hurried(self, uids: Collection[TaskUid] | None = None) -> AbstractAsyncContextManager[None]:
        """Write without regard to budgets inside; leaving returns when all (about these tasks) is written."""
        return self._queue.hurried(uids)

    # --- within --------------------------------------------------------------------------------------------------

    async def _write(self, uid: TaskUid, news: News) -> None:
        if not await self._objects.write(uid, news):
            self._forget(uid)
            return
        told = self._told.setdefault(uid, _Told())
        told.at = self._clock.monotonic()

    def _too_late(self, uid: TaskUid, error: Superseded) -> None:
        self._told.setdefault(uid, _Told()).too_late = error

    def _forget(self, uid: TaskUid) -> None:
        self._queue.drop(uid)
        self._objects.forget(uid)
        self._told.pop(uid, None)

    def _report_once(self, sentence: str) -> None:
        if sentence not in self._reported and len(self._reported) < REPORTS_KEPT:
            self._reported.add(sentence)
            self._report(sentence)
