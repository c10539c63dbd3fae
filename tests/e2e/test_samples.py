"""Every sample of `manifests/samples`, applied as a newcomer does, over a pool that has a Redis and a FalkorDB."""

import pytest

from tests.e2e.conftest import Shell
from tests.e2e.kubectl import Shown, until
from tests.e2e.node import Stores
from tests.e2e.place import Place
from tests.testbed.session import PROJECT

pytestmark = pytest.mark.e2e
SAMPLES = PROJECT / "manifests" / "samples"
NAMES = [
    line.removeprefix("  name: ")
    for path in sorted(SAMPLES.glob("*.yaml"))
    for document in path.read_text().split("\n---\n")
    if "kind: BackgroundTask" in document
    for line in document.splitlines()
    if line.startswith("  name: ")
]
ENDS = {"always-fails": "Failed", "too-slow": "TimedOut"}
"""How a last run ends that does not succeed."""
STOPPED = {"always-fails": "BreakerOpen", "suspended-but-asked": "Suspended"}
"""Why a task is not ready that is made to show it."""


@pytest.fixture(scope="module")
def samples(shared_place: Place, stores: Stores, shell: Shell) -> Place:
    """Give the namespace into which all samples were applied."""
    here = shared_place.kube
    here("apply", "-f", str(SAMPLES / "pool.yaml"))
    services = f'{{"redis": {{"url": "{stores.url}"}}, "knowledgeGraph": {{"url": "{stores.url}"}}}}'
    here("patch", "workerpool", "default", "--type=merge", "-p", f'{{"spec": {{"services": {services}}}}}')
    shared_place.wait_for_pool(workers=1)
    shell(f"kubectl --namespace {here.namespace} apply -f manifests/samples")
    return shared_place


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_runs_and_says_so(name: str, samples: Place) -> None:
    """Its first run ends as it is meant to, and its conditions tell whether there will be more."""

    def told(shown: Shown) -> bool:
        ended = shown.status.get("lastRun", {}).get("outcome") == ENDS.get(name, "Succeeded")
        return ended and shown.condition("Ready")[1] == STOPPED.get(name, shown.condition("Ready")[1])

    shown = until(f"the sample {name}", lambda: samples.kube.task(name), told)
    assert shown.condition("Accepted")[0] == "True"
    assert shown.condition("Ready")[0] == ("False" if name in STOPPED else "True"), shown.condition("Ready")


def test_the_samples_of_a_group_share_one_slot(samples: Place) -> None:
    """Their cap is exact, because one worker counts."""
    slots = {samples.kube.task(f"report-{letter}").status["slot"] for letter in "abc"}
    assert len(slots) == 1


def test_the_table_of_pools_tells_what_there_is(samples: Place) -> None:
    """`kubectl get bgp` counts workers, slots and tasks."""
    header, row = (line.split() for line in samples.kube("get", "bgp").splitlines())
    shown = dict(zip(header, row, strict=True))
    assert (shown["NAME"], shown["READY"], shown["SLOTS"], shown["TASKS"]) == ("default", "1", "16", str(len(NAMES)))
