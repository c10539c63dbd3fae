"""A span per run, for those who configured an OpenTelemetry SDK; without one, no observer and no cost.

Not here: exporters and samplers; they belong to the SDK. Spans that a task makes itself are children of its run's.
"""

from opentelemetry import context, trace
from opentelemetry.trace import ProxyTracerProvider, Span, SpanKind, Status, StatusCode, TracerProvider

from background_tasks.domain.model import Outcome, RunRecord, SkipReason, Task

SCOPE = "background_tasks"
_FAULTS = frozenset({Outcome.FAILED, Outcome.TIMED_OUT, Outcome.LOST})


def span_observer(provider: TracerProvider | None = None) -> "SpanObserver | None":
    """Return the observer that makes spans, or None where no SDK is configured (the API's stand-in is no SDK)."""
    found = trace.get_tracer_provider() if provider is None else provider
    return None if isinstance(found, ProxyTracerProvider | trace.NoOpTracerProvider) else SpanObserver(found)


class SpanObserver:
    """Makes a span per run (`ports.Observer`). The engine calls `started` in the run's own context."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer(SCOPE)
        self._open: dict[str, Span] = {}

    def armed(self, count: int) -> None:
        """No span."""

    def started(self, task: Task, run_id: str, scheduled_for: float, lateness: float) -> None:
        """Open the run's span and make it current; the context ends with the run, so nothing is to be undone."""
        span = self._begin(task, run_id, scheduled_for, scheduled_for + lateness)
        self._open[run_id] = span
        context.attach(trace.set_span_in_context(span))

    def ended(self, task: Task, run: RunRecord) -> None:
        """Close the run's span; a run that was lost elsewhere gets one afterwards."""
        span = self._open.pop(run.run_id, None)
        if span is None:
            span = self._begin(task, run.run_id, run.scheduled_for, run.started_at)
        span.set_attribute("bgtasks.outcome", str(run.outcome))
        span.set_attribute("bgtasks.attempts", run.attempt)
        if run.fence is not None:
            span.set_attribute("bgtasks.fence", str(run.fence))
        if run.outcome in _FAULTS:
            span.set_status(Status(StatusCode.ERROR, run.message))
        span.end(_nanoseconds(run.ended_at))

    def skipped(self, task: Task, scheduled_for: float, reason: SkipReason) -> None:
        """No span: nothing ran."""

    def blocked(self, task: str, seconds: float, stack: str) -> None:
        """No span."""

    def slots_held(self, count: int) -> None:
        """No span."""

    def lease_renewed(self, seconds: float, ok: bool) -> None:
        """No span."""

    def _begin(self, task: Task, run_id: str, scheduled_for: float, started_at: float) -> Span:
        return self._tracer.start_span(
            task.policy.coroutine,
            context=context.Context(),  # a run is caused by its schedule, not by what happened to be current
            kind=SpanKind.INTERNAL,
            attributes={"bgtasks.task": task.name, "bgtasks.run": run_id, "bgtasks.scheduled_for": scheduled_for},
            start_time=_nanoseconds(started_at),
        )


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
