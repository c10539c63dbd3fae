"""Whose status is written next, and when: an order and a budget. A decision: the clock comes in as `now`.

Not here: what is written, and how (`kubernetes`).

The order: first what is hurried (a slot moves, a worker ends), without regard to the budget; then changes of
conditions; then runs of tasks that run rarely; then those that run often. Every fourth turn goes to whoever has waited
longest, so that nobody waits for ever.
"""

import heapq
from dataclasses import dataclass
from enum import IntEnum

from background_tasks.domain.model import TaskUid
from background_tasks.domain.rates import Bucket, admit

WRITES_PER_S = 5.0
"""Per worker: what an API server is glad to take from each of many."""
BURST = 25
"""Writes that a quiet worker has saved up: a handful of new tasks is shown at once."""
FAIR_TURN = 4
ROUNDING_S = 0.001
"""A little longer than the budget asks for: a sum of fractions may fall short of the whole for ever."""


class Rank(IntEnum):
    """Who goes first."""

    HURRIED = 0
    CHANGED = 1  # a condition changed
    LONG = 2  # a run of a task that runs once a minute or less; a task that is new here
    SHORT = 3  # runs of a task that runs often, coalesced


@dataclass(frozen=True, slots=True)
class Turn:
    """What waits for one task."""

    rank: Rank
    due: float
    number: int
    """Of those that are due at one instant the first comes first."""


class Turns:
    """Who waits. All times are seconds of a clock that does not step."""

    def __init__(self, *, writes_per_s: float = WRITES_PER_S, burst: float = BURST) -> None:
        self._per_s = writes_per_s
        self._burst = burst
        self._bucket: Bucket | None = None
        self._turns: dict[TaskUid, Turn] = {}
        self._heaps: dict[Rank, list[tuple[float, int, TaskUid]]] = {rank: [] for rank in Rank}
        self._count = 0
        self._taken = 0

    def __len__(self) -> int:
        return len(self._turns)

    def put(self, uid: TaskUid, rank: Rank, due: float) -> None:
        """Let a task wait; one that waits already goes no later and no lower than before."""
        old = self._turns.get(uid)
        if old is not None:
            rank, due = min(rank, old.rank), min(due, old.due)
            if (rank, due) == (old.rank, old.due):
                return
        self._count += 1
        self._turns[uid] = Turn(rank, due, self._count)
        heapq.heappush(self._heaps[rank], (due, self._count, uid))

    def drop(self, uid: TaskUid) -> None:
        """Nothing of this task waits any more."""
        self._turns.pop(uid, None)

    def take(self, now: float) -> TaskUid | None:
        """Return who is written now, if anybody is due and the budget allows it."""
        rank = self._next_rank(now)
        if rank is None or (rank is not Rank.HURRIED and not self._allowed(now)):
            return None
        self._taken += 1
        if rank is Rank.HURRIED:
            self.spend(now)
        _, _, uid = heapq.heappop(self._heaps[rank])
        del self._turns[uid]
        return uid

    def spend(self, now: float) -> None:
        """Count a write that asked nobody; those that ask make up for it."""
        bucket, allowed = admit(self._bucket, now, per_second=self._per_s, burst=self._burst)
        self._bucket = bucket if allowed else Bucket(tokens=max(bucket.tokens - 1, -self._burst), at=now)

    def wait(self, now: float) -> float | None:
        """Return after how many seconds `take` may have an answer; None: not before something is put."""
        dues = [heap[0][0] for rank in Rank if (heap := self._tidy(rank))]
        if not dues:
            return None
        lacking = 0.0 if self._bucket is None else 1 - self._bucket.tokens - (now - self._bucket.at) * self._per_s
        if lacking <= 0 or self._heaps[Rank.HURRIED]:
            return max(0.0, min(dues) - now)
        return max(min(dues) - now, lacking / self._per_s + ROUNDING_S)

    def _next_rank(self, now: float) -> Rank | None:
        ready = [rank for rank in Rank if (heap := self._tidy(rank)) and heap[0][0] <= now]
        if not ready:
            return None
        if ready[0] is not Rank.HURRIED and self._taken % FAIR_TURN == FAIR_TURN - 1:
            return min(ready, key=lambda rank: self._heaps[rank][0])
        return ready[0]

    def _allowed(self, now: float) -> bool:
        self._bucket, allowed = admit(self._bucket, now, per_second=self._per_s, burst=self._burst)
        return allowed

    def _tidy(self, rank: Rank) -> list[tuple[float, int, TaskUid]]:
        """Take off the top what was dropped or has another turn by now."""
        heap = self._heaps[rank]
        while heap:
            turn = self._turns.get(heap[0][2])
            if turn is not None and turn.number == heap[0][1]:
                break
            heapq.heappop(heap)
        return heap
