"""Prometheus metrics of one worker: plain counts on the hot path, turned into samples when somebody asks.

Not here: a child per task in any histogram (a scrape of 10,000 tasks would take a second), and totals over workers:
the last success of a task that moved is `max by (task)`.
"""

import heapq
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from background_tasks.domain.model import Outcome, RunRecord, SkipReason, Task

MAX_TASKS = 2_000
"""Up to so many tasks each has a gauge of its own."""
WORST_TASKS = 100
"""Beyond, only those have one whose last success is the longest ago."""
WRITTEN = ("backgroundtasks", "leases", "configmaps")
"""What a worker writes to the control plane: statuses, its lease, claims of slots."""
DURATION_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
LATENESS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
RENEWAL_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
BLOCK_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Histogram:
    """Counts per bucket; written by one thread, read by any."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value; a bucket holds what is at most its bound. Below 0 (the clock stepped back) counts as 0."""
        self.counts[bisect_left(self.bounds, value)] += 1
        if value > 0:
            self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Return (bound, how many are at most that), the last one for all."""
        seen, rows = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), list(self.counts), strict=True):
            seen += count
            rows.append((bound, float(seen)))
        return rows


class Metrics(Collector):
    """The observer (`ports.Observer`) that counts. `load` gives this worker's share of its pool's load, in workers."""

    def __init__(self, pool: str, *, load: Callable[[], float] | None = None) -> None:
        self._pool = pool
        self._load = load
        self._outcomes = dict.fromkeys(Outcome, 0)
        self._skips = dict.fromkeys(SkipReason, 0)
        self._duration = Histogram(DURATION_S)
        self._lateness = Histogram(LATENESS_S)
        self._renewal = Histogram(RENEWAL_S)
        self._block = Histogram(BLOCK_S)
        self._running: set[str] = set()
        self._success: dict[str, float] = {}
        self._renewals_failed = 0
        self._armed = 0
        self._slots = 0
        self._writes = dict.fromkeys(WRITTEN, 0)
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    # --- what happens: hot ------------------------------------------------------------------------------------------

    def armed(self, count: int) -> None:
        """So many tasks are filed now."""
        self._armed = count

    def started(self, task: Task, run_id: str, scheduled_for: float, lateness: float) -> None:
        """A run began."""
        self._running.add(run_id)
        self._lateness.observe(lateness)

    def ended(self, task: Task, run: RunRecord) -> None:
        """A run ended; one that another worker lost has no start here."""
        self._running.discard(run.run_id)
        self._duration.observe(run.ended_at - run.started_at)
        self._outcomes[run.outcome] += 1
        if run.outcome is Outcome.SUCCEEDED:
            self._success[task.name] = run.ended_at

    def skipped(self, task: Task, scheduled_for: float, reason: SkipReason) -> None:
        """A fire time had no run."""
        self._skips[reason] += 1

    def blocked(self, task: str, seconds: float, stack: str) -> None:
        """The loop was held."""
        self._block.observe(seconds)

    def slots_held(self, count: int) -> None:
        """So many slots are ours."""
        self._slots = count

    def lease_renewed(self, seconds: float, ok: bool) -> None:
        """A renewal took so long, and held or not."""
        self._renewal.observe(seconds)
        self._renewals_failed += not ok

    def api_written(self, resource: str) -> None:
        """A write to the control plane was sent; each resource is written by one thread."""
        self._writes[resource] = self._writes.get(resource, 0) + 1

    def forget(self, task: str) -> None:
        """A task is gone: no gauge of it stays."""
        self._success.pop(task, None)

    # --- what is told: on demand, from any thread --------------------------------------------------------------------

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Return the page and its content type, in the form that an `Accept` header asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def collect(self) -> Iterable[Metric]:
        """Make samples of the counts."""
        yield self._histogram("run_duration_seconds", "How long runs took.", self._duration)
        yield self._histogram("start_lateness_seconds", "Start minus fire time.", self._lateness)
        yield self._histogram("lease_renew_seconds", "How long renewals of the member lease took.", self._renewal)
        yield self._histogram("loop_block_seconds", "How long a task's code held the loop.", self._block)
        yield self._counter("runs", "Runs by outcome.", "outcome", self._outcomes)
        yield self._counter("skips", "Fire times without a run, by reason.", "reason", self._skips)
        yield self._counter("lease_renew_failures", "Renewals that did not hold.", "", {"": self._renewals_failed})
        yield self._counter("api_writes", "Writes to the control plane.", "resource", dict(self._writes))
        yield self._gauge("armed", "Tasks that are filed for their next run.", self._armed)
        yield self._gauge("running", "Runs that are going on.", len(self._running))
        yield self._gauge("slots_held", "Slots that this worker may act for.", self._slots)
        if self._load is not None:
            yield self._gauge("pool_load", "This worker's share of the pool's load, in workers.", self._load())
        yield self._last_success()

    def _last_success(self) -> Metric:
        family = GaugeMetricFamily(
            "bgtasks_task_last_success_timestamp_seconds",
            f"When a task last succeeded here; beyond {MAX_TASKS} tasks only of the {WORST_TASKS} longest ago.",
            labels=("pool", "task"),
        )
        known = list(self._success.items())  # one step of the interpreter: the loop's thread goes on writing
        if len(known) > MAX_TASKS:
            known = heapq.nsmallest(WORST_TASKS, known, key=lambda pair: pair[1])
        for task, at in known:
            family.add_metric((self._pool, task), at)
        return family

    def _histogram(self, name: str, meaning: str, histogram: Histogram) -> Metric:
        family = HistogramMetricFamily(f"bgtasks_{name}", meaning, labels=("pool",))
        family.add_metric((self._pool,), histogram.cumulative(), histogram.total)
        return family

    def _counter[K: str](self, name: str, meaning: str, label: str, counts: dict[K, int]) -> Metric:
        labels = ("pool", label) if label else ("pool",)
        family = CounterMetricFamily(f"bgtasks_{name}", meaning, labels=labels)
        for key, count in counts.items():
            family.add_metric((self._pool, str(key)) if label else (self._pool,), count)
        return family

    def _gauge(self, name: str, meaning: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"bgtasks_{name}", meaning, labels=("pool",))
        family.add_metric((self._pool,), value)
        return family
