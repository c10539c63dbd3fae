"""How soon a task has run after `helm install` on a node that has the image, by the first two commands of README.md.

Needs a node of our own: root on Debian. Elsewhere it says so and yields nothing.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figure import Figure, at_most
from tests.e2e import readme
from tests.testbed import binaries, e2e
from tests.testbed.shell import SetupError, wait_for
from tests.testbed.state import Cluster

ROOT = Path(__file__).parents[2]
TRIES = 3
BAR_S = 20.0
LOOK_S = 0.1
LAST_RUN = ("get", "backgroundtask", "greet", "-o", "jsonpath={.status.lastRun.outcome}")
TASKS_AWAY = "kubectl delete backgroundtasks,workerpools --all"
REST_AWAY = (
    "helm uninstall background-tasks --namespace background-tasks --wait",
    "kubectl delete crd backgroundtasks.background-tasks.dev workerpools.background-tasks.dev",
)


def figures() -> Iterator[Figure]:
    """Yield `install_to_first_run_s`: from the start of `helm install` to a run in status, the median of three."""
    try:
        e2e.require_packages()
    except SetupError as lacking:
        print(f"install_to_first_run_s is left out: {lacking}", file=sys.stderr)
        return
    with e2e.own_node() as cluster:
        yield at_most("install_to_first_run_s", statistics.median(_tries(cluster)), "s", BAR_S)


def _tries(cluster: Cluster) -> Iterator[float]:
    """Install, wait for the first run, and take all of it away again."""
    install, apply, *_ = readme.commands()
    for _ in range(TRIES):
        began = time.perf_counter()
        for line in (install, apply):
            _typed(cluster, line)
        while cluster.kubectl(*LAST_RUN) != "Succeeded":
            time.sleep(LOOK_S)
        yield time.perf_counter() - began
        _typed(cluster, TASKS_AWAY)
        # The garbage collector takes half a minute to hear of kinds that are new, and never deletes what belonged to
        # one that is gone by then: so the workers first, and the definitions after them.
        wait_for("the end of every worker", lambda: not _pods(cluster, "default"))
        for line in REST_AWAY:
            _typed(cluster, line)
        wait_for("the end of the operator", lambda: not _pods(cluster, "background-tasks"))


def _typed(cluster: Cluster, line: str) -> None:
    """Run a command as it stands in a page."""
    tools = [str(Path(tool).parent) for tool in (binaries.component("kubectl"), binaries.tool("helm"))]
    path = os.pathsep.join([*tools, os.environ["PATH"]])
    env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "PATH": path}
    subprocess.run([*cluster.inside, "bash", "-c", line], cwd=ROOT, env=env, stdout=subprocess.DEVNULL, check=True)


def _pods(cluster: Cluster, namespace: str) -> str:
    return cluster.kubectl("get", "pods", "--namespace", namespace, "-o", "name")
