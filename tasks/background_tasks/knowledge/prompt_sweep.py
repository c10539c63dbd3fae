"""Deleting what scheduled prompts leave behind: ended ones, and records and index entries that lost each other.

Every decision is made inside the script that deletes, about the state of that moment. Idempotent. Not here: which
instants count as long ago, when to stop (`catalogue.scheduled_prompt_cleanup`).
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from background_tasks.knowledge.due_queue import text
from background_tasks.knowledge.keys import Keys
from background_tasks.knowledge.prompts import QUEUE
from background_tasks.services.redis import Script, redis_errors

if TYPE_CHECKING:
    from redis.asyncio import Redis


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What one step found."""

    finished: int = 0
    """Ended prompts, deleted."""
    index_without_record: int = 0
    record_without_index: int = 0
    stranded: tuple[str, ...] = ()
    """Ids of active records that no index knows: they are left alone and will not fire until added again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSweep:
    """The three sweeps over one store, each in steps of a few milliseconds. Instants are wall seconds."""

    redis: "Redis"
    keys: Keys
    chunk: int = 500
    scan_count: int = 1_000
    dry_run: bool = False

    async def finished(self, cutoff: float) -> AsyncIterator[Swept]:
        """Delete prompts that ended before `cutoff`."""
        queue, offset, looked = self.keys.queue(QUEUE), 0, self.chunk
        while looked == self.chunk:
            args = (_ms(cutoff), offset, self.chunk, self.keys.prompt_prefix, self._dry)
            answer = await _script("done")(self.redis, (queue.due, queue.inflight, queue.done), args)
            looked, deleted, kept = (int(part) for part in answer)
            offset += looked if self.dry_run else kept
            yield Swept(finished=deleted)

    async def bare_entries(self, cutoff: float) -> AsyncIterator[Swept]:
        """Take index entries without a record out of the queue, only those filed before `cutoff`."""
        queue = self.keys.queue(QUEUE)
        for index in (queue.due, queue.inflight, queue.done):
            offset, looked = 0, self.chunk
            while looked == self.chunk:
                args = (_ms(cutoff), offset, self.chunk, self.keys.prompt_prefix, self._dry)
                looked, gone = (int(part) for part in await _script("index")(self.redis, (index, queue.claims), args))
                offset += looked if self.dry_run else looked - gone
                yield Swept(index_without_record=gone)

    async def lost_records(self, cutoff: float, now: float) -> AsyncIterator[Swept]:
        """Delete records that no index knows, only those written before `cutoff`; active ones are named."""
        queue = self.keys.queue(QUEUE)
        args = (_ms(cutoff), _ms(now), len(self.keys.prompt_prefix.encode()), self._dry)
        async for records in self._records():
            keys = (queue.due, queue.inflight, queue.done, *records)
            deleted, *stranded = await _script("records")(self.redis, keys, args)
            yield Swept(record_without_index=int(deleted), stranded=tuple(text(id) for id in stranded))

    async def remaining(self) -> int:
        """Count the ended prompts that are still kept."""
        with redis_errors("count ended prompts"):
            return int(await self.redis.zcard(self.keys.queue(QUEUE).done))

    @property
    def _dry(self) -> str:
        return "1" if self.dry_run else ""

    async def _records(self) -> AsyncIterator[Sequence[str]]:
        """Yield keys of records, at most a chunk at once; SCAN may name one twice, which does no harm."""
        pattern = _literal(self.keys.prompt_prefix) + "*"
        cursor = -1
        while cursor != 0:
            with redis_errors("scan prompts"):
                cursor, found = await self.redis.scan(
                    max(cursor, 0), match=pattern, count=self.scan_count, _type="hash"
                )
            records = [key for key in map(text, found) if not key.startswith(self.keys.fired_prefix)]
            for start in range(0, len(records), self.chunk):
                yield records[start : start + self.chunk]


@cache
def _script(name: str) -> Script:
    folder = resources.files("background_tasks.knowledge") / "lua"
    return Script((folder / f"sweep_{name}.lua").read_text("utf-8"), f"sweep prompts: {name}")


def _literal(prefix: str) -> str:
    """Escape a prefix for MATCH, as in `a[1]:` -> `a\\[1\\]:`."""
    return "".join(f"\\{letter}" if letter in "*?[]\\^" else letter for letter in prefix)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
