"""Which runs are so rare, or so binding, that each is worth a write of its own.

Not here: how writes are coalesced (`engine`, `sinks`), or budgets.
"""

from background_tasks.domain.declared import Continuous, Cron, Every, Interval, OnStart, Policy
from background_tasks.domain.words import Guarantee

LONG_S = 60.0
"""From this period on each run is written to ledger and status by itself; below, writes are coalesced."""


def is_long(policy: Policy) -> bool:
    """Say whether runs are so rare that each may cost a write."""
    match policy.schedule.cadence:
        case Interval(seconds=seconds) | Every(seconds=seconds):
            return seconds >= LONG_S
        case Cron() | OnStart() | Continuous():
            return True


def is_weighty(policy: Policy) -> bool:
    """Say whether each start and each end is written to the ledger."""
    return policy.guarantee is Guarantee.AT_MOST_ONCE or is_long(policy)
