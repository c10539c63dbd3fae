"""What the watches told, and which keys to look at because of it.

Not here: bodies of tasks (`tasklist` keeps a few words), deciding, asking. A watch that broke for long begins with a
new list, which says nothing about what was deleted meanwhile: such a list makes `Recheck` of every kind.
"""

from collections.abc import Callable, Iterable

from background_tasks.api import names
from background_tasks.ports import Clock
from background_tasks_operator.reconcile.bodies import Body, text
from background_tasks_operator.reconcile.keys import Key, ObjectKey, PoolKey, Recheck, TaskKey
from background_tasks_operator.reconcile.objects import NEVER, Existence, Objects, key_of
from background_tasks_operator.reconcile.tasklist import TaskList, TaskRecord
from background_tasks_operator.reconcile.vacancies import Vacancies

LISTED = "LISTED"
DELETED = "DELETED"
RECHECK_AFTER_S = 5.0
"""After the last object of a new list."""

type Wish = Callable[[Key, float], None]


class Memory:
    """All that is known, and the wishes that follow from news. On one loop."""

    def __init__(self, wish: Wish, *, clock: Clock, kinds: Iterable[str]) -> None:
        self.tasks = TaskList()
        self.objects = Objects()
        self.vacancies = Vacancies(clock)
        self.kinds = tuple(kinds)
        """Kinds that are watched."""
        self.listed_at = NEVER
        """When the last object of a list was told, on the loop's clock."""
        self.relist_began = NEVER
        self._wish = wish
        self._clock = clock

    # --- what watches tell: `event` is ADDED, MODIFIED, DELETED, or LISTED for an object of a first or new list ---

    def told(self, event: str, body: Body) -> None:
        """Take in news of one object."""
        match body.get("kind"):
            case names.TASK_KIND:
                self._told_task(event, body)
            case names.POOL_KIND:
                self._told_pool(event, body)
            case _:
                self._told_child(event, body)

    def _told_task(self, event: str, body: Body) -> None:
        key = TaskKey(text(body, "namespace"), text(body, "name"))
        if event == DELETED:
            self.task_gone(key, text(body, "uid"))
            return
        now = self._now(event, is_known=self.tasks.get(key) is not None)
        self.task_seen(body, now)

    def _told_pool(self, event: str, body: Body) -> None:
        key = PoolKey(text(body, "namespace"), text(body, "name"))
        if event == DELETED:
            self.pool_gone(key, body)
            return
        self.pool_seen(body, self._now(event, is_known=self.objects.was_seen(key)))

    def _told_child(self, event: str, body: Body) -> None:
        key = key_of(body)
        if event == DELETED:
            self.child_gone(key, body)
            return
        self.child_seen(body, self._now(event, is_known=self.objects.was_seen(key)))

    def _now(self, event: str, *, is_known: bool) -> float:
        """Return the time of an event; a list that tells what a watch had told before is a new one."""
        now = self._clock.monotonic()
        if event == LISTED:
            if is_known and now - max(self.relist_began, self.listed_at) > RECHECK_AFTER_S:
                self.relist_began = now
                for kind in self.kinds:
                    self._wish(Recheck(kind), RECHECK_AFTER_S)
            self.listed_at = now
        return now

    # --- the same, as an answer to a question of our own (`now` NEVER) ---

    def task_seen(self, body: Body, now: float = NEVER) -> None:
        """A task is as told."""
        if now == NEVER:
            known = self.tasks.get(TaskKey(text(body, "namespace"), text(body, "name")))
            now = known.seen_at if known is not None else NEVER
        taken = self.tasks.seen(body, now)
        if taken is None:
            return
        key, pools = taken
        self._judge([key])
        for pool in pools:
            self._wish(pool, 0.0)

    def task_gone(self, key: TaskKey, uid: str = "") -> None:
        """A task does not exist any more."""
        pool = self.tasks.gone(key, uid)
        if pool is not None:
            self._wish(pool, 0.0)

    def pool_seen(self, body: Body, now: float = NEVER) -> None:
        """A pool is as told; tasks that waited for it are judged again."""
        key, is_new = self.objects.pool_seen(body, now)
        if is_new:
            self.vacancies.end(key)
            self._judge(self.tasks.of_pool(key))
        self._wish(key, 0.0)

    def pool_gone(self, key: PoolKey, body: Body | None = None) -> None:
        """A pool does not exist any more; its key decides whether it is made again, and has its tasks judged."""
        if self.objects.pool_gone(key, body):
            self.vacancies.end(key)
            self._wish(key, 0.0)

    def pool_absent(self, key: PoolKey) -> None:
        """A pool was asked for and is not there: its tasks are told."""
        self.objects.pool_absent(key)
        self._judge(self.tasks.of_pool(key))

    def pool_staffed(self, key: PoolKey) -> None:
        """A pool has a ready worker, which tells its tasks itself; or nobody asks for the pool any more."""
        self.vacancies.end(key)

    def pool_vacant(self, key: PoolKey) -> float:
        """A pool has no ready worker; once that counts, its tasks are told. Return in how many seconds it will."""
        rest = self.vacancies.begin(key)
        if rest == 0 and self.vacancies.is_news(key):
            self._judge(self.tasks.of_pool(key))
        return rest

    def no_worker_in(self, record: TaskRecord) -> float | None:
        """Return in how many seconds a task is to be told that there is no worker. None: as things are, never."""
        since = self.vacancies.since(record.pool)
        existence = self.objects.existence(record.pool)
        if since is None or existence is Existence.UNKNOWN:
            return None
        due = record.no_worker_from(since, pool_exists=existence is Existence.PRESENT)
        return None if due is None else max(0.0, due - self._clock.monotonic())

    def child_seen(self, body: Body, now: float = NEVER) -> None:
        """An object of a pool is as told."""
        pool = self.objects.child_seen(body, now)
        if pool is not None:
            self._wish(pool, 0.0)

    def child_gone(self, key: ObjectKey, body: Body | None = None) -> None:
        """An object of a pool does not exist any more."""
        pool = self.objects.child_gone(key, body)
        if pool is not None:
            self._wish(pool, 0.0)

    def _judge(self, keys: Iterable[TaskKey]) -> None:
        """Wish for the tasks that have something to be told, and for pools of which nothing is known."""
        for key in keys:
            record = self.tasks.get(key)
            if record is None:
                continue
            existence = self.objects.existence(record.pool)
            if existence is Existence.UNKNOWN:
                self._wish(record.pool, 0.0)
            elif record.verdict(pool_exists=existence is Existence.PRESENT) is not None:
                self._wish(key, 0.0)
            elif (wait := self.no_worker_in(record)) is not None:
                self._wish(key, wait)
