"""The last runs of a task, kept small: 34 bytes each, until somebody wants to read them.

Not here: the ledger's memory, which outlives the process; reports and fences. One string of bytes per task, because the
garbage collector does not look at it: as records, or as tuples, the runs of 10,000 tasks a second were most of what it
visited, and it holds the loop meanwhile.
"""

import struct
from collections.abc import Mapping

from background_tasks.domain.model import EMPTY, Outcome, RunRecord, Task

_ROW = struct.Struct("<QdddBB")
"""Number, fire time, start, end, outcome, attempt."""
_OUTCOMES = tuple(Outcome)
_CODES = {outcome: code for code, outcome in enumerate(_OUTCOMES)}
MOST_ATTEMPTS = 255
"""More are told as this many."""


class History:
    """The last runs, oldest first."""

    __slots__ = ("_rows", "_words", "report")

    def __init__(self) -> None:
        self._rows = b""
        self._words: dict[int, tuple[str, str, str]] | None = None
        """Run id, reason and message of the runs that have something to say, by number."""
        self.report: Mapping[str, object] = EMPTY
        """What the last run told of its effects."""

    def remember(self, number: int, run: RunRecord, limit: int) -> None:
        """Add a run, and keep `limit` of them. `number` is the run's number in this process, 0 for one of another."""
        row = _ROW.pack(
            number,
            run.scheduled_for,
            run.started_at,
            run.ended_at,
            _CODES[run.outcome],
            min(run.attempt, MOST_ATTEMPTS),
        )
        self._rows = (self._rows + row)[-_ROW.size * limit :] if limit else b""
        self.report = run.report
        if run.message or run.reason or self._words or not number:
            self._keep_words(number, run)

    def recall(self, task: Task, worker: str, last: int | None = None) -> tuple[RunRecord, ...]:
        """Return the runs (or the `last` so many) as records."""
        rows = self._rows if last is None else self._rows[-_ROW.size * last :]
        return tuple(self._record(task, worker, *row) for row in _ROW.iter_unpack(rows))

    def _keep_words(self, number: int, run: RunRecord) -> None:
        words = self._words or {}
        if run.message or run.reason or not number:
            words[number] = (run.run_id, run.reason, run.message)
        kept = {row[0] for row in _ROW.iter_unpack(self._rows)}
        self._words = {told: words[told] for told in words if told in kept} or None

    def _record(self, task: Task, worker: str, number: int, *row: float) -> RunRecord:
        scheduled_for, started_at, ended_at, outcome, attempt = row
        usual = (run_id(worker, number), "", "")
        told, reason, message = (self._words or {}).get(number, usual)
        return RunRecord(
            run_id=told,
            uid=task.uid,
            task=task.name,
            scheduled_for=scheduled_for,
            started_at=started_at,
            ended_at=ended_at,
            outcome=_OUTCOMES[int(outcome)],
            attempt=int(attempt),
            reason=reason,
            message=message,
            worker=worker,
        )


def run_id(worker: str, number: int) -> str:
    """Name a run."""
    return f"{worker}-{number:x}"
