"""Tries the compare-and-sets that a member has decided on: many at a time, as a store may write together what it is
asked together. Not here: what to try, and what follows.
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import batched

from background_tasks.engine.roster import Swap
from background_tasks.errors import BackgroundTaskError
from background_tasks.ports import SlotTable

AT_ONCE = 128
"""Far more than a member has but at its start and end; a row is short, and a Redis answers them one by one anyway."""

type Failure = BackgroundTaskError | TimeoutError


async def swap_all(
    table: SlotTable, swaps: Sequence[Swap], *, within: float, answered: Callable[[Swap, bool], None]
) -> list[Failure]:
    """Try swaps, each `within` so many seconds, and return what failed. After a failure nothing more is begun."""

    async def attempt(swap: Swap) -> Failure | None:
        try:
            async with asyncio.timeout(within):
                done = await table.compare_and_set(swap.realm, swap.slot, swap.expected, swap.new)
        except (BackgroundTaskError, TimeoutError) as error:
            return error
        answered(swap, done)
        return None

    for some in batched(swaps, AT_ONCE):
        async with asyncio.TaskGroup() as group:
            attempts = [group.create_task(attempt(swap)) for swap in some]
        failures = [error for one in attempts if (error := one.result()) is not None]
        if failures:
            return failures
    return []
