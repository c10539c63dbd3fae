"""The summary counts what happened and finds every fire time that was served twice."""

import pytest

from background_tasks.domain.model import Outcome, RunRecord, TaskUid
from background_tasks.local.summary import count_doubled, summarise

A, B = TaskUid("a"), TaskUid("b")


def run(uid: TaskUid, at: float, *, took: float = 1.0, worker: str = "w1", **more: object) -> RunRecord:
    """Build one run that was due at `at`."""
    late = float(str(more.pop("late", 0)))
    outcome = Outcome(str(more.pop("outcome", "Succeeded")))
    return RunRecord(
        run_id=f"{uid}-{at}-{worker}",
        uid=uid,
        task=f"default/{uid}",
        scheduled_for=at,
        started_at=at + late,
        ended_at=at + late + took,
        outcome=outcome,
        worker=worker,
    )


@pytest.mark.parametrize(
    ("runs", "doubled"),
    [
        pytest.param([run(A, 1), run(A, 3)], 0, id="two fire times on one worker"),
        pytest.param([run(A, 1), run(A, 1, worker="w2")], 1, id="one fire time finished by two workers"),
        pytest.param([run(A, 1, outcome="Lost"), run(A, 1, worker="w2")], 0, id="a lost run may be served again"),
        pytest.param([run(A, 1, outcome="Superseded"), run(A, 1, worker="w2")], 0, id="so may a superseded one"),
        pytest.param([run(A, 1, took=9), run(A, 3, worker="w2")], 1, id="two workers inside one task at once"),
        pytest.param([run(A, 1, took=9), run(A, 3)], 0, id="a worker may overlap itself (overlap: Allow)"),
        pytest.param([run(A, 1), run(B, 1, worker="w2")], 0, id="neighbours at the same instant"),
    ],
)
def test_a_doubled_run_is_counted(runs: list[RunRecord], doubled: int) -> None:
    """Doubled means: a singleton's fire time finished twice, or its runs overlapped on two workers."""
    assert count_doubled(runs) == doubled


def test_a_session_is_told_in_one_object() -> None:
    """The object holds counts by outcome, lateness, the first run, and the names of tasks that never ran."""
    runs = [run(A, 10, late=0.002), run(A, 12, outcome="TimedOut", late=0.004), run(B, 11, outcome="Skipped")]

    told = summarise(
        runs, tasks={A: "default/a", B: "default/b"}, singletons=frozenset({A, B}), began_at=9.5, workers=2
    ).as_json()

    assert told == {
        "tasks": 2,
        "runs": {"succeeded": 1, "failed": 0, "timed_out": 1, "skipped": 1},
        "workers": 2,
        "lateness_p99_ms": 4.0,
        "first_run_s": 0.502,
        "doubled": 0,
        "by_task": {"default/a": {"succeeded": 1, "timed_out": 1}, "default/b": {"skipped": 1}},
        "never_ran": ["default/b"],
        "refused": [],
        "worker_restarts": 0,
    }


def test_a_run_that_was_written_twice_is_one_run() -> None:
    """A write that timed out may have happened and is sent again; the run's id tells that it is the same."""
    once = run(A, 10)
    told = summarise([once, once], tasks={A: "default/a"}, singletons=frozenset({A}), began_at=9, workers=1)
    assert (told.runs["succeeded"], told.doubled) == (1, 0)


def test_an_empty_session_has_no_lateness() -> None:
    """No run is not a lateness of zero."""
    told = summarise([], tasks={}, singletons=frozenset(), began_at=0, workers=0)
    assert (told.lateness_p99_ms, told.first_run_s, told.runs) == (None, None, {"succeeded": 0, "failed": 0})
