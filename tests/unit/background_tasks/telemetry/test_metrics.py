"""What Prometheus reads, and what counting costs."""

import time
from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from background_tasks.domain.model import Interval, Outcome, Policy, RunRecord, Schedule, SkipReason, Task, TaskUid
from background_tasks.telemetry.metrics import MAX_TASKS, WORST_TASKS, Metrics

POLICY = Policy(coroutine="work", schedule=Schedule(cadence=Interval(seconds=1)))
TASK = Task(uid=TaskUid("u"), name="team/work", policy=POLICY)
RUN = RunRecord(
    run_id="r", uid=TASK.uid, task=TASK.name, scheduled_for=100.0, started_at=100.2, ended_at=100.6,
    outcome=Outcome.SUCCEEDED,
)  # fmt: skip


def read(metrics: Metrics) -> dict[str, float]:
    """Read the page as Prometheus does: sample and labels without the pool -> value."""
    page = metrics.exposition()[0].decode()
    return {
        f"{sample.name}{ {k: v for k, v in sample.labels.items() if k != 'pool'} or '' }": sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_a_run_is_counted_by_outcome_duration_and_lateness() -> None:
    """Histograms per pool, a counter per outcome, a gauge for the task's last success."""
    metrics = Metrics("night")
    metrics.started(TASK, "r", 100.0, 0.2)
    running = read(metrics)["bgtasks_running"]
    metrics.ended(TASK, RUN)
    seen = read(metrics)

    assert (running, seen["bgtasks_running"]) == (1, 0)
    assert seen["bgtasks_runs_total{'outcome': 'Succeeded'}"] == 1
    assert seen["bgtasks_runs_total{'outcome': 'Failed'}"] == 0
    assert seen["bgtasks_run_duration_seconds_bucket{'le': '0.5'}"] == 1
    assert seen["bgtasks_run_duration_seconds_bucket{'le': '0.25'}"] == 0
    assert round(seen["bgtasks_start_lateness_seconds_sum"], 6) == 0.2
    assert seen["bgtasks_task_last_success_timestamp_seconds{'task': 'team/work'}"] == 100.6


def test_every_name_of_the_design_is_there() -> None:
    """Boards and alerts rely on the names."""
    metrics = Metrics("night", load=lambda: 0.7)
    metrics.ended(TASK, RUN)
    names = {sample.partition("{")[0] for sample in read(metrics)}

    assert names >= {
        "bgtasks_run_duration_seconds_bucket", "bgtasks_start_lateness_seconds_bucket", "bgtasks_runs_total",
        "bgtasks_task_last_success_timestamp_seconds", "bgtasks_armed", "bgtasks_running", "bgtasks_slots_held",
        "bgtasks_lease_renew_seconds_bucket", "bgtasks_loop_block_seconds_bucket", "bgtasks_api_writes_total",
        "bgtasks_pool_load",
    }  # fmt: skip


def test_every_sample_names_its_pool() -> None:
    """Sums over workers are made per pool."""
    page = Metrics("night").exposition()[0].decode()
    ours = [line for line in page.splitlines() if line.startswith("bgtasks_")]

    assert ours
    assert all('pool="night"' in line for line in ours)


def test_what_is_told_besides_runs_is_shown() -> None:
    """Armed tasks, slots, skips, blocks, renewals, writes."""
    metrics = Metrics("night")
    metrics.armed(12)
    metrics.slots_held(3)
    metrics.skipped(TASK, 1.0, SkipReason.OVERLAP)
    metrics.blocked("team/work", 0.3, "stack")
    metrics.lease_renewed(0.02, True)
    metrics.lease_renewed(2.0, False)
    for resource in ("leases", "leases", "backgroundtasks"):
        metrics.api_written(resource)
    seen = read(metrics)

    writes = [seen[f"bgtasks_api_writes_total{{'resource': '{name}'}}"] for name in ("leases", "backgroundtasks")]
    assert (seen["bgtasks_armed"], seen["bgtasks_slots_held"], writes) == (12, 3, [2, 1])
    assert seen["bgtasks_skips_total{'reason': 'Overlap'}"] == 1
    assert seen["bgtasks_loop_block_seconds_count"] == 1
    assert (seen["bgtasks_lease_renew_seconds_count"], seen["bgtasks_lease_renew_failures_total"]) == (2, 1)


def test_beyond_the_cap_only_the_worst_tasks_have_a_gauge() -> None:
    """With 2,001 tasks the 100 whose last success is the longest ago are shown."""
    metrics = Metrics("night")
    for number in range(MAX_TASKS + 1):
        task = replace(TASK, name=f"team/{number}")
        metrics.ended(task, replace(RUN, ended_at=1_000_000.0 - number))
        if number == MAX_TASKS - 1:
            assert len(gauges(metrics)) == MAX_TASKS

    assert gauges(metrics) == {f"team/{MAX_TASKS - number}" for number in range(WORST_TASKS)}


def gauges(metrics: Metrics) -> set[str]:
    """Name the tasks that have a gauge."""
    return {name.split("'")[3] for name in read(metrics) if name.startswith("bgtasks_task_last_success")}


def test_a_task_that_is_gone_leaves_no_gauge() -> None:
    """An alert on a removed task would never end."""
    metrics = Metrics("night")
    metrics.ended(TASK, RUN)
    metrics.forget(TASK.name)

    assert gauges(metrics) == set()


def test_a_lost_run_and_a_clock_step_keep_the_counts_sane() -> None:
    """A run that ended without a start is counted, and a negative duration lowers no sum."""
    metrics = Metrics("night")
    metrics.ended(TASK, replace(RUN, outcome=Outcome.LOST, ended_at=50.0))
    seen = read(metrics)

    assert (seen["bgtasks_running"], seen["bgtasks_run_duration_seconds_sum"]) == (0, 0)
    assert seen["bgtasks_runs_total{'outcome': 'Lost'}"] == 1


def test_counting_a_run_costs_less_than_five_microseconds() -> None:
    """At 10,000 runs per second the metrics may take a twentieth of a core."""
    metrics = Metrics("night")
    best = min(_cost(metrics, 1_000) for _ in range(20))

    assert best < 5e-6, f"{best * 1e6:.2f} µs per run"


def _cost(metrics: Metrics, runs: int) -> float:
    begin = time.perf_counter()
    for _ in range(runs):
        metrics.started(TASK, "r", 100.0, 0.2)
        metrics.ended(TASK, RUN)
    return (time.perf_counter() - begin) / runs
