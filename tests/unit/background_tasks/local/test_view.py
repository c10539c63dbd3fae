"""The terminal view shows workers, tasks, refusals and the empty state in words that a person reads."""

import io
from collections.abc import Callable

from rich.console import Console

from background_tasks.domain.model import Interval, Outcome, Policy, RunRecord, Schedule, Task, TaskUid
from background_tasks.local.state import PoolState, WorkerLine
from background_tasks.local.view import line, view

NOW = 1_000.0


def task(name: str) -> Task:
    """Build a task that is due each minute."""
    schedule = Schedule(cadence=Interval(seconds=60))
    return Task(uid=TaskUid(name), name=f"default/{name}", policy=Policy(coroutine="example_work", schedule=schedule))


def run(name: str, outcome: Outcome = Outcome.SUCCEEDED, message: str = "") -> RunRecord:
    """Build a run that ended five seconds ago."""
    return RunRecord(
        run_id="r1",
        uid=TaskUid(name),
        task=f"default/{name}",
        scheduled_for=NOW - 6,
        started_at=NOW - 5.75,
        ended_at=NOW - 5,
        outcome=outcome,
        worker="worker-1.1.ab",
        message=message,
    )


def drawn(state: PoolState, height: int = 40) -> str:
    """Return the view as plain text, 140 columns wide."""
    console = Console(file=io.StringIO(), width=140, height=height)
    with console.capture() as shown:
        console.print(view(state, NOW, height))
    return shown.get()


def world(*tasks: Task) -> PoolState:
    """Build a state with tasks and one worker."""
    state = PoolState(began_at=NOW - 65)
    for one in tasks:
        state.upsert(one)
    state.set_workers((WorkerLine(name="worker-1", pid=7, member="m", slots=(0, 3), restarts=2, alive=True),))
    return state


def words(text: str) -> Callable[[str], list[str]]:
    """Return a function that finds the words of the line which begins with a word."""
    return lambda first: next(row.split() for row in text.splitlines() if row.startswith(first))


def test_a_task_is_one_line() -> None:
    """Name, coroutine, last outcome, age, lateness, counts, worker and message stand in one line."""
    state = world(task("good"), task("bad"), task("new"))
    state.add_runs([run("good"), run("bad", Outcome.TIMED_OUT, "it passed its timeout")])

    row = words(drawn(state))

    assert row("good") == ["good", "example_work", "Succeeded", "5s", "250ms", "1", "worker-1"]
    assert " ".join(row("bad")) == "bad example_work TimedOut 5s 250ms 0 1 worker-1 it passed its timeout"
    assert row("new") == ["new", "example_work", "waiting", "0"]


def test_a_worker_shows_its_process_slots_and_restarts() -> None:
    """The process id is what a person needs to try a crash."""
    row = words(drawn(world(task("a"))))
    assert row("worker-1") == ["worker-1", "7", "0", "3", "2"]
    assert " ".join(row("background-tasks")) == "background-tasks 1 tasks, 1m05s 0 succeeded 0 not"


def test_a_long_message_is_cut_and_takes_no_room_from_figures() -> None:
    """Whatever a task says, its counts stay readable."""
    state = world(task("chatty"))
    state.add_runs([run("chatty", Outcome.FAILED, "no " * 400)])

    row = words(drawn(state))("chatty")

    assert row[:8] == ["chatty", "example_work", "Failed", "5s", "250ms", "0", "1", "worker-1"]


def test_an_empty_pool_says_what_to_do() -> None:
    """No task is not an empty screen."""
    assert "no tasks yet: put a BackgroundTask into the folder" in drawn(world())


def test_refusals_and_trouble_are_shown() -> None:
    """A refused document and a store that does not answer are seen without looking for them."""
    state = world(task("a"))
    state.documents = ("f.yaml:3: spec.schedule.evry: is not a field; did you mean every?",)
    state.trouble = "the store does not answer: redis: read runs"

    text = drawn(state)

    assert "did you mean every?" in text
    assert "the store does not answer" in text


def test_a_low_window_says_how_much_it_hides() -> None:
    """What does not fit is counted."""
    assert "… and 15 more" in drawn(world(*(task(f"t{n:02}") for n in range(20))), height=10)


def test_a_run_is_told_in_a_line() -> None:
    """Outside a terminal each run is one line: time, worker, task, outcome, length, reason."""
    told = line(run("bad", Outcome.FAILED, "boom")).split()
    assert told == ["00:16:35", "worker-1.1.ab", "default/bad", "Failed", "0.750s", "boom"]
