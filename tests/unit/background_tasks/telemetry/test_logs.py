"""What a line of the log holds."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from background_tasks.authoring import RunContext, enter_run
from background_tasks.domain.model import Fence, Interval, Policy, Schedule, Task, TaskUid
from background_tasks.errors import InvalidSettings
from background_tasks.knowledge.context import MachineClock
from background_tasks.knowledge.redaction import redact
from background_tasks.services.log_sources import ProcessLog
from background_tasks.telemetry.logs import LogSettings, configure


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """Give a stream to log to, and put logging back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield io.StringIO()
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    """Read JSON lines."""
    return [json.loads(line) for line in out.getvalue().splitlines()]


def in_a_run(fence: Fence | None) -> None:
    """Make a run current in this test's context."""
    task = Task(
        uid=TaskUid("u"),
        name="team/work",
        policy=Policy(coroutine="work", schedule=Schedule(cadence=Interval(seconds=1))),
    )
    enter_run(
        RunContext(task=task, run_id="r1", params=None, scheduled_for=0.0, attempt=1, clock=MachineClock(), fence=fence)
    )


async def test_a_line_of_a_run_says_task_run_and_fence(out: io.StringIO) -> None:
    """Nobody has to bind them; a line outside any run has none of them."""
    configure({}, stream=out)
    structlog.get_logger().info("outside")
    in_a_run(Fence(realm="m", slot=3, epoch=8))
    structlog.get_logger().info("inside", count=2)

    outside, inside = lines(out)
    assert {"task", "run", "fence"} & outside.keys() == set()
    assert {key: inside[key] for key in ("event", "count", "level", "task", "run", "fence")} == {
        "event": "inside", "count": 2, "level": "info", "task": "team/work", "run": "r1", "fence": "m/3/8",
    }  # fmt: skip


async def test_the_standard_library_logs_the_same_way(out: io.StringIO) -> None:
    """Lines of libraries are JSON too, with the run they were written in."""
    configure({}, stream=out)
    in_a_run(None)
    logging.getLogger("some.library").warning("slow: %d ms", 340)

    (line,) = lines(out)
    assert (line["event"], line["level"], line["logger"], line["run"]) == (
        "slow: 340 ms",
        "warning",
        "some.library",
        "r1",
    )


@pytest.mark.parametrize("log", ["structlog", "logging"])
def test_lines_below_the_level_are_not_written(out: io.StringIO, log: str) -> None:
    """The level holds for both."""
    configure({"BGTASKS_LOG_LEVEL": "WARNING"}, stream=out)
    logger = structlog.get_logger() if log == "structlog" else logging.getLogger("x")
    logger.info("quiet")
    logger.error("loud %s", "indeed")

    assert [line["event"] for line in lines(out)] == ["loud indeed"]


def test_secrets_are_masked_in_every_text_of_a_line(out: io.StringIO) -> None:
    """In the message, in fields, below fields, by the field's name alone, and in what an exception says."""
    configure({}, stream=out, redact=redact)
    log = structlog.get_logger()
    log.info("login password=hunter2-FAKE", url="redis://:hunter2-FAKE@cache", params={"api_key": "hunter2-FAKE"})
    log.info("ok", password="hunter2-FAKE", items=["token=fa4e0bad5ec2e7f0fa4e0bad5ec2e7f0"], count=3, done=True)
    try:
        raise ValueError("password=hunter2-FAKE")
    except ValueError:
        log.exception("failed")

    assert "hunter2" not in out.getvalue()
    assert "fa4e" not in out.getvalue()
    assert [(line.get("count"), line.get("done")) for line in lines(out)] == [(None, None), (3, True), (None, None)]


def test_the_process_keeps_its_own_lines_without_secrets(out: io.StringIO) -> None:
    """What the live log reads has been masked before."""
    kept = ProcessLog()
    configure({}, stream=out, redact=redact, keep=kept)
    structlog.get_logger().warning("login", password="hunter2-FAKE")

    (line,) = kept._lines
    assert (line.message, line.level) == ("login password=[redacted]", 4)


def test_a_terminal_gets_lines_for_people(out: io.StringIO) -> None:
    """Console lines are no JSON and name their fields."""
    configure({"BGTASKS_LOG_FORMAT": "console"}, stream=out)
    structlog.get_logger().info("started", workers=2)

    assert "started" in out.getvalue()
    assert "workers=2" in out.getvalue()


def test_wrong_settings_are_told_all_at_once() -> None:
    """Each fault names the variable, the value and the choice."""
    with pytest.raises(InvalidSettings) as refused:
        LogSettings.from_env({"BGTASKS_LOG_LEVEL": "loud", "BGTASKS_LOG_FORMAT": "xml"})

    assert str(refused.value) == (
        "BGTASKS_LOG_LEVEL is 'loud'; give one of debug, info, warning, error, critical; "
        "BGTASKS_LOG_FORMAT is 'xml'; give one of auto, json, console"
    )
