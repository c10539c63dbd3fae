"""`make smoke`: every sample for a minute on three workers; fails when one never ran or a fire time ran twice."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORKERS = 3


def main() -> int:
    """Run it, print the summary and what is wrong with it."""
    command = [sys.executable, "-m", "background_tasks.cli", "up", "-f", "manifests/samples"]
    command += ["--workers", str(WORKERS), "--for", "60s", "-o", "json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    told = json.loads(done.stdout.splitlines()[-1])
    wrong = {
        "never ran": told["never_ran"],
        "refused": told["refused"],
        "doubled": told["doubled"],
        "workers missing": WORKERS - told["workers"],
        "worker restarts": told["worker_restarts"],
    }
    faults = {name: value for name, value in wrong.items() if value}
    print(json.dumps(told))
    print(f"smoke: {faults or 'every sample ran, none twice'}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
