"""A reference consumer of the inbound stream: each occurrence reaches the handler, and is dropped when seen before.

At least once: an entry is acknowledged after its handler returned, together with the mark that it was seen; a crash in
between hands it over again. What cannot be read, or failed `max_deliveries` times, becomes a dead letter. One group of
consumers reads the stream as a queue: acknowledged entries are deleted. Not here: what an assistant does with it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import structlog
from pydantic import ValidationError

from background_tasks.errors import Unavailable
from background_tasks.knowledge.due_queue import FLAG_LIFE_S, text
from background_tasks.knowledge.keys import Keys, keys_of_run
from background_tasks.knowledge.prompt_record import MAX_TOLD, Envelope
from background_tasks.services.redis import redis_errors

if TYPE_CHECKING:
    from redis.asyncio import Redis

type Handler = Callable[[Envelope], Awaitable[None]]

BLOCK_MS = 2_000
"""How long to wait for something new; under the client's time-out of 5 s."""
DEAD_LETTERS = "inbound"
DEAD_KEPT = 10_000


@dataclass(slots=True)
class Consumed:
    """What one pass did."""

    handled: int = 0
    repeated: int = 0
    """Dropped: the occurrence was seen before."""
    failed: int = 0
    """The handler raised; delivered again later."""
    dead: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundConsumer:
    """One consumer of one group. Several may run at once; each entry is with one of them."""

    redis: "Redis"
    name: str
    group: str = "assistant"
    keys: Keys | None = None
    batch: int = 50
    retry_idle_s: float = 60.0
    """An entry that was not acknowledged for so long is delivered again; longer than a handler takes."""
    max_deliveries: int = 3
    seen_s: float = FLAG_LIFE_S

    async def consume(self, handler: Handler, *, block_ms: int = BLOCK_MS) -> Consumed:
        """Hand over what others left behind, then what is new; wait up to `block_ms` when there is nothing.

        An exception of the handler leaves its entry for another delivery. Raises `Unavailable` without Redis.
        """
        consumed = Consumed()
        await self._make_group()
        for entry, fields, deliveries in await self._abandoned():
            await self._one(entry, fields, deliveries, handler, consumed)
        for entry, fields in await self._new(block_ms):
            await self._one(entry, fields, 1, handler, consumed)
        return consumed

    async def _one(
        self, entry: str, fields: Mapping[str, str], deliveries: int, handler: Handler, consumed: Consumed
    ) -> None:
        try:
            envelope = Envelope.model_validate_json(fields.get("envelope", ""))
        except ValidationError as error:
            consumed.dead += await self._bury(entry, fields, f"not an envelope: {error.errors(include_url=False)}")
            return
        if await self._seen(envelope.occurrence):
            consumed.repeated += await self._done(entry, envelope.occurrence)
        elif deliveries > self.max_deliveries:
            consumed.dead += await self._bury(entry, fields, f"failed {self.max_deliveries} deliveries")
        elif await self._handled(handler, envelope):
            consumed.handled += await self._done(entry, envelope.occurrence)
        else:
            consumed.failed += 1

    async def _handled(self, handler: Handler, envelope: Envelope) -> bool:
        try:
            await handler(envelope)
        except Exception as error:  # a handler's fault is its entry's, not its neighbours'
            log = structlog.get_logger("background_tasks")
            log.warning("inbound_handler_failed", occurrence=envelope.occurrence, error=str(error), exc_info=error)
            return False
        return True

    async def _done(self, entry: str, occurrence: str) -> int:
        async with self.redis.pipeline(transaction=True) as pipe:
            await cast(Any, pipe.set(self._mark(occurrence), entry, px=round(self.seen_s * 1000)))
            await self._acknowledge(pipe, entry)
            with redis_errors("acknowledge inbound"):
                await pipe.execute()
        return 1

    async def _bury(self, entry: str, fields: Mapping[str, str], why: str) -> int:
        letter = {**fields, "entry": entry, "error": why[:MAX_TOLD]}
        async with self.redis.pipeline(transaction=True) as pipe:
            dead = self._keys.dead_letters(DEAD_LETTERS)
            await cast(Any, pipe.xadd(dead, cast(Any, letter), maxlen=DEAD_KEPT, approximate=True))
            await self._acknowledge(pipe, entry)
            with redis_errors("bury inbound"):
                await pipe.execute()
        return 1

    async def _acknowledge(self, pipe: "Redis", entry: str) -> None:
        await cast(Any, pipe.xack(self._keys.inbound, self.group, entry))
        await cast(Any, pipe.xdel(self._keys.inbound, entry))

    async def _seen(self, occurrence: str) -> bool:
        with redis_errors("look for an occurrence"):
            return bool(await self.redis.exists(self._mark(occurrence)))

    async def _make_group(self) -> None:
        try:
            with redis_errors("make inbound group"):
                await self.redis.xgroup_create(self._keys.inbound, self.group, id="0", mkstream=True)
        except Unavailable as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def _abandoned(self) -> list[tuple[str, dict[str, str], int]]:
        """Take over what nobody acknowledged in time, with the number of its deliveries, this one included."""
        idle = round(self.retry_idle_s * 1000)
        stream, group = self._keys.inbound, self.group
        with redis_errors("take over inbound"):
            answer = await self.redis.xautoclaim(stream, group, self.name, idle, count=self.batch)
            entries = _entries(answer[1])
            async with self.redis.pipeline(transaction=False) as pipe:
                for entry, _ in entries:
                    await cast(Any, pipe.xpending_range(stream, group, entry, entry, 1))
                pending = await pipe.execute()
        return [
            (entry, fields, int(rows[0]["times_delivered"]) if rows else 1)
            for (entry, fields), rows in zip(entries, pending, strict=True)
        ]

    async def _new(self, block_ms: int) -> list[tuple[str, dict[str, str]]]:
        with redis_errors("read inbound"):
            answer = await self.redis.xreadgroup(
                self.group, self.name, {self._keys.inbound: ">"}, count=self.batch, block=block_ms or None
            )
        streams = answer.values() if isinstance(answer, dict) else [rows for _, rows in answer or ()]
        return [entry for rows in streams for entry in _entries(rows)]

    def _mark(self, occurrence: str) -> str:
        return self._keys.seen(self.group, occurrence)

    @property
    def _keys(self) -> Keys:
        return self.keys or keys_of_run()


def _entries(rows: Any) -> list[tuple[str, dict[str, str]]]:
    """Read a stream's entries in whatever nesting the protocol version gives them."""
    flat = rows if not rows or isinstance(rows[0], tuple) else [row for nested in rows for row in nested]
    return [
        (text(entry), {text(name): text(value) for name, value in fields.items()}) for entry, fields in flat if fields
    ]
