"""Says once that something began to fail, and once that it works again; and a nap that can be cut short."""

import asyncio
import logging


class Troubles:
    """What fails at the moment, by name. One line per streak: an outage of an hour is not 3,600 lines."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._now: set[str] = set()

    def __contains__(self, doing: str) -> bool:
        return doing in self._now

    def began(self, doing: str, error: Exception) -> None:
        """It failed; said if it did not fail before."""
        if doing not in self._now:
            self._now.add(doing)
            self._logger.warning("%s: %s; trying again until it works", doing, error or "no answer in time")

    def ended(self, doing: str) -> None:
        """It worked; said if it failed before."""
        if doing in self._now:
            self._now.discard(doing)
            self._logger.info("%s: works again", doing)


async def nap(event: asyncio.Event, seconds: float) -> None:
    """Sleep so long, or until the event is set; clears it."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
    finally:
        event.clear()
