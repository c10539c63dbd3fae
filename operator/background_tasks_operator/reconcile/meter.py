"""What reconciling counts: plain numbers, written on the loop, turned into Prometheus samples when somebody asks.

Not here: metrics of tasks and workers (the runtime's `telemetry`).
"""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PREFIX = "bgtasks_operator"


class Meter(Collector):
    """Counts of one operator process."""

    def __init__(self) -> None:
        self.leads = False
        self.queue_depth: Callable[[], int] = int
        self.failing: Callable[[], int] = int
        self.pools: Callable[[], int] = int
        self.tasks: Callable[[], int] = int
        self._reconciles: dict[tuple[str, str], int] = {}
        self._seconds = 0.0
        self._requests: dict[tuple[str, str, str], int] = {}
        self._events: dict[str, int] = {}
        self._renewals_failed = 0
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    # --- what happens ---

    def handled(self, key: object, seconds: float, error: Exception | None) -> None:
        """A key was reconciled."""
        kind = type(key).__name__.removesuffix("Key").lower()
        told = (kind, "ok" if error is None else "failed")
        self._reconciles[told] = self._reconciles.get(told, 0) + 1
        self._seconds += seconds

    def requested(self, verb: str, kind: str, outcome: str) -> None:
        """A request went to the API server."""
        told = (verb, kind, outcome)
        self._requests[told] = self._requests.get(told, 0) + 1

    def watched(self, kind: str) -> None:
        """A watch told something."""
        self._events[kind] = self._events.get(kind, 0) + 1

    def slots_held(self, count: int) -> None:
        """Leadership is ours, or not (`engine.slot_events.LeaseObserver`)."""
        self.leads = count > 0

    def lease_renewed(self, seconds: float, ok: bool) -> None:
        """A renewal of our own lease took so long, and held or not."""
        self._renewals_failed += not ok

    # --- what is told, from any thread ---

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Return the page and its content type, in the form that an `Accept` header asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def collect(self) -> Iterable[Metric]:
        """Make samples of the counts."""
        yield _gauge("leader", "1 while this replica reconciles.", float(self.leads))
        yield _gauge("queue_depth", "Keys that wait or are being reconciled.", self.queue_depth())
        yield _gauge("failing", "Keys whose last reconcile failed.", self.failing())
        yield _gauge("pools", "Pools that are looked after.", self.pools())
        yield _gauge("tasks", "Tasks that are known.", self.tasks())
        yield _counter("reconciles", "Passes for one key.", ("of", "outcome"), self._reconciles)
        yield _counter("reconcile_seconds", "Seconds spent in passes.", (), {(): self._seconds})
        yield _counter("requests", "Requests to the API server.", ("verb", "kind", "outcome"), self._requests)
        events = {(kind,): count for kind, count in self._events.items()}
        yield _counter("watch_events", "News from watches.", ("kind",), events)
        renewals = {(): self._renewals_failed}
        yield _counter("lease_renew_failures", "Renewals of our own lease that did not hold.", (), renewals)


def _gauge(name: str, meaning: str, value: float) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", meaning, labels=())
    family.add_metric((), value)
    return family


def _counter[L: tuple[str, ...]](name: str, meaning: str, labels: L, counts: dict[L, int] | dict[L, float]) -> Metric:
    family = CounterMetricFamily(f"{PREFIX}_{name}", meaning, labels=labels)
    for values, count in list(counts.items()):  # one step of the interpreter: the loop's thread goes on writing
        family.add_metric(values, count)
    return family
