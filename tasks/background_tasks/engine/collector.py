"""Keeps the garbage collector's pauses out of the way of starts.

Not here: memory. Nothing that the engine makes per run needs the collector: it is freed when it is let go of. So the
collector has little to find and much to visit, and a full visit of 100,000 objects holds the loop for 50 ms or more.
"""

import gc

YOUNG = 10_000
"""Allocations between visits of the youngest objects; usual is 2,000, which 10,000 runs a second reach again and again
without anything to find."""
MIDDLE = 2
"""Such visits between two of the middle generation; usual is 10, which lets a herd of 10,000 runs grow into one
visit of 20 ms or more. Three short ones hold the loop less."""
OLD = 5_000
"""Visits of the middle generation between two full ones; usual is 10."""


def keep_pauses_short() -> None:
    """Visit everything once, then leave it alone, and come by less often.

    For a process that is a worker; call it when the tasks are known. What exists now is still freed when it is let go
    of, but not if it then stands in a circle.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
