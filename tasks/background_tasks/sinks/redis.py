"""The run ledger and statuses over Redis.

Keys of a pool, spelled here and nowhere else:

    bgt:<pool>:past     hash    uid -> what must be remembered, JSON
    bgt:<pool>:marks    hash    uid -> "start <instant>" or "end <run id>": what the stream was told last
    bgt:<pool>:claims   hash    uid -> the last fire times that were claimed
    bgt:<pool>:fences   hash    slot:<n> -> newest "<realm's number>:<epoch>" that wrote; realm:<id> -> its number
    bgt:<pool>:runs     stream  kind (start, claim, end), uid, data (JSON); about the last 200,000
    bgt:<pool>:status   hash    uid -> the resource's status, JSON

Of the pool's slot table (`leases/redis.py`) only the realm is read, where the table lies in the same Redis.
An entry that cannot be read is reported and left out; a key of another type is `Unavailable` and names the fix.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from background_tasks.domain.model import Fence, Past, RunRecord, Task, TaskUid
from background_tasks.errors import Superseded
from background_tasks.services.redis import redis_errors
from background_tasks.sinks.codec import (
    dump_past,
    dump_run,
    dump_status,
    load_past,
    load_run,
    load_status,
    read_or_report,
)
from background_tasks.sinks.redis_scripts import CLAIM, FORGET, RECORD

if TYPE_CHECKING:
    from redis.asyncio import Redis

RUNS_KEPT = 200_000
CLAIMS_KEPT = 32
"""Fire times per task: a claim outlives any outage, and no misfire policy reaches so far back."""
CHUNK = 500
"""Tasks or runs per reading."""

_log = logging.getLogger("background_tasks.ledger")


class RedisLedger:
    """`ports.RunLedger` over Redis. One script per write: an older fence changes nothing."""

    def __init__(self, redis: "Redis", pool: str, *, report: Callable[[str], None] = _log.warning) -> None:
        self._redis = redis
        self._pool = pool
        self._report = report

    async def load(self, uids: Iterable[TaskUid]) -> Mapping[TaskUid, Past]:
        """Read the pasts of many tasks; one that never ran, or whose past cannot be read, is absent."""
        wanted = list(uids)
        found: dict[TaskUid, Past] = {}
        for first in range(0, len(wanted), CHUNK):
            chunk = wanted[first : first + CHUNK]
            with redis_errors(f"read {self._key('past')}"):
                texts = await cast(Awaitable[list[str | None]], self._redis.hmget(self._key("past"), list(chunk)))
            for uid, text in zip(chunk, texts, strict=True):
                past = None if text is None else self._read(load_past, text, f"{self._key('past')}, field {uid}")
                if past is not None:
                    found[uid] = past
        return found

    async def claim(self, task: Task, scheduled_for: float, fence: Fence | None) -> bool:
        """Write that this fire time is being served. False: it was claimed before. Raises `Superseded`."""
        start = {"task": task.name, "scheduled_for": scheduled_for, "fence": fence and str(fence)}
        answer: int | str = await CLAIM(
            self._redis,
            [self._key(name) for name in ("claims", "fences", "runs", "slots")],
            [*_fence(fence), task.uid, repr(scheduled_for), CLAIMS_KEPT, json.dumps(start), RUNS_KEPT],
        )
        if isinstance(answer, str):
            raise Superseded(_late(task, fence, answer))
        return answer == 1

    async def record(self, task: Task, past: Past | None, run: RunRecord | None, *, fence: Fence | None = None) -> None:
        """Write the past, and the run that ended or began, if nobody with a newer fence was first: `Superseded`."""
        fence = fence if run is None or run.fence is None else run.fence
        kind, mark, data = "", "", ""
        if run is not None:
            kind, mark, data = "end", f"end {run.run_id}", dump_run(run)
        elif past is not None and past.started_at is not None and past.started_at > (past.ended_at or float("-inf")):
            kind, mark = "start", f"start {past.started_at!r}"
            data = json.dumps({"task": task.name, "started_at": past.started_at, "fence": fence and str(fence)})
        late: str = await RECORD(
            self._redis,
            [self._key(name) for name in ("past", "marks", "fences", "runs", "slots")],
            [*_fence(fence), task.uid, "" if past is None else dump_past(past), kind, data, mark, RUNS_KEPT],
        )
        if late:
            raise Superseded(_late(task, fence, late))

    async def forget(self, uid: TaskUid) -> None:
        """Drop what is remembered of a removed task; its runs stay in the stream."""
        await FORGET(self._redis, [self._key("past"), self._key("marks"), self._key("claims")], [uid])

    async def newest_run(self) -> str | None:
        """Return the place of the newest entry of the stream, to read on from; None when there is none."""
        with redis_errors(f"read {self._key('runs')}"):
            newest: Any = await self._redis.xrevrange(self._key("runs"), count=1)
        return str(newest[0][0]) if newest else None

    async def runs_after(self, place: str | None) -> tuple[Sequence[RunRecord], str | None]:
        """Return the runs that ended after `place` (None: all), oldest first, and the place to read on from."""
        runs: list[RunRecord] = []
        while True:
            with redis_errors(f"read {self._key('runs')}"):
                start = "-" if place is None else f"({place}"
                entries: Any = await self._redis.xrange(self._key("runs"), min=start, count=CHUNK)
            for place, fields in entries:
                if fields.get("kind") == "end":
                    run = self._read(load_run, fields.get("data", ""), f"{self._key('runs')}, entry {place}")
                    runs += [] if run is None else [run]
            if len(entries) < CHUNK:
                return runs, place

    def _key(self, name: str) -> str:
        return f"bgt:{self._pool}:{name}"

    def _read[T](self, load: Callable[[str], T], text: str, where: str) -> T | None:
        return read_or_report(load, text, where, self._report)


class RedisStatusSink:
    """`ports.StatusSink` over Redis: one hash field per task."""

    def __init__(self, redis: "Redis", pool: str, *, report: Callable[[str], None] = _log.warning) -> None:
        self._redis = redis
        self._key = f"bgt:{pool}:status"
        self._report = report

    async def publish(self, uid: TaskUid, status: Mapping[str, object]) -> None:
        """Show the status."""
        with redis_errors(f"write {self._key}"):
            await self._redis.hset(self._key, uid, dump_status(status))

    async def withdraw(self, uid: TaskUid) -> None:
        """The task is gone."""
        with redis_errors(f"write {self._key}"):
            await self._redis.hdel(self._key, uid)

    async def statuses(self) -> Mapping[TaskUid, Mapping[str, object]]:
        """Read all statuses, for those who show them."""
        with redis_errors(f"read {self._key}"):
            texts = await cast(Awaitable[dict[str, str]], self._redis.hgetall(self._key))
        return self._read({TaskUid(uid): text for uid, text in texts.items()})

    async def statuses_of(self, uids: Sequence[TaskUid]) -> Mapping[TaskUid, Mapping[str, object]]:
        """Read the statuses of some tasks; one that has none, or none that can be read, is absent."""
        found: dict[TaskUid, Mapping[str, object]] = {}
        for first in range(0, len(uids), CHUNK):
            chunk = uids[first : first + CHUNK]
            with redis_errors(f"read {self._key}"):
                texts = await cast(Awaitable[list[str | None]], self._redis.hmget(self._key, list(chunk)))
            found |= self._read({uid: text for uid, text in zip(chunk, texts, strict=True) if text is not None})
        return found

    def _read(self, texts: Mapping[TaskUid, str]) -> Mapping[TaskUid, Mapping[str, object]]:
        read = {
            uid: read_or_report(load_status, text, f"{self._key}, field {uid}", self._report)
            for uid, text in texts.items()
        }
        return {uid: status for uid, status in read.items() if status is not None}


def _fence(fence: Fence | None) -> tuple[str, int, int]:
    return ("", 0, 0) if fence is None else (fence.realm, fence.slot, fence.epoch)


def _late(task: Task, fence: Fence | None, why: str) -> str:
    return f"{task.name}: fence {fence} came too late: {why}; nothing was written"
