"""A span per run, over the API's own interface: a provider that remembers, made here."""

import contextvars
from collections.abc import Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from background_tasks.domain.model import Fence, Interval, Outcome, Policy, RunRecord, Schedule, Task, TaskUid
from background_tasks.telemetry.traces import SpanObserver, span_observer

TASK = Task(
    uid=TaskUid("u"),
    name="team/work",
    policy=Policy(coroutine="work", schedule=Schedule(cadence=Interval(seconds=1))),
)
RUN = RunRecord(
    run_id="r", uid=TASK.uid, task=TASK.name, scheduled_for=1.0, started_at=1.5, ended_at=2.0,
    outcome=Outcome.FAILED, message="no", fence=Fence(realm="m", slot=1, epoch=2),
)  # fmt: skip


class Remembered(NonRecordingSpan):
    """A span that keeps what it was told."""

    def __init__(self, number: int, name: str, options: dict[str, Any]) -> None:
        super().__init__(SpanContext(1, number, is_remote=False, trace_flags=TraceFlags(1)))
        self.name, self.begin = name, options["start_time"]
        self.attributes: dict[str, Any] = dict(options["attributes"])
        self.status: Any = None
        self.finish: int | None = None

    def set_attribute(self, key: str, value: Any) -> None:
        """Keep an attribute."""
        self.attributes[key] = value

    def set_status(self, status: Any, description: str | None = None) -> None:
        """Keep the status."""
        self.status = status

    def end(self, end_time: int | None = None) -> None:
        """Keep the end."""
        self.finish = end_time


class Provider(trace.TracerProvider):
    """Gives a tracer that remembers its spans."""

    def __init__(self) -> None:
        self.spans: list[Remembered] = []

    def get_tracer(self, *_: Any, **__: Any) -> trace.Tracer:
        """Give the tracer."""
        provider = self

        class Tracer(trace.NoOpTracer):
            def start_span(self, name: str, *_: Any, **options: Any) -> Any:
                provider.spans.append(Remembered(len(provider.spans) + 1, name, options))
                return provider.spans[-1]

        return Tracer()


def observer() -> tuple[Sequence[Remembered], SpanObserver]:
    """Give the spans and the observer that makes them."""
    provider = Provider()
    found = span_observer(provider)
    assert found is not None
    return provider.spans, found


def test_without_an_sdk_there_is_no_observer() -> None:
    """Whoever configured nothing pays nothing."""
    assert span_observer() is None
    assert span_observer(trace.NoOpTracerProvider()) is None


def test_a_run_is_a_span_with_its_times_and_its_end() -> None:
    """Named after the coroutine; task, run, fence and outcome are attributes; a failure is an error."""
    spans, told = observer()
    told.started(TASK, "r", 1.0, 0.5)
    told.ended(TASK, RUN)

    (span,) = spans
    assert (span.name, span.begin, span.finish) == ("work", 1_500_000_000, 2_000_000_000)
    assert span.attributes == {
        "bgtasks.task": "team/work", "bgtasks.run": "r", "bgtasks.scheduled_for": 1.0,
        "bgtasks.outcome": "Failed", "bgtasks.attempts": 1, "bgtasks.fence": "m/1/2",
    }  # fmt: skip
    assert (span.status.status_code, span.status.description) == (trace.StatusCode.ERROR, "no")


def test_spans_inside_a_run_are_its_children() -> None:
    """The run's span is current in the run's context, and only there."""
    spans, told = observer()

    def run() -> object:
        told.started(TASK, "r", 1.0, 0.5)
        return trace.get_current_span()

    assert contextvars.copy_context().run(run) is spans[0]
    assert trace.get_current_span() is not spans[0]


def test_a_run_that_was_lost_elsewhere_gets_its_span_afterwards() -> None:
    """A run without a start here is told whole."""
    spans, told = observer()
    told.ended(TASK, RUN)

    assert [(span.begin, span.finish) for span in spans] == [(1_500_000_000, 2_000_000_000)]
