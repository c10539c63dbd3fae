"""The bot runner that a pool has when no bot is there: its services under the names that the tasks expect.

Not here: any chat platform. An assistant that embeds the scheduler hands over its own runner instead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from background_tasks.knowledge.keys import Keys
from background_tasks.services.redis import redis_errors

if TYPE_CHECKING:
    from redis.asyncio import Redis


class MessageCache(Protocol):
    """What tasks ask of an assistant's message cache."""

    @property
    def redis_client(self) -> "Redis":
        """The Redis that holds the messages."""
        ...

    async def get_active_channels(self, limit: int) -> Sequence[str]:
        """Return the channels with the latest messages, newest first."""
        ...


@dataclass(frozen=True, slots=True)
class RedisMessageCache:
    """The message cache of a pool: the keys that its tasks share."""

    redis_client: "Redis"
    keys: Keys

    async def get_active_channels(self, limit: int) -> Sequence[str]:
        """Return up to `limit` channels, newest first. Raises `Unavailable`."""
        with redis_errors("read active channels"):
            found = await self.redis_client.zrevrange(self.keys.active_channels, 0, limit - 1)
        return [name.decode() if isinstance(name, bytes) else str(name) for name in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolBotRunner:
    """A runner made of the pool's services; a part that the pool lacks is None."""

    cfg: Mapping[str, object]
    kg_manager: object | None = None
    openrouter: object | None = None
    message_cache: MessageCache | None = None
    embedding_queue: object | None = None
    adapters: Sequence[object] = ()
    starwiki_service: object | None = None
