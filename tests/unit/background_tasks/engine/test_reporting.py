"""What a run returns or reports is kept as JSON knows it; what cannot be kept fails that run and nobody else."""

import asyncio
import json
from typing import Any

import pytest

from background_tasks.authoring import TaskReport
from background_tasks.domain.model import Interval, Outcome, Retry
from background_tasks.engine.reporting import REPORT_CHARS, kept


class Wordless:
    """Something that cannot say what it is."""

    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


def circle() -> dict[str, Any]:
    """Give a dict that holds itself."""
    found: dict[str, Any] = {}
    found["self"] = found
    return found


UNWRITABLE = [
    pytest.param({(1, 2): 3}, id="a key that is no text"),
    pytest.param(circle(), id="a circle"),
    pytest.param({"it": Wordless()}, id="something without words"),
    pytest.param(TaskReport(extra={"it": Wordless()}), id="in a report"),
]


@pytest.mark.parametrize("result", UNWRITABLE)
def test_a_result_that_json_cannot_hold_fails_its_run_once(world: Any, result: object) -> None:
    """The work was done, so it is not tried again; the sentence names the task."""

    async def body(ctx: Any) -> object:
        return result

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Interval(seconds=60), retry=Retry(attempts=3)))
        await asyncio.sleep(30)
        json.dumps([dict(run.report) for run in w.ledger.runs])

    world.run(story)
    (run,) = world.watcher.runs
    assert (run.outcome, run.attempt) == (Outcome.FAILED, 1)
    assert "default/it reported what JSON cannot hold" in run.message


def test_progress_that_json_cannot_hold_is_the_error_of_who_reports_it(world: Any) -> None:
    """The coroutine may catch it and go on."""

    async def body(ctx: Any) -> None:
        ctx.report(TaskReport(extra={"it": Wordless()}))

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Interval(seconds=60)))
        await asyncio.sleep(1)

    world.run(story)
    assert "default/it reported what JSON cannot hold" in world.watcher.runs[0].message


def test_a_report_is_a_copy_in_the_words_of_json() -> None:
    """What the coroutine changes afterwards does not change it; unknown things and numbers are words."""
    result: dict[Any, Any] = {"a": {1}, "b": float("nan"), "c": [1], 4: None}
    report = kept(result, "it")
    result["c"].append(2)
    assert (report, kept({}, "it")) == ({"a": "{1}", "b": "NaN", "c": [1], "4": None}, {})


def test_a_long_report_is_cut_and_says_so() -> None:
    """It travels in ledger and status."""
    report = kept({"text": "x" * 1_000_000}, "it")
    assert report["cut"] == "1,000,012 characters, cut after 16,384"
    assert len(json.dumps(report)) < REPORT_CHARS + 200
