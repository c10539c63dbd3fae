"""Reads what a pool's workers wrote: runs as they end, who is alive, who holds which slot.

Not here: what is made of it (`state`). A store that does not answer is trouble to be shown, not an empty pool.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from background_tasks.domain.model import MemberId, RunRecord, TaskUid
from background_tasks.errors import Unavailable
from background_tasks.leases.redis import RedisLeases, pool_prefix
from background_tasks.local.state import WorkerLine
from background_tasks.local.workers import WorkerProcess
from background_tasks.sinks.redis import RedisLedger, RedisStatusSink

if TYPE_CHECKING:
    from redis.asyncio import Redis

PASSING = frozenset({"Suspended", "Paused", "NoWorker", "Quarantined", "BreakerOpen"})
"""Reasons of `Ready=False` that are no fault of the declaration: the task runs again without an edit."""


@dataclass(frozen=True, slots=True)
class Held:
    """Who lives and holds what."""

    members: frozenset[MemberId]
    slots: Mapping[MemberId, tuple[int, ...]]


class Feed:
    """Follows one pool. Every call raises `Unavailable` when the store does not answer."""

    def __init__(self, redis: "Redis", pool: str, slots: int) -> None:
        self._ledger = RedisLedger(redis, pool)
        self._statuses = RedisStatusSink(redis, pool)
        self._leases = RedisLeases(redis, prefix=pool_prefix(pool), slots=slots)
        self._after: str | None = None

    async def start(self, now: float) -> None:
        """Begin with what comes from now on: a store that is kept holds earlier sessions too.

        One that does not answer yet is read from `now` (wall seconds) on, by its own clock.
        """
        try:
            self._after = await self._ledger.newest_run()
        except Unavailable:
            self._after = f"{round(now * 1000)}-0"

    async def runs(self) -> Sequence[RunRecord]:
        """Return the runs that ended since the last call."""
        found, self._after = await self._ledger.runs_after(self._after)
        return found

    async def unfit(self, uids: Sequence[TaskUid]) -> Mapping[TaskUid, str]:
        """Return why the workers cannot run tasks as they are declared, by task; the others are absent."""
        statuses = await self._statuses.statuses_of(uids)
        found = {uid: refusal_of(status) for uid, status in statuses.items()}
        return {uid: sentence for uid, sentence in found.items() if sentence}

    async def held(self) -> Held:
        """Return who lives and holds what now."""
        members = await self._leases.members()
        table = await self._leases.read()
        slots: dict[MemberId, tuple[int, ...]] = {}
        for number, row in enumerate(table.rows):
            if row.holder is not None:
                slots[row.holder] = (*slots.get(row.holder, ()), number)
        return Held(frozenset(members), slots)


def refusal_of(status: Mapping[str, object]) -> str:
    """Return the message of a `Ready=False` that only an edit ends; empty: there is none."""
    listed = status.get("conditions")
    for item in listed if isinstance(listed, list) else ():
        if isinstance(item, dict) and item.get("type") == "Ready" and item.get("status") == "False":
            return "" if item.get("reason") in PASSING else str(item.get("message") or item.get("reason"))
    return ""


def worker_lines(places: Sequence[WorkerProcess], held: Held) -> tuple[WorkerLine, ...]:
    """Join the processes that we started with what the store says of them."""
    return tuple(_line(place, held) for place in places)


def _line(place: WorkerProcess, held: Held) -> WorkerLine:
    member = next((name for name in held.members if name.startswith(f"{place.member}.")), MemberId(place.member))
    return WorkerLine(
        name=place.name,
        pid=place.pid,
        member=member,
        slots=held.slots.get(member, ()),
        restarts=place.restarts,
        alive=member in held.members,
        rss_mib=_rss_mib(place.pid),
    )


def _rss_mib(pid: int | None) -> float | None:
    """Return the resident memory of a process, or None when it is gone."""
    try:
        return None if pid is None else psutil.Process(pid).memory_info().rss / 2**20
    except psutil.NoSuchProcess:
        return None
