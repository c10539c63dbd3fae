"""Every task in a few words: whose it is, whether it can be accepted, what its status tells. Bodies are not kept.

Not here: where the words come from (`memory`), and writing anything. 10,000 tasks are some MiB.
"""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from background_tasks.api import names
from background_tasks_operator.plan.acceptance import (
    ACCEPTED,
    INVALID,
    READY,
    VACANT_AFTER_S,
    acceptance,
    no_worker,
    no_worker_from,
    no_worker_told,
)
from background_tasks_operator.plan.conditions import Condition, is_told, present_conditions
from background_tasks_operator.plan.model import TaskCounts
from background_tasks_operator.reconcile.bodies import Body, generation, our_annotations, text, version
from background_tasks_operator.reconcile.keys import PoolKey, TaskKey

SHARED = 16_384
"""Equal words of many tasks are one object; so many are remembered."""


class _Every(Container[str]):
    def __contains__(self, item: object) -> bool:
        return True


@dataclass(slots=True, eq=False)
class TaskRecord:
    """One task."""

    uid: str
    pool: PoolKey
    sign: tuple[object, ...]
    """Equal signs: the same verdicts."""
    with_pool: Condition
    """What is told while its pool exists."""
    without_pool: Condition
    told: Mapping[str, Any] | None
    """`Accepted` as its status has it."""
    vacant: Mapping[str, Any] | None
    """`Ready` as its status has it, where it tells that there is no worker."""
    judged: bool
    """`Ready` is False, for whatever reason."""
    ready: bool
    running: bool
    late: bool
    version: int
    changed_at: float
    """When a watch told of its present version."""
    seen_at: float

    def marks(self) -> tuple[PoolKey, bool, bool, bool]:
        """Return what the counts of its pool are made of."""
        return self.pool, self.ready, self.running, self.late

    def verdict(self, *, pool_exists: bool) -> Condition | None:
        """Return what has to be written; None where it is told already."""
        due = self.accepted(pool_exists=pool_exists)
        return None if is_told(due, self.told) else due

    def accepted(self, *, pool_exists: bool) -> Condition:
        """Return what has to stand there."""
        return self.with_pool if pool_exists else self.without_pool

    def no_worker(self, *, pool_exists: bool) -> Condition:
        """Return what has to be told while there is no worker."""
        seen = self.with_pool.observed_generation
        return no_worker(self.pool.namespace, self.pool.name, seen, pool_exists=pool_exists)

    def no_worker_from(self, vacant_since: float, *, pool_exists: bool) -> float | None:
        """Return from when on that has to be told. None: never, as it is told, or the task does not claim to be ready.

        Without a pool, what never had a worker needs no word more than `Accepted`.
        """
        if self.ready:
            return no_worker_from(vacant_since=vacant_since, changed_at=self.changed_at)
        if self.vacant is not None:
            told = is_told(self.no_worker(pool_exists=pool_exists), self.vacant)
            return None if told else vacant_since + VACANT_AFTER_S
        return vacant_since + VACANT_AFTER_S if pool_exists and not self.judged else None


@dataclass(slots=True)
class _Members:
    """Tasks of one pool."""

    keys: set[TaskKey] = field(default_factory=set)
    ready: int = 0
    running: int = 0
    late: int = 0


