"""An observer that remembers everything."""

from dataclasses import dataclass, field

from background_tasks.domain.model import RunRecord, SkipReason, Task


@dataclass(slots=True)
class Notes:
    """What an engine told (`ports.Observer`), in order."""

    starts: list[tuple[str, float, float]] = field(default_factory=list)
    """Task, fire time, lateness."""
    ends: list[RunRecord] = field(default_factory=list)
    skips: list[tuple[str, float, SkipReason]] = field(default_factory=list)
    """Task, fire time, reason."""
    blocks: list[tuple[str, float]] = field(default_factory=list)
    """Task, seconds."""

    def armed(self, count: int) -> None:
        """Not remembered."""

    def started(self, task: Task, run_id: str, scheduled_for: float, lateness: float) -> None:
        """Remember a start."""
        self.starts.append((task.name, scheduled_for, lateness))

    def ended(self, task: Task, run: RunRecord) -> None:
        """Remember how a run ended."""
        self.ends.append(run)

    def skipped(self, task: Task, scheduled_for: float, reason: SkipReason) -> None:
        """Remember a fire time without a run."""
        self.skips.append((task.name, scheduled_for, reason))

    def blocked(self, task: str, seconds: float, stack: str) -> None:
        """Remember a block of the loop."""
        self.blocks.append((task, seconds))

    def slots_held(self, count: int) -> None:
        """Not remembered."""

    def lease_renewed(self, seconds: float, ok: bool) -> None:
        """Not remembered."""
