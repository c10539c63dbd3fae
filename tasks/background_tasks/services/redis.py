"""The wire to Redis: connections without hidden retries, scripts, and one door for foreign errors.

Not here: what any key means. The client's own retries are off: a timed-out write that is sent again by a library
is a write done twice; who calls decides whether trying again is safe.
"""

from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript

from background_tasks.errors import Ambiguous, BackgroundTaskError, Refused, Unavailable

CONNECT_TIMEOUT_S = 2.0
CALL_TIMEOUT_S = 5.0
"""Shorter than a renew deadline (8 s), so that a silent server is noticed while there is time to act."""


def connect(url: str, *, call_timeout: float = CALL_TIMEOUT_S, decode: bool = True, connections: int = 64) -> Redis:
    """Return a client for `redis://`, `rediss://` or `unix://`; it connects when first used.

    Answers are `str` with `decode`. Raises `Refused` for a URL that cannot be read.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            timeout=call_timeout,
            decode_responses=decode,
            encoding_errors="backslashreplace",
            socket_timeout=call_timeout,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            max_connections=connections,
        )
        return Redis.from_pool(pool)
    except ValueError as error:
        raise Refused(f"redis url is {url!r}: {error}; write redis://host:6379/0 or unix:///path/to.sock") from error


def connect_like(client: Redis, *, call_timeout: float = CALL_TIMEOUT_S) -> Redis:
    """Return a client of its own for the server of `client`, for another thread's loop: nothing is shared with it.

    Answers are `str`. Raises `Refused` for a client whose pool cannot be made twice (Sentinel, cluster).
    """
    pool = getattr(client, "connection_pool", None)
    if pool is None or "connection_pool" in pool.connection_kwargs:
        raise Refused(f"redis client is {client!r}; give one made for a single server's URL, or give `lease=`")
    shared = {"himport_registry", "event_dispatcher", "maint_notifications_pool_handler"}
    kwargs = {name: value for name, value in pool.connection_kwargs.items() if name not in shared}
    kwargs |= {
        "decode_responses": True,
        "encoding_errors": "backslashreplace",
        "socket_timeout": call_timeout,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
    }
    return Redis.from_pool(ConnectionPool(connection_class=pool.connection_class, **kwargs))


@contextmanager
def redis_errors(doing: str) -> Iterator[None]:
    """Translate the client's errors: `doing` names the attempt, as in "renew lease"."""
    try:
        yield
    except BackgroundTaskError:
        raise
    except exceptions.TimeoutError as error:
        raise Ambiguous(f"redis: {doing}: no answer in time; it may have happened") from error
    except (exceptions.AuthenticationError, exceptions.NoPermissionError) as error:
        raise Unavailable(f"redis: {doing}: {error}; check user, password and ACL of the URL") from error
    except exceptions.ConnectionError as error:
        raise Unavailable(f"redis: {doing}: {error}") from error
    except (exceptions.RedisError, OSError) as error:
        if str(error).startswith("WRONGTYPE"):
            raise Unavailable(f"redis: {doing}: WRONGTYPE, the key is not of our kind: DEL it") from error
        raise Unavailable(f"redis: {doing}: {type(error).__name__}: {error}") from error


LUA_DEMAND = """
local function demand(key, wanted, what)
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'none' and kind ~= wanted then
    return redis.error_reply('key ' .. key .. ' is a ' .. kind .. ', not the ' .. wanted .. ' of ' .. what ..
      ': DEL it, or give the pool another name')
  end
end
"""
"""For the head of scripts: `local wrong = demand(KEYS[1], 'hash', 'slots'); if wrong then return wrong end`."""


class Script:
    """One Lua script, sent by digest. Time and chance come in as arguments unless it asks `TIME` itself."""

    def __init__(self, source: str, doing: str) -> None:
        self._source = source
        self._doing = doing
        self._registered: AsyncScript | None = None

    async def __call__(self, redis: Redis, keys: Sequence[str], args: Sequence[str | int | float | bytes]) -> Any:
        """Run it. Raises `Unavailable` or `Ambiguous`."""
        script = self._registered
        if script is None:
            script = self._registered = redis.register_script(self._source)
        with redis_errors(self._doing):
            return await cast(Awaitable[Any], script(keys=list(keys), args=list(args), client=redis))
