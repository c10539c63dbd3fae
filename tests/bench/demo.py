"""How soon something runs after `bgtasks demo` (what `make demo` calls) was typed, where everything is installed."""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figure import Figure, at_most

ROOT = Path(__file__).parents[2]
TRIES = 3
BAR_S = 5.0


def figures() -> Iterator[Figure]:
    """Yield `demo_to_first_run_s`: from the command's first line to the start of the first run, median of three."""
    yield at_most("demo_to_first_run_s", statistics.median(_first_run_s() for _ in range(TRIES)), "s", BAR_S)


def _first_run_s() -> float:
    command = [sys.executable, "-m", "background_tasks.cli", "demo", "--for", "1s", "-o", "json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    return float(json.loads(done.stdout.splitlines()[-1])["first_run_s"])
