"""Concurrency groups: how many runs of tasks that belong together go on at once, and who is next.

Not here: pools. All tasks of a group share one slot, so the worker that holds it counts for the whole pool; tasks that
run on every worker are counted per worker.
"""

from collections import deque
from collections.abc import Mapping

from background_tasks.engine.records import Waiting

UNNAMED_CAP = 1
"""Cap of a group that the pool does not list: tasks were put together for a reason, so one at a time."""


class Groups:
    """Places of all groups; first come, first served."""

    def __init__(self, caps: Mapping[str, int]) -> None:
        self._caps = caps
        self._running: dict[str, int] = {}
        self._queues: dict[str, deque[Waiting]] = {}

    def enter(self, group: str) -> bool:
        """Take a place if there is one and nobody waits for it."""
        if self._queues.get(group) or self._running.get(group, 0) >= self._caps.get(group, UNNAMED_CAP):
            return False
        self._running[group] = self._running.get(group, 0) + 1
        return True

    def wait(self, group: str, waiting: Waiting) -> None:
        """Stand in line."""
        self._queues.setdefault(group, deque()).append(waiting)

    def leave(self, group: str) -> None:
        """Give a place back."""
        self._running[group] -= 1

    def next_in(self, group: str) -> Waiting | None:
        """Take the place for the first who still waits; None when there is no place or nobody waits."""
        queue = self._queues.get(group)
        while queue and self._running.get(group, 0) < self._caps.get(group, UNNAMED_CAP):
            waiting = queue.popleft()
            live = waiting.record.live
            if live is not None and live.waiting is waiting:
                self._running[group] = self._running.get(group, 0) + 1
                return waiting
        return None
