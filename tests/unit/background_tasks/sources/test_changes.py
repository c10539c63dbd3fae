"""What a reload means: told once, kept while in doubt, aged as it should be."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from background_tasks.domain.model import Interval, Pause, Policy, Schedule, Switches, Task, TaskUid
from background_tasks.ports import Refusal, RefusedDocument, Removed, Upserted
from background_tasks.sources.changes import UNSEEN, Declared, Loaded, View, changes

HERE, THERE = Path("here.yaml"), Path("there.yaml")


def task(name: str, seconds: float = 60.0, **more: Any) -> Task:
    """Build a task as a file declares it."""
    policy = Policy(coroutine="t", schedule=Schedule(cadence=Interval(seconds=seconds)))
    return Task(uid=TaskUid(name), name=name, policy=policy, generation=UNSEEN, created_at=float(UNSEEN), **more)


def loaded(*tasks: Task, refusals: tuple[Refusal, ...] = (), unsound: frozenset[Path] = frozenset()) -> Loaded:
    """Build what the files say; every task is in one file."""
    return Loaded(tasks={one.uid: Declared(one, HERE) for one in tasks}, refusals=refusals, unsound=unsound)


def refusal(uid: str | None = None) -> Refusal:
    """Build a refusal of one document."""
    return Refusal(where="here.yaml:1", field="", value="", message="wrong", uid=TaskUid(uid) if uid else None)


def test_a_new_task_is_created_when_it_is_first_seen() -> None:
    """Its first generation is 1, its creation is now."""
    _, events = changes(View(), loaded(task("a")), 100.0)

    assert events == (Upserted(replace(task("a"), generation=1, created_at=100.0)),)


def test_what_did_not_change_is_not_told() -> None:
    """Neither a second look at the same file nor the same text in a rewritten one says anything."""
    view, _ = changes(View(), loaded(task("a"), task("b")), 100.0)
    again, events = changes(view, loaded(task("a"), task("b")), 200.0)

    assert events == ()
    assert again.armed == view.armed


def test_a_changed_spec_raises_the_generation_and_keeps_the_creation() -> None:
    """A task is as old as its first sight."""
    view, _ = changes(View(), loaded(task("a")), 100.0)
    view, _ = changes(view, loaded(task("a", 90.0)), 200.0)
    _, events = changes(view, loaded(task("a", 90.0, params={"x": 1})), 300.0)

    assert events == (Upserted(replace(task("a", 90.0, params={"x": 1}), generation=3, created_at=100.0)),)


def test_an_annotation_is_a_change_but_not_of_the_spec() -> None:
    """Pausing a task does not make it another one."""
    view, _ = changes(View(), loaded(task("a")), 100.0)
    paused = Switches(pause=Pause(until=None))
    view, events = changes(view, loaded(task("a", switches=paused)), 200.0)
    _, later = changes(view, loaded(task("a", switches=Switches(suspend=True, pause=Pause(until=None)))), 300.0)

    assert events == (Upserted(replace(task("a", switches=paused), generation=1, created_at=100.0)),)
    assert [event.task.generation for event in later if isinstance(event, Upserted)] == [2]


def test_true_and_one_are_different_params() -> None:
    """Python calls them equal; a coroutine would not."""
    view, _ = changes(View(), loaded(task("a", params={"x": 1})), 100.0)
    _, events = changes(view, loaded(task("a", params={"x": True})), 200.0)

    assert [event.task.generation for event in events if isinstance(event, Upserted)] == [2]


def test_a_cluster_counts_generation_and_creation_itself() -> None:
    """What a document records is kept."""
    recorded = replace(task("a"), generation=7, created_at=50.0)
    view, events = changes(View(), loaded(recorded), 100.0)
    _, later = changes(view, loaded(replace(recorded, generation=8)), 200.0)

    assert (*events, *later) == (Upserted(recorded), Upserted(replace(recorded, generation=8)))


def test_a_task_that_is_gone_is_removed() -> None:
    """The others stay, and removals come first: a freed name may be taken at once."""
    view, _ = changes(View(), loaded(task("a"), task("b")), 100.0)
    _, events = changes(view, loaded(task("b"), task("c")), 200.0)

    assert events == (Removed(TaskUid("a")), Upserted(replace(task("c"), generation=1, created_at=200.0)))


def test_a_bad_file_keeps_its_good_tasks() -> None:
    """What it no longer declares may only be misspelled; what it still declares is taken."""
    view, _ = changes(View(), loaded(task("a"), task("b")), 100.0)
    bad = loaded(task("b", 90.0), refusals=(refusal(),), unsound=frozenset({HERE}))
    view, events = changes(view, bad, 200.0)

    assert events == (
        Upserted(replace(task("b", 90.0), generation=2, created_at=100.0)),
        RefusedDocument(refusal()),
    )
    assert set(view.armed) == {"a", "b"}
    assert changes(view, loaded(task("b", 90.0)), 300.0)[1] == (Removed(TaskUid("a")),)


def test_another_file_s_fault_keeps_nothing() -> None:
    """A task that left a sound file is gone, whatever is wrong elsewhere."""
    view, _ = changes(View(), loaded(task("a")), 100.0)

    _, events = changes(view, loaded(refusals=(refusal(),), unsound=frozenset({THERE})), 200.0)

    assert events == (Removed(TaskUid("a")), RefusedDocument(refusal()))


def test_a_refusal_is_told_once() -> None:
    """Until it is another one."""
    view, first = changes(View(), loaded(refusals=(refusal(),)), 100.0)
    view, second = changes(view, loaded(refusals=(refusal(),)), 200.0)
    _, third = changes(view, loaded(refusals=(refusal(), refusal("a"))), 300.0)

    assert (first, second, third) == ((RefusedDocument(refusal()),), (), (RefusedDocument(refusal("a")),))


def test_a_task_whose_refusal_is_over_is_told_again() -> None:
    """Going back to the very text of before is a change for whoever was told of the refusal."""
    view, (good,) = changes(View(), loaded(task("a")), 100.0)
    view, _ = changes(view, loaded(refusals=(refusal("a"),), unsound=frozenset({HERE})), 200.0)
    _, events = changes(view, loaded(task("a")), 300.0)

    assert events == (good,)
