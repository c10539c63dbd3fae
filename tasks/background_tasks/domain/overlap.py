"""What to do when a task is due while it still runs.

Not here: `interval` and `continuous` tasks, which cannot overlap themselves. A Replace does not wait for the old run
to obey its cancellation: whoever acts on the answer does.
"""

from enum import StrEnum
from typing import assert_never

from background_tasks.domain.model import MissedPolicy, Overlap, Policy


class DueMove(StrEnum):
    """What becomes of a fire time that is due."""

    START = "Start"
    SKIP = "Skip"  # leave it out, reason Overlap
    QUEUE = "Queue"  # start it when the running one has ended
    REPLACE = "Replace"  # cancel the running one, start when it has ended


def on_due(overlap: Overlap, *, running: int, queued: int) -> DueMove:
    """Choose by how many runs of the task go on and how many wait. One waits at the most; a further one is left out."""
    if running == 0 and queued == 0:
        return DueMove.START
    match overlap:
        case Overlap.SKIP:
            return DueMove.SKIP
        case Overlap.QUEUE:
            return DueMove.QUEUE if queued == 0 else DueMove.SKIP
        case Overlap.REPLACE:
            return DueMove.REPLACE
        case Overlap.ALLOW:
            return DueMove.START
        case _:
            assert_never(overlap)


def owes_each(policy: Policy) -> bool:
    """Say whether what falls due while a missed fire time is made up for is owed as well, and waits for its turn.

    Under Replace and Allow it need not wait: it has its run anyhow.
    """
    return policy.missed.policy is MissedPolicy.ALL and policy.overlap in (Overlap.SKIP, Overlap.QUEUE)
