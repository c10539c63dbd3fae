"""The run ledger and statuses in memory: for tests, and for a scheduler that needs to remember nothing longer."""

from collections import deque
from collections.abc import Iterable, Mapping

from background_tasks.domain.model import Fence, Past, RunRecord, Task, TaskUid
from background_tasks.errors import Superseded, Unavailable

RUNS_KEPT = 10_000
CLAIMS_KEPT = 32


class MemoryLedger:
    """`ports.RunLedger` in memory, bounded: the last 10,000 runs, and what each task must remember."""

    def __init__(self, runs_kept: int = RUNS_KEPT) -> None:
        self.pasts: dict[TaskUid, Past] = {}
        self.runs: deque[RunRecord] = deque(maxlen=runs_kept)
        """Runs that ended, oldest first."""
        self.outage = ""
        """While it is not empty, every call raises `Unavailable` with this sentence."""
        self._claims: dict[TaskUid, deque[float]] = {}
        self._realms: dict[str, int] = {}
        self._newest: dict[int, tuple[int, int]] = {}

    async def load(self, uids: Iterable[TaskUid]) -> Mapping[TaskUid, Past]:
        """Read the pasts of many tasks; one that never ran is absent."""
        self._reach("read ledger")
        return {uid: self.pasts[uid] for uid in uids if uid in self.pasts}

    async def claim(self, task: Task, scheduled_for: float, fence: Fence | None) -> bool:
        """Write that this fire time is being served. False: it was claimed before. Raises `Superseded`."""
        self._reach("claim a fire time")
        self._admit(task, fence)
        claims = self._claims.setdefault(task.uid, deque(maxlen=CLAIMS_KEPT))
        if scheduled_for in claims:
            return False
        claims.append(scheduled_for)
        return True

    async def record(self, task: Task, past: Past | None, run: RunRecord | None, *, fence: Fence | None = None) -> None:
        """Write the past, and the run that ended, if nobody with a newer fence was first: `Superseded`."""
        self._reach("write ledger")
        self._admit(task, fence if run is None or run.fence is None else run.fence)
        if past is not None:
            self.pasts[task.uid] = past
        if run is not None:
            self.runs.append(run)

    async def forget(self, uid: TaskUid) -> None:
        """Drop what is remembered of a removed task."""
        self._reach("forget a task")
        self.pasts.pop(uid, None)
        self._claims.pop(uid, None)

    def _reach(self, doing: str) -> None:
        if self.outage:
            raise Unavailable(f"memory: {doing}: {self.outage}")

    def _admit(self, task: Task, fence: Fence | None) -> None:
        """Let the newest fence of a slot through, for ever; realms are numbered as they first come."""
        if fence is None:
            return
        ours = self._realms.setdefault(fence.realm, len(self._realms) + 1), fence.epoch
        if ours < self._newest.get(fence.slot, (0, 0)):
            raise Superseded(f"{task.name}: fence {fence} came too late: nothing was written")
        self._newest[fence.slot] = ours


class MemoryStatusSink:
    """`ports.StatusSink` in memory."""

    def __init__(self) -> None:
        self.statuses: dict[TaskUid, Mapping[str, object]] = {}
        self.outage = ""
        """While it is not empty, every call raises `Unavailable` with this sentence."""

    async def publish(self, uid: TaskUid, status: Mapping[str, object]) -> None:
        """Show the status."""
        self._reach("write status")
        self.statuses[uid] = status

    async def withdraw(self, uid: TaskUid) -> None:
        """The task is gone."""
        self._reach("withdraw status")
        self.statuses.pop(uid, None)

    def _reach(self, doing: str) -> None:
        if self.outage:
            raise Unavailable(f"memory: {doing}: {self.outage}")
