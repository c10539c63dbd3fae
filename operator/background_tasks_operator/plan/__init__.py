"""`plan`: which objects must exist for a pool, and which must not. A pure function of what was declared and observed.

Not here: reading and applying (`reconcile`), clocks, clients.
"""

from background_tasks_operator.plan.deployment import deployment, handover
from background_tasks_operator.plan.model import Desired, Observed, PoolFacts
from background_tasks_operator.plan.pods import pod_problems
from background_tasks_operator.settings import Settings


def plan(pool: PoolFacts, settings: Settings, observed: Observed) -> Desired:
    """Return all that must be true of the pool's objects. A pool that is going gets nothing new."""
    if pool.deleting:
        return Desired()
    moved = handover(pool, observed)
    return Desired(
        handovers=() if moved is None else (moved,),
        objects=(deployment(pool, settings),),
        problems=tuple(pod_problems(pool)),
    )
