"""What waits to be written, one thing per task, and the one writer: within its budget, or hurried.

Not here: whose turn it is (`turns`), how it is written (a function that is given).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager, suppress

from background_tasks.domain.model import TaskUid
from background_tasks.errors import Superseded, Unavailable
from background_tasks.ports import Clock
from background_tasks.sinks.resource_status import News
from background_tasks.sinks.task_objects import Unentitled, Unwritable
from background_tasks.sinks.turns import Rank, Turns

AT_ONCE = 16
"""Writes under way together, when many are hurried."""
FIRST_REST_S = 0.5
LONGEST_REST_S = 10.0
RETRY_S = 5.0
"""A task whose write failed lets the others go first for so long."""
REFUSED_S = 30.0
"""One whose write was refused is tried again after this: nothing but a person or a release will mend it."""

_log = logging.getLogger("background_tasks.status")


class StatusQueue:
    """News by task. `write` writes one; it raises `Superseded` and `Unavailable`, and nothing else is caught.

    `too_late(uid, error)` hears of news that nobody waited for and that a newer fence kept from being written. What is
    `Unwritable` is told to `report`, kept and tried again, and nobody waits for it: it would hold its neighbours up.
    `Unentitled` is as well, but whoever waits is told, and whoever hurries waits on: it would be taken for stored.
    """

    def __init__(
        self,
        write: Callable[[TaskUid, News], Awaitable[object]],
        clock: Clock,
        *,
        turns: Turns,
        too_late: Callable[[TaskUid, Superseded], None],
        report: Callable[[str], None] = _log.warning,
    ) -> None:
        self._report = report
        self._write = write
        self._clock = clock
        self._turns = turns
        self._too_late = too_late
        self._news: dict[TaskUid, News] = {}
        self._waiters: dict[TaskUid, list[asyncio.Future[None]]] = {}
        self._at_work: set[TaskUid] = set()
        self._again: set[TaskUid] = set()
        """Whose turn came while they were being written."""
        self._refused: set[TaskUid] = set()
        self._unentitled: set[TaskUid] = set()
        """Those of them that lack of rights keeps from being written."""
        self._hurries: list[frozenset[TaskUid] | None] = []
        """Who is hurried by whom; None: all."""
        self._wake, self._progress = asyncio.Event(), asyncio.Event()
        self._asleep_until = float("inf")
        self._rest_until = float("-inf")
        self._failures = 0

    def put(self, uid: TaskUid, news: News, rank: Rank, due: float) -> None:
        """Have it written when its turn comes, together with what waits already about the task."""
        self._news[uid] = news.after(self._news.get(uid))
        self._line_up(uid, rank, due)

    async def written(self, uid: TaskUid) -> None:
        """Return when what waits about a task is written. Raises what kept it from being."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(uid, []).append(waiter)
        await waiter

    def drop(self, uid: TaskUid) -> None:
        """The task is gone: nothing is to be written, and nobody waits."""
        self._turns.drop(uid)
        self._forgive(uid)
        self._again.discard(uid)
        self._news.pop(uid, None)
        self._answer(self._waiters.pop(uid, []), None)
        self._progressed()

    @asynccontextmanager
    async def hurried(self, uids: Collection[TaskUid] | None = None) -> AsyncIterator[None]:
        """Write without regard to budgets inside; leaving returns when all (about these tasks) is written."""
        wanted = None if uids is None else frozenset(uids)
        self._hurries.append(wanted)
        try:
            for uid in self._unwritten(wanted):
                self._turns.put(uid, Rank.HURRIED, float("-inf"))
            self._wake.set()
            yield
            while self._unwritten(wanted):
                await self._progress.wait()
        finally:
            self._hurries.remove(wanted)

    async def work(self) -> None:
        """Write for ever; when that is cancelled, those who wait are as well."""
        room = asyncio.Semaphore(AT_ONCE)
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await room.acquire()
                    group.create_task(self._serve(await self._next(), room))
        finally:
            for waiters in self._waiters.values():
                for waiter in waiters:
                    waiter.cancel()

    async def _next(self) -> TaskUid:
        while True:
            now = self._clock.monotonic()
            if now < self._rest_until:
                wait: float | None = self._rest_until - now
            else:
                uid = self._turns.take(now)
                if uid is not None:
                    return uid
                wait = self._turns.wait(now)
            self._asleep_until = float("inf") if wait is None else now + wait
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    async def _serve(self, uid: TaskUid, room: asyncio.Semaphore) -> None:
        if uid in self._at_work:  # one after the other: what fails and comes back must find the newer still waiting
            self._again.add(uid)
            room.release()
            return
        news, waiters = self._news.pop(uid, None), self._waiters.pop(uid, [])
        self._at_work.add(uid)
        try:
            if news is not None:
                await self._write(uid, news)
            self._failures = 0
            self._forgive(uid)
            self._answer(waiters, None)
        except Superseded as error:
            if not waiters:
                self._too_late(uid, error)
            self._answer(waiters, error)
        except Unwritable as error:
            assert news is not None
            self._refuse(uid, news, error)
            self._answer(waiters, error if uid in self._unentitled else None)
        except Unavailable as error:
            assert news is not None
            self._put_back(uid, news, error)
            self._answer(waiters, error)
        finally:
            self._answer(waiters, asyncio.CancelledError())
            self._at_work.discard(uid)
            if uid in self._again:
                self._again.discard(uid)
                self._line_up(uid, Rank.CHANGED, self._clock.monotonic())
            room.release()
            self._progressed()

    def _keep(self, uid: TaskUid, news: News, pause: float) -> None:
        """Let it wait again, with what came meanwhile."""
        newer = self._news.get(uid)
        self._news[uid] = news if newer is None else newer.after(news)
        self._line_up(uid, Rank.LONG, self._clock.monotonic() + pause)

    def _refuse(self, uid: TaskUid, news: News, error: Unwritable) -> None:
        """Let it wait again, for longer, and its neighbours go on."""
        self._report(f"a status is not written, it is tried again in {REFUSED_S:g} s: {error}")
        self._forgive(uid)
        self._refused.add(uid)
        if isinstance(error, Unentitled):
            self._unentitled.add(uid)
        self._keep(uid, news, RETRY_S if uid in self._unentitled and self._is_hurried(uid) else REFUSED_S)

    def _forgive(self, uid: TaskUid) -> None:
        """Forget that it was refused."""
        self._refused.discard(uid)
        self._unentitled.discard(uid)

    def _put_back(self, uid: TaskUid, news: News, error: Unavailable) -> None:
        """Let it wait again, and leave the API server alone for a while."""
        self._keep(uid, news, RETRY_S)
        now = self._clock.monotonic()
        if not self._failures:
            _log.warning("a status is not written, %d tasks wait: %s", len(self._news), error)
        rest = min(LONGEST_REST_S, FIRST_REST_S * 2.0 ** min(self._failures, 30)) * (0.5 + self._clock.draw() / 2)
        self._failures += 1
        self._rest_until = max(self._rest_until, now + (error.retry_after or rest))

    def _line_up(self, uid: TaskUid, rank: Rank, due: float) -> None:
        """Let it wait for its turn, and see to it that the writer wakes up for it."""
        if uid in self._refused:
            due = max(due, self._clock.monotonic() + RETRY_S)
        elif self._is_hurried(uid):
            rank, due = Rank.HURRIED, float("-inf")
        self._turns.put(uid, rank, due)
        if due < self._asleep_until:
            self._wake.set()

    def _is_hurried(self, uid: TaskUid) -> bool:
        return any(hurried is None or uid in hurried for hurried in self._hurries)

    def _unwritten(self, wanted: Iterable[TaskUid] | None) -> list[TaskUid]:
        """Name those (of these) about whom something waits, or is being written, and no fault of its own keeps it."""
        held = self._news.keys() | self._at_work if wanted is None else wanted
        faulty = self._refused - self._unentitled
        return [uid for uid in held if (uid in self._news and uid not in faulty) or uid in self._at_work]

    def _answer(self, waiters: list[asyncio.Future[None]], error: BaseException | None) -> None:
        for waiter in waiters:
            if waiter.done():
                continue
            if isinstance(error, asyncio.CancelledError):
                waiter.cancel()
            elif error is not None:
                waiter.set_exception(error)
            else:
                waiter.set_result(None)

    def _progressed(self) -> None:
        progress, self._progress = self._progress, asyncio.Event()
        progress.set()
