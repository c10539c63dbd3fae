"""What the engine keeps of one task: little while it only waits, more once it has run.

Not here: what to do with it (`dispatch`). One `Armed` per task and nothing else per task until its first run: 100,000
of them are part of the worker's memory promise.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from background_tasks.domain.model import Continuous, Cron, Every, Isolation, Past, Policy, SkipReason, Task
from background_tasks.domain.plan import FireKind
from background_tasks.domain.weight import is_weighty
from background_tasks.engine.binding import Binding
from background_tasks.engine.history import History
from background_tasks.ports import Refusal

if TYPE_CHECKING:
    from background_tasks.engine.run import Run

NO_SLOT = -1
"""The slot of a task that runs on every worker."""


class Armed:
    """One task of this worker, filed in the timetable or not."""

    __slots__ = ("binding", "fire", "key", "kind", "live", "past", "slot", "task")

    def __init__(self, task: Task, binding: Binding | Refusal, slot: int) -> None:
        self.task = task
        self.binding = binding
        """A refusal: the task is known and shown, and never runs."""
        self.slot = slot
        self.past: Past | None = None
        """None until the ledger was read: nothing may run before."""
        self.key = 0
        """The timetable's own."""
        self.fire = 0.0
        """The fire time that is served next (wall seconds), while it is filed."""
        self.kind = FireKind.SCHEDULED
        self.live: Live | None = None
        """None until something happens to the task."""

    def lively(self) -> "Live":
        """Return what is kept once something happened."""
        if self.live is None:
            self.live = Live(self.task.policy)
        return self.live


@dataclass(frozen=True, slots=True)
class Waiting:
    """A fire time that is due and waits: for the run before it, or for a place in its group."""

    record: Armed
    fire: float
    kind: FireKind
    before: Past | None = None
    """What was known before the grid moved on; None: it did not."""


class Live:
    """What is known of a task that has run, waited or been skipped in this process."""

    __slots__ = (
        "blocks",
        "conditions",
        "failed",
        "gone",
        "grid",
        "group",
        "history",
        "isolation",
        "last_skip",
        "noted",
        "queued",
        "runs",
        "shown",
        "shown_at",
        "skipped",
        "succeeded",
        "unread",
        "unshown",
        "waiting",
        "weighty",
    )

    def __init__(self, policy: Policy) -> None:
        self.runs: tuple[Run, ...] = ()
        """Going on now; more than one only where the overlap policy allows."""
        self.queued: Waiting | None = None
        """Starts when the run before it has ended."""
        self.waiting: Waiting | None = None
        """Starts when its group has a place."""
        self.history = History()
        self.succeeded = self.failed = self.skipped = 0
        self.last_skip: tuple[float, SkipReason] | None = None
        self.blocks = 0
        """So many times the loop guard has seen it hold the loop."""
        self.noted = ""
        """A standing remark for people: why it was moved or is held back."""
        self.shown_at = float("-inf")
        """Loop time of the last status that was handed out."""
        self.unshown = False
        """It ran since then."""
        self.shown = (False, False)
        """Whether the breaker was open and the objective missed, when that was shown last."""
        self.conditions: tuple[tuple[str, str, str], ...] = ()
        """Type, status and time of the conditions that were shown last, so that they keep their times."""
        self.gone = False
        """The task was removed."""
        self.unread = False
        """Its slot was gained under a run of it: its past is read when that one has ended and is written."""
        self.adopt(policy)

    def adopt(self, policy: Policy) -> None:
        """Take what is looked up on every run from a policy that is new."""
        cadence = policy.schedule.cadence
        self.grid = isinstance(cadence, Every | Cron)
        """Fire times come by themselves, also while a run goes on."""
        self.weighty = is_weighty(policy)
        """Each start and each end is written to the ledger."""
        self.group = policy.group
        self.isolation: Isolation = policy.isolation


def is_endless(policy: Policy) -> bool:
    """Say whether a run has no end of its own, so that waiting for it would be waiting in vain."""
    return isinstance(policy.schedule.cadence, Continuous)
