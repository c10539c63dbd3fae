"""`make bench`: prints every figure as one line of JSON; `--only name,name` picks figures.

Each benchmark runs in a process of its own, so that none inherits another's memory or timers. A new one is a module
beside this file with a function `figures()`, and a line in BENCHMARKS.
"""

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BENCHMARKS: dict[str, tuple[str, ...]] = {
    "lateness": ("lateness_p99_ms_10k", "cpu_core_10k"),
    "memory": ("bytes_per_task_100k", "rss_mib_100k"),
    "herd": ("herd_10k_ms", "herd_loop_block_ms"),
    "rearm": ("rearm_ms_100k",),
    "handover": ("handover_graceful_s", "handover_crash_s", "handover_doubled"),
    "cluster": (
        "worker_rss_mib",
        "worker_idle_cpu",
        "api_writes_per_task_30s",
        "apply_to_armed_p99_s",
        "delete_to_disarmed_p99_s",
    ),
    "fire_slots": ("doubled_effects", "lost_slots"),
    "demo": ("demo_to_first_run_s",),
    "install": ("install_to_first_run_s",),
    "prompts": (
        "prompts_fired_exactly_once",
        "prompts_race_s",
        "prompts_claims_per_s",
        "prompts_cleanup_s",
        "prompts_cleanup_call_ms",
        "prompts_lost_or_doubled_10k_kills",
    ),
    "operators": (
        "operator_first_start_s",
        "operator_converge_s",
        "operator_idle_writes",
        "operator_rss_mib",
    ),
    "decay": ("decay_1m_s", "decay_1m_longest_query_s", "decay_1m_touched_by_rerun"),
}
"""Module -> the figures that it yields."""
TIMEOUT_S = 600


def main() -> int:
    """Run what was asked for; 1 when a figure misses its bar or a benchmark breaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="figures, separated by commas")
    parser.add_argument("--module", choices=BENCHMARKS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.module:
        return _here(options.module)
    wanted = {name for name in options.only.split(",") if name}
    known = {figure for figures in BENCHMARKS.values() for figure in figures}
    if wanted - known:
        parser.error(f"no such figure: {', '.join(sorted(wanted - known))}; there are: {', '.join(sorted(known))}")
    picked = [module for module, figures in BENCHMARKS.items() if not wanted or wanted & set(figures)]
    return max([_apart(module, wanted) for module in picked], default=0)


def _here(module: str) -> int:
    """Measure in this process."""
    for figure in importlib.import_module(f"tests.bench.{module}").figures():
        print(figure.as_line(), flush=True)
    return 0


def _apart(module: str, wanted: set[str]) -> int:
    """Measure in a fresh process and hand its lines on."""
    command = [sys.executable, "-m", "tests.bench.run", "--module", module]
    try:
        answer = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT_S, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as broken:
        print(f"benchmark {module} broke: {broken}", file=sys.stderr)
        return 1
    figures = [json.loads(line) for line in answer.stdout.splitlines() if line.startswith("{")]
    shown = [figure for figure in figures if not wanted or figure["figure"] in wanted]
    for figure in shown:
        print(json.dumps(figure), flush=True)
    return 0 if all(figure["ok"] for figure in shown) else 1


if __name__ == "__main__":
    sys.exit(main())
