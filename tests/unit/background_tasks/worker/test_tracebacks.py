"""Tracebacks: a failing task in a program without a logging set-up does not hold the loop for seconds."""

import io
from collections.abc import Iterator

import pytest
import structlog

from background_tasks.worker.tracebacks import keep_tracebacks_cheap


@pytest.fixture(autouse=True)
def _unconfigured() -> Iterator[None]:
    """Begin and end as a program that never configured structlog."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def _logged_failure() -> str:
    out = io.StringIO()
    secret = "a local variable"  # noqa: F841  # what rich would draw
    try:
        raise ValueError("no luck")
    except ValueError as error:
        structlog.wrap_logger(structlog.PrintLogger(out)).error("run failed", exc_info=error)
    return out.getvalue()


def test_a_traceback_is_told_without_local_variables() -> None:
    """The error and its line are there; the values of the frame, and the cost of drawing them, are not."""
    keep_tracebacks_cheap()
    said = _logged_failure()
    assert "run failed" in said
    assert "ValueError: no luck" in said
    assert "a local variable" not in said


def test_a_program_that_configured_structlog_keeps_its_own() -> None:
    """Nothing of it is touched."""
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    keep_tracebacks_cheap()
    (only,) = structlog.get_config()["processors"]
    assert isinstance(only, structlog.processors.JSONRenderer)
