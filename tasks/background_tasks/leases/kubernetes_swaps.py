"""Compare-and-sets that are asked for at the same time, written together: one request instead of one for each row.

Not here: what a table is, and what somebody else's write means for it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from background_tasks.errors import Ambiguous, BackgroundTaskError
from background_tasks.ports import SlotRow


@dataclass(eq=False, slots=True, kw_only=True)
class Swap:
    """One compare-and-set, and what became of it."""

    realm: str
    slot: int
    expected: SlotRow
    new: SlotRow
    done: bool | None = None
    failure: BackgroundTaskError | None = None


class Swaps:
    """Gathers swaps while a write is under way. `write` answers for each of them whether it was done."""

    def __init__(self, write: Callable[[Sequence[Swap]], Awaitable[Sequence[bool]]], where: str) -> None:
        self._write = write
        self._where = where
        self._asked: list[Swap] = []
        self._writing = asyncio.Lock()

    async def ask(self, swap: Swap) -> bool:
        """Have it written, with those that are asked for meanwhile; who comes first writes for all."""
        self._asked.append(swap)
        try:
            await asyncio.sleep(0)  # who asks at this same moment comes along
            async with self._writing:
                if swap in self._asked:
                    await self._write_all()
        finally:
            if swap in self._asked:
                self._asked.remove(swap)
        if swap.failure is not None:
            raise swap.failure
        return swap.done is True

    async def _write_all(self) -> None:
        swaps, self._asked = self._asked, []
        try:
            for swap, done in zip(swaps, await self._write(swaps), strict=True):
                swap.done = done
        except BackgroundTaskError as error:
            for swap in swaps:
                swap.failure = error
        finally:
            for swap in swaps:
                if swap.done is None and swap.failure is None:  # whoever wrote for all was cancelled
                    swap.failure = Ambiguous(f"{self._where}: the write was given up; it may have happened")
