"""A Redis client that dies at its k-th trip: before the trip is sent, or after it was obeyed and before the answer.

Not here: what a crash means; the test runs the task again with a living client and compares what is stored.
"""

from collections.abc import Awaitable, Callable
from typing import Any


class Crash(BaseException):
    """The process is gone. Not an `Exception`: nothing may handle it."""


class CrashingClient:
    """Instruments one `redis.asyncio.Redis`; use a client of its own."""

    def __init__(
        self,
        client: Any,
        *,
        at: int | None,
        obeyed: bool = False,
        error: Callable[[], BaseException] = Crash,
        recovers: bool = False,
        before: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """`at` counts from 0; None never dies and only counts. `obeyed`: the server did it, the answer is lost.

        `recovers`: only that one trip fails, as in a time-out or a cancellation. `before` is awaited ahead of that
        trip, which then goes on unharmed.
        """
        self.trips = 0
        self.dead = False
        self._at, self._obeyed, self._error, self._recovers = at, obeyed, error, recovers
        self._before = before
        self._pipeline = client.pipeline
        client.execute_command = self._guarded(client.execute_command)
        client.pipeline = self._guarded_pipeline
        self.client = client

    def _guarded_pipeline(self, *args: Any, **kwargs: Any) -> Any:
        pipe = self._pipeline(*args, **kwargs)
        pipe.execute = self._guarded(pipe.execute)
        return pipe

    def _guarded(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def trip(*args: Any, **kwargs: Any) -> Any:
            number, self.trips = self.trips, self.trips + 1
            if number == self._at and self._before is not None:
                await self._before()
                return await call(*args, **kwargs)
            dies = number == self._at
            if self.dead or (dies and not self._obeyed):
                self.dead = not self._recovers
                raise self._error()
            answer = await call(*args, **kwargs)
            if dies:
                self.dead = not self._recovers
                raise self._error()
            return answer

        return trip