class TaskList:
    """All tasks that exist, as far as was told."""

    def __init__(self) -> None:
        self._records: dict[TaskKey, TaskRecord] = {}
        self._pools: dict[PoolKey, _Members] = {}

    def __len__(self) -> int:
        return len(self._records)

    def get(self, key: TaskKey) -> TaskRecord | None:
        """Return a task's record; None: there is no such task."""
        return self._records.get(key)

    def of_pool(self, pool: PoolKey) -> Iterator[TaskKey]:
        """Yield the tasks that name a pool."""
        members = self._pools.get(pool)
        return iter(tuple(members.keys) if members else ())

    def counts(self, pool: PoolKey) -> TaskCounts:
        """Count the tasks of a pool."""
        members = self._pools.get(pool, _Members())
        return TaskCounts(total=len(members.keys), ready=members.ready, running=members.running, late=members.late)

    def seen(self, body: Body, now: float) -> tuple[TaskKey, set[PoolKey]] | None:
        """Take in a task; return its key and the pools whose counts it changed. None: something newer is known."""
        key = TaskKey(text(body, "namespace"), text(body, "name"))
        before = self._records.get(key)
        if before is not None and before.uid == text(body, "uid") and version(body) < before.version:
            return None
        record = _record(body, before, now)
        self._records[key] = record
        if before is not None and before.marks() == record.marks():
            return key, set()
        if before is not None:
            self._uncount(key, before)
        self._count(key, record)
        return key, {record.pool} | ({before.pool} if before else set())

    def gone(self, key: TaskKey, uid: str = "") -> PoolKey | None:
        """Forget a task; return the pool that lost it. None: it was not known, or another one has its name now."""
        record = self._records.get(key)
        if record is None or (uid and record.uid != uid):
            return None
        del self._records[key]
        self._uncount(key, record)
        return record.pool

    def unseen_since(self, instant: float) -> list[TaskKey]:
        """Return the tasks of which nothing was told since an instant of the caller's clock."""
        return [key for key, record in self._records.items() if record.seen_at < instant]

    def _count(self, key: TaskKey, record: TaskRecord) -> None:
        members = self._pools.setdefault(record.pool, _Members())
        members.keys.add(key)
        _add(members, record, 1)

    def _uncount(self, key: TaskKey, record: TaskRecord) -> None:
        members = self._pools[record.pool]
        members.keys.discard(key)
        _add(members, record, -1)
        if not members.keys:
            del self._pools[record.pool]


def _add(members: _Members, record: TaskRecord, one: int) -> None:
    members.ready += one * record.ready
    members.running += one * record.running
    members.late += one * record.late


def _record(body: Body, before: TaskRecord | None, now: float) -> TaskRecord:
    found = present_conditions(body.get("status"))
    ready, objective = found.get(READY, {}), found.get("ObjectiveMet", {})
    vacant = no_worker_told(body.get("status"))
    is_ready = ready.get("status") == "True"
    sign = (text(body, "uid"), generation(body), our_annotations(body))
    if before is not None and before.sign == sign:
        sign, pool, verdicts = before.sign, before.pool, (before.with_pool, before.without_pool)
    else:
        pool, verdicts = _pool(text(body, "namespace"), _pool_named(body)), _verdicts(body)
    return TaskRecord(
        uid=str(sign[0]),
        pool=pool,
        sign=sign,
        with_pool=verdicts[0],
        without_pool=verdicts[1],
        told=_kept(found.get(ACCEPTED)),
        vacant=_kept(vacant),
        judged=ready.get("status") == "False",
        ready=is_ready,
        running=is_ready and ready.get("reason") == "Running",
        late=objective.get("status") == "False",
        version=version(body),
        changed_at=before.changed_at if before is not None and before.version == version(body) else now,
        seen_at=now,
    )


def _verdicts(body: Body) -> tuple[Condition, Condition]:
    """Judge a task for both cases at once: its body will not be there when its pool comes or goes."""
    with_pool = acceptance(body, _Every())
    return _same(with_pool), _same(with_pool if with_pool.reason == INVALID else acceptance(body, ()))


def _pool_named(body: Body) -> str:
    spec = body.get("spec")
    ref = spec.get("poolRef") if isinstance(spec, Mapping) else None
    name = ref.get("name") if isinstance(ref, Mapping) else None
    return name if isinstance(name, str) and name else names.DEFAULT_POOL


def _kept(condition: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Keep a condition, shared with its equals; one that holds what no condition does counts as not told."""
    if condition is None or not all(isinstance(value, str | int) for value in condition.values()):
        return None
    return _shared(tuple(condition.items()))


@lru_cache(maxsize=SHARED)
def _pool(namespace: str, name: str) -> PoolKey:
    return PoolKey(namespace, name)


@lru_cache(maxsize=SHARED)
def _same(condition: Condition) -> Condition:
    return condition


@lru_cache(maxsize=SHARED)
def _shared(items: tuple[tuple[str, Any], ...]) -> Mapping[str, Any]:
    return dict(items)
