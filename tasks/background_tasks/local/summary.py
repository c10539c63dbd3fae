"""What a session of `bgtasks up` came to: counts, lateness, and whether any fire time was served twice.

Not here: reading the ledger. In go the runs as the workers wrote them; out comes one JSON object.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from background_tasks.domain.model import Outcome, RunRecord, TaskUid

NOT_SERVED = frozenset({Outcome.LOST, Outcome.SUPERSEDED, Outcome.SKIPPED, Outcome.CANCELLED})
"""Outcomes after which a fire time may be served again: nobody finished it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The figures of one session; durations as their names say."""

    tasks: int
    runs: Mapping[str, int]
    workers: int
    lateness_p99_ms: float | None
    first_run_s: float | None
    doubled: int
    by_task: Mapping[str, Mapping[str, int]]
    never_ran: tuple[str, ...]
    refused: tuple[str, ...]
    restarts: int

    def as_json(self) -> dict[str, object]:
        """Return it as the object that `-o json` prints."""
        return {
            "tasks": self.tasks,
            "runs": dict(self.runs),
            "workers": self.workers,
            "lateness_p99_ms": self.lateness_p99_ms,
            "first_run_s": self.first_run_s,
            "doubled": self.doubled,
            "by_task": {task: dict(counts) for task, counts in sorted(self.by_task.items())},
            "never_ran": list(self.never_ran),
            "refused": list(self.refused),
            "worker_restarts": self.restarts,
        }


def summarise(
    runs: Sequence[RunRecord],
    *,
    tasks: Mapping[TaskUid, str],
    singletons: frozenset[TaskUid],
    began_at: float,
    workers: int,
    refused: Iterable[str] = (),
    restarts: int = 0,
) -> Summary:
    """Count what the session did. `tasks` maps uid to name; `began_at` is the wall second at which `up` was typed."""
    runs = list({run.run_id: run for run in runs}.values())  # a write whose answer was lost is written again
    started = [run for run in runs if run.outcome is not Outcome.SKIPPED]
    by_task: dict[str, Counter[str]] = defaultdict(Counter)
    for run in runs:
        by_task[run.task][_word(run.outcome)] += 1
    ran = {run.uid for run in started}
    return Summary(
        tasks=len(tasks),
        runs={"succeeded": 0, "failed": 0} | dict(Counter(_word(run.outcome) for run in runs)),
        workers=workers,
        lateness_p99_ms=_p99([run.lateness * 1000 for run in started]),
        first_run_s=min((round(run.started_at - began_at, 3) for run in started), default=None),
        doubled=count_doubled([run for run in runs if run.uid in singletons]),
        by_task=by_task,
        never_ran=tuple(sorted(name for uid, name in tasks.items() if uid not in ran)),
        refused=tuple(refused),
        restarts=restarts,
    )


def count_doubled(runs: Iterable[RunRecord]) -> int:
    """Count singleton fire times that two runs finished, and runs of one task that overlapped on two workers."""
    finished = [run for run in runs if run.outcome not in NOT_SERVED]
    served = Counter((run.uid, run.scheduled_for) for run in finished)
    return sum(times - 1 for times in served.values()) + _overlaps(finished)


def _overlaps(runs: Iterable[RunRecord]) -> int:
    """Count runs that began on one worker before a run of the same task had ended on another."""
    by_uid: dict[TaskUid, list[RunRecord]] = defaultdict(list)
    for run in runs:
        by_uid[run.uid].append(run)
    return sum(_overlaps_of_one(sorted(of_one, key=lambda run: run.started_at)) for of_one in by_uid.values())


def _overlaps_of_one(runs: Sequence[RunRecord]) -> int:
    count, last = 0, None
    for run in runs:
        if last is not None and run.worker != last.worker and run.started_at < last.ended_at:
            count += run.scheduled_for != last.scheduled_for  # the same fire time is counted already
        if last is None or run.ended_at > last.ended_at:
            last = run
    return count


def _word(outcome: Outcome) -> str:
    """Spell an outcome as the summary does: `TimedOut` is `timed_out`."""
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in outcome.value).lstrip("_")


def _p99(values: list[float]) -> float | None:
    """Return the nearest-rank 99th percentile, rounded to a tenth, or None without values."""
    if not values:
        return None
    return round(sorted(values)[math.ceil(0.99 * len(values)) - 1], 1)
