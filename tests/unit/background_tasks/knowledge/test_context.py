"""What a task takes from its run, and what it gets in a plain script."""

import pytest

from background_tasks.authoring import TaskParams, TaskReport
from background_tasks.domain.model import Fence
from background_tasks.engine.clock import SystemClock
from background_tasks.errors import InvalidParams
from background_tasks.knowledge import context
from background_tasks.knowledge.keys import PREFIX_SETTING, Keys, keys_of_run
from background_tasks.testing import FrozenClock, a_run


class Params(TaskParams):
    """Params of a task."""

    keep: int = 7


class Others(TaskParams):
    """Params of another task."""

    keep: str = "everything"


FENCE = Fence(realm="r", slot=3, epoch=8)


def test_inside_a_run_everything_is_the_runs() -> None:
    """Params, clock, fence, id, settings and where progress goes."""
    clock, reports, report = FrozenClock(5.0), list[TaskReport](), TaskReport(created=1)
    with a_run(Params(keep=3), clock=clock, prefix="p:", run_id="r-1", fence=FENCE, reports=reports):
        run = context.run_context(Params)
        run.report(report)
        assert (run.params, run.clock, run.fence, run.run_id) == (Params(keep=3), clock, FENCE, "r-1")
        assert (context.params_of(Params), context.clock(), context.fence()) == (Params(keep=3), clock, FENCE)
        assert (context.run_id(), keys_of_run()) == ("r-1", Keys("p:"))
    assert reports == [report]


def test_in_a_plain_script_there_are_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's clock, no fence, settings from the environment, a run id of its own."""
    monkeypatch.setenv(PREFIX_SETTING, "mine:")
    run = context.run_context(Params, "sweep")
    assert (run.params, run.fence, run.task.policy.coroutine, run.attempt) == (Params(), None, "sweep", 1)
    assert run.run_id != context.run_context(Params, "sweep").run_id
    assert abs(run.clock.wall() - SystemClock().wall()) < 60
    assert (context.params_of(Params), context.fence(), context.service("redis")) == (Params(), None, None)
    assert keys_of_run() == Keys("mine:")


def test_a_task_that_is_awaited_inside_another_has_its_own_defaults() -> None:
    """The outer task's params are not this one's; its clock and fence are."""
    with a_run(Others(), clock=FrozenClock(5.0), fence=FENCE):
        run = context.run_context(Params)
        assert (run.params, run.fence, run.clock.wall()) == (Params(), FENCE, 5.0)


def test_params_that_come_as_a_mapping_are_validated() -> None:
    """Every fault is told."""
    with a_run(Params()) as run:
        run.params = {"keep": "3"}  # type: ignore[assignment]
        assert context.params_of(Params) == Params(keep=3)
        run.params = {"keep": "many", "colour": "red"}  # type: ignore[assignment]
        with pytest.raises(InvalidParams, match=r"(?s)keep.*colour"):
            context.params_of(Params)


def test_a_machines_clock_leaves_time_to_the_store_and_an_injected_one_does_not() -> None:
    """Replicas with clocks of their own must agree on what is due."""
    assert context.injected_now(SystemClock()) is None
    assert context.injected_now(context.clock()) is None
    assert context.injected_now(FrozenClock(5.0)) == 5.0


def test_no_two_keys_meet_whatever_ids_hold() -> None:
    """Ids come last, or as JSON."""
    keys = Keys()
    found = [
        keys.fired("x"), keys.prompt("x"), keys.seen("a:b", "c"), keys.seen("a", "b:c"), keys.lease("k", "a:b", "c"),
        keys.lease("k", "a", "b:c"), keys.run("x"), keys.cursors("x"), keys.dead_letters("x"), keys.events("x"),
        keys.runs, keys.inbound,
    ]  # fmt: skip
    assert len(set(found)) == len(found)
    assert all(key.startswith("sg:") for key in found)
