"""What `bgtasks up` knows of its pool at one moment, in plain data: the view draws it, the port serves it.

Not here: reading stores or files. Runs come in as the workers wrote them.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from background_tasks.domain.model import Outcome, RunPolicy, RunRecord, Task, TaskUid

KEPT_RUNS = 200_000
"""Runs that the summary looks at; the oldest go first."""
RECENT = 200


@dataclass(slots=True)
class TaskLine:
    """One task as a person sees it."""

    task: Task
    counts: Counter[Outcome] = field(default_factory=Counter)
    last: RunRecord | None = None

    def add(self, run: RunRecord) -> None:
        """Count a run."""
        self.counts[run.outcome] += 1
        if self.last is None or run.ended_at >= self.last.ended_at:
            self.last = run

    def as_json(self) -> dict[str, object]:
        """Return it for `/debug/tasks`."""
        last = self.last
        return {
            "name": self.task.name,
            "task": self.task.policy.coroutine,
            "runs": {outcome.value: count for outcome, count in self.counts.items()},
            "lastOutcome": last.outcome.value if last else None,
            "lastWorker": last.worker if last else None,
            "lastLatenessSeconds": round(last.lateness, 4) if last else None,
            "message": (last.message or last.reason) if last else "",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLine:
    """One worker place as a person sees it."""

    name: str
    pid: int | None
    member: str
    slots: tuple[int, ...]
    restarts: int
    alive: bool
    """Its lease is there."""
    rss_mib: float | None = None


@dataclass(slots=True)
class PoolState:
    """Everything that is known now."""

    began_at: float
    tasks: dict[TaskUid, TaskLine] = field(default_factory=dict)
    gone: dict[TaskUid, Task] = field(default_factory=dict)
    """Removed from the files during the session: their runs still count."""
    documents: tuple[str, ...] = ()
    """What is wrong with the files now, a sentence each."""
    unfit: dict[str, str] = field(default_factory=dict)
    """Name of a task that no worker can run, or of a worker that ended by itself -> sentence."""
    workers: tuple[WorkerLine, ...] = ()
    runs: deque[RunRecord] = field(default_factory=lambda: deque(maxlen=KEPT_RUNS))
    recent: deque[RunRecord] = field(default_factory=lambda: deque(maxlen=RECENT))
    trouble: str = ""
    """Why the state cannot be read right now."""
    happened: tuple[tuple[str, str], ...] = ()
    """What a demo shows beside the tasks: label, figure."""
    most_workers: int = 0

    def upsert(self, task: Task) -> None:
        """A task is new or changed."""
        line = self.tasks.get(task.uid)
        if line is None:
            self.tasks[task.uid] = TaskLine(task)
            self.gone.pop(task.uid, None)
        else:
            line.task = task

    def remove(self, uid: TaskUid) -> None:
        """A task is gone from the files."""
        line = self.tasks.pop(uid, None)
        if line is not None:
            self.gone[uid] = line.task
            self.unfit.pop(line.task.name, None)

    def judge(self, uids: Iterable[TaskUid], unfit: Mapping[TaskUid, str]) -> None:
        """Take what the workers said of these tasks: why they cannot be run, or nothing."""
        for uid in uids:
            line = self.tasks.get(uid)
            if line is None:
                continue
            if uid in unfit:
                self.unfit[line.task.name] = f"{line.task.name}: {unfit[uid]}"
            else:
                self.unfit.pop(line.task.name, None)

    def next_uids(self, after: int, count: int) -> tuple[TaskUid, ...]:
        """Return so many tasks from a place in their list on, and on from its beginning."""
        uids = list(self.tasks)
        first = after % max(len(uids), 1)
        return tuple((uids[first:] + uids[:first])[:count])

    def add_runs(self, runs: Iterable[RunRecord]) -> None:
        """Take runs in the order in which they were written."""
        for run in runs:
            self.runs.append(run)
            if run.outcome is not Outcome.SKIPPED:
                self.recent.append(run)
            line = self.tasks.get(run.uid)
            if line is not None:
                line.add(run)

    def set_workers(self, workers: tuple[WorkerLine, ...]) -> None:
        """Take the workers as they are now."""
        self.workers = workers
        self.most_workers = max(self.most_workers, sum(worker.alive for worker in workers))

    @property
    def refused(self) -> tuple[str, ...]:
        """Everything that does not run as it was meant to, a sentence each."""
        return (*self.documents, *self.unfit.values())

    @property
    def singletons(self) -> frozenset[TaskUid]:
        """The tasks that must never run on two workers."""
        known = [*(line.task for line in self.tasks.values()), *self.gone.values()]
        return frozenset(task.uid for task in known if task.policy.run_policy is RunPolicy.SINGLETON)

    @property
    def names(self) -> Mapping[TaskUid, str]:
        """uid -> name of the tasks that exist now."""
        return {uid: line.task.name for uid, line in self.tasks.items()}

    def totals(self) -> Counter[Outcome]:
        """Count runs by outcome over the session."""
        return Counter(run.outcome for run in self.runs)

    def rows(self) -> list[Mapping[str, object]]:
        """Return the tasks for `/debug/tasks`; called from a thread."""
        return [line.as_json() for line in sorted(self.tasks.copy().values(), key=lambda line: line.task.name)]
