"""Since when a pool has had no ready worker, without a break. Another pool of the same name begins anew.

Not here: what its tasks are told, and when (`plan.acceptance`); how it is known (`pools`).
"""

from background_tasks.ports import Clock
from background_tasks_operator.plan.acceptance import VACANT_AFTER_S
from background_tasks_operator.reconcile.keys import PoolKey


class Vacancies:
    """Pools without a ready worker, whether they exist or not."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: dict[PoolKey, float] = {}
        self._told: set[PoolKey] = set()

    def begin(self, pool: PoolKey) -> float:
        """Note that it has none; return how long it has to stay so until it counts. 0: it counts."""
        since = self._since.setdefault(pool, self._clock.monotonic())
        return max(0.0, since + VACANT_AFTER_S - self._clock.monotonic())

    def end(self, pool: PoolKey) -> None:
        """Note that it has one, or begins anew, or that nobody asks for it."""
        self._since.pop(pool, None)
        self._told.discard(pool)

    def since(self, pool: PoolKey) -> float | None:
        """Return since when it has none. None: it has one, or not for long enough."""
        return self._since[pool] if pool in self._since and self.begin(pool) == 0 else None

    def is_news(self, pool: PoolKey) -> bool:
        """Say whether this is the first time that one asks since it counts."""
        news = pool not in self._told
        self._told.add(pool)
        return news
