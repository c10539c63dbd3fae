"""The live log in Redis: one streamer per source, the last lines in a stream, and viewers who listen.

Lines, position and lease are one script: a batch is written whole, once, by the one who holds the lease. A batch that
is sent again after a lost answer finds its own position and writes nothing.
"""

import json
import uuid
from collections.abc import Awaitable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

from background_tasks.knowledge.keys import Keys, json_key
from background_tasks.services.log_sources import LEVEL_NAMES, LogLine
from background_tasks.services.redis import Script, redis_errors

if TYPE_CHECKING:
    from redis.asyncio import Redis

TASK = "journal_stream"
FIELD = "line"
"""The one field of a stream entry: the line as JSON, as viewers get it."""

_WRITE = Script(
    """
-- KEYS lease, buffer, positions; ARGV holder, lease ms, field, old position, new position, channel, maxlen, line ...
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'Lost', 0} end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if #ARGV < 8 then return {'Written', 0} end
if ARGV[5] ~= '' then
  local at = redis.call('HGET', KEYS[3], ARGV[3]) or ''
  if at == ARGV[5] then return {'Repeated', 0} end
  if at ~= ARGV[4] then return {'Moved', 0} end
end
-- The position comes after the lines: a script that fails half-way undoes nothing.
local viewers = redis.call('PUBSUB', 'NUMSUB', ARGV[6])[2] + redis.call('PUBSUB', 'NUMPAT')
for i = 8, #ARGV do
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[7], '*', 'line', ARGV[i])
  if viewers > 0 then redis.call('PUBLISH', ARGV[6], ARGV[i]) end
end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[3], ARGV[3], ARGV[5]) end
return {'Written', viewers > 0 and #ARGV - 7 or 0}
""",
    "write log lines",
)
_RELEASE = Script(
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0",
    "release the journal lease",
)


class Verdict(StrEnum):
    """What became of a batch."""

    WRITTEN = "Written"
    REPEATED = "Repeated"  # an earlier try had written it, its answer was lost
    LOST = "Lost"  # the lease is another's
    MOVED = "Moved"  # somebody else moved the position


class JournalFeed:
    """The feed of one source. `holder` is made anew per run, so that a lease is never mistaken for an older one."""

    def __init__(
        self, redis: "Redis", keys: Keys, source: str, *, channel: str, buffer_lines: int, lease_s: float
    ) -> None:
        self._redis = redis
        self._source = source
        self._lease = keys.lease("journal", source)
        self._buffer = keys.journal_buffer
        self._positions = keys.cursors(TASK)
        self._field = json_key("journal", source)
        self._channel = channel
        self._buffer_lines = buffer_lines
        self._lease_ms = int(lease_s * 1000)
        self._holder = uuid.uuid4().hex
        self._position = ""

    async def claim(self) -> bool:
        """Take the source's lease unless somebody streams it. Raises `Unavailable`."""
        with redis_errors("claim the journal lease"):
            taken = await self._redis.set(self._lease, self._holder, nx=True, px=self._lease_ms)
        return bool(taken)

    async def position(self) -> str | None:
        """Read after which line to go on; None for a source that was never streamed. Raises `Unavailable`."""
        with redis_errors("read the journal position"):
            found = await cast(Awaitable[Any], self._redis.hget(self._positions, self._field))
        self._position = _text(found)
        return self._position or None

    async def write(self, lines: Sequence[str], position: str) -> tuple[Verdict, int]:
        """Write a batch with the position after it, and renew the lease; no lines: only renew.

        Returns what became of it, and how many lines went out to viewers. An empty position is not kept. Raises
        `Unavailable`; sending the same batch again is then safe wherever there are positions.
        """
        keys = [self._lease, self._buffer, self._positions]
        head: list[str | int] = [self._holder, self._lease_ms, self._field, self._position, position]
        tail: list[str | int] = [self._channel, self._buffer_lines]
        verdict, published = await _WRITE(self._redis, keys, [*head, *tail, *lines])
        said = Verdict(_text(verdict))
        if said in (Verdict.WRITTEN, Verdict.REPEATED) and lines and position:
            self._position = position
        return said, int(published)

    async def release(self) -> None:
        """Give the lease back if it is still ours. Raises `Unavailable`; it then ends by itself."""
        await _RELEASE(self._redis, [self._lease], [self._holder])


def render(line: LogLine, message: str, source: str) -> str:
    """Return a line as viewers get it; `message` is its text after redaction. `at` is in wall seconds."""
    body: dict[str, object] = {"source": source, "level": LEVEL_NAMES[line.level], "message": message}
    if line.unit:
        body["unit"] = line.unit
    if line.at is not None:
        body["at"] = line.at
    return json.dumps(body, ensure_ascii=False)


def render_dropped(count: int, source: str) -> str:
    """Return the notice that lines are missing here."""
    body = {"source": source, "level": "warning", "message": f"dropped {count} lines", "dropped": count}
    return json.dumps(body)


def _text(value: object) -> str:
    """A client gives text or bytes, as it was made."""
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return "" if value is None else str(value)
