"""The last runs of a task, kept small: a flat tuple of plain values per run, until somebody wants to read it.

Not here: the ledger's memory, which outlives the process. A `RunRecord` each would be fifty thousand objects for ten
thousand tasks, and the garbage collector holds the loop while it visits them; it does not visit these.
"""

from background_tasks.domain.model import Outcome, RunRecord, Task

type Packed = tuple[str, float, float, float, str, int, str, str]
"""Run id, fire time, start, end, outcome, attempt, reason, message."""


def remember(history: tuple[Packed, ...], run: RunRecord, limit: int) -> tuple[Packed, ...]:
    """Return the history with one more run, the oldest first, not longer than `limit`."""
    if not limit:
        return ()
    packed = (
        run.run_id,
        run.scheduled_for,
        run.started_at,
        run.ended_at,
        run.outcome.value,
        run.attempt,
        run.reason,
        run.message,
    )
    return (*history, packed)[-limit:]


def recall(history: tuple[Packed, ...], task: Task, worker: str) -> tuple[RunRecord, ...]:
    """Return the runs as records; their reports and fences are not kept."""
    return tuple(
        RunRecord(
            run_id=run_id,
            uid=task.uid,
            task=task.name,
            scheduled_for=scheduled_for,
            started_at=started_at,
            ended_at=ended_at,
            outcome=Outcome(outcome),
            attempt=attempt,
            reason=reason,
            message=message,
            worker=worker,
        )
        for run_id, scheduled_for, started_at, ended_at, outcome, attempt, reason, message in history
    )
