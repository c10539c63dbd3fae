"""When the pool came up, kept where its leases are for as long as any worker of it lives: `onStart` tasks ask for it.

Not here: what follows from it (`domain`). A worker that joins later, or takes a slot over, finds the pool up already.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import structlog

from background_tasks.errors import Refused, Unavailable
from background_tasks.leases.redis import pool_prefix
from background_tasks.ports import Clock
from background_tasks.services.redis import Script

if TYPE_CHECKING:
    from redis.asyncio import Redis

LIVES_DURATIONS = 3
"""The mark outlives the last worker by so many lease durations: a rollout is no new start."""

# Example: EVALSHA ... bgt:default:up  1795560518.5 36000 -> "1795560400.25", the instant that stands
_MARK = Script(
    """
local found = redis.pcall('GET', KEYS[1])
if type(found) ~= 'string' or not tonumber(found) then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return ARGV[1]
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return found
""",
    "mark the pool as up",
)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0

log = structlog.get_logger("background_tasks.worker")


class PoolStart:
    """The mark of one pool."""

    def __init__(self, redis: "Redis", pool: str, clock: Clock, lease_duration: float) -> None:
        self._redis = redis
        self._key = f"{pool_prefix(pool)}:up"
        self._clock = clock
        self._lives = lease_duration * LIVES_DURATIONS

    async def since(self) -> float:
        """Return when the pool came up (wall seconds); now, where no worker lives or the store does not answer."""
        now = self._clock.wall()
        try:
            return float(await _MARK(self._redis, [self._key], [repr(now), round(self._lives * 1000)]))
        except Unavailable as error:
            log.warning("whether the pool is up already cannot be read; it counts from now", error=str(error))
            return now

    async def keep(self) -> None:
        """Keep the mark alive until cancelled."""
        while True:
            await asyncio.sleep(self._lives / 4)
            await self.since()


async def pool_up_since(ask: Callable[[float], Awaitable[float]], clock: Clock) -> float:
    """Return when the pool came up, by its members' Leases (`ask(now)`); waits for an API server that is away.

    Without it no task is known either, so nothing waits for this alone.
    """
    pause = FIRST_PAUSE_S
    while True:
        try:
            return await ask(clock.wall())
        except (Unavailable, Refused) as error:
            log.warning("the API server does not say whether the pool is up; the worker waits", error=str(error))
        await asyncio.sleep(pause * (0.5 + clock.draw() / 2))
        pause = min(LONGEST_PAUSE_S, pause * 2)
