"""Statuses and ledgers in the tasks' own resources, on a real API server: who writes what, and whose words stand."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from background_tasks.domain.model import Fence, Past, Task
from background_tasks.engine.clock import SystemClock
from background_tasks.errors import Superseded
from background_tasks.services.kubernetes.client import Cluster
from background_tasks.sinks.kubernetes import StatusStore
from background_tasks.sinks.turns import Turns
from tests.testbed.session import ControlPlane

pytestmark = pytest.mark.contract
OFTEN_S = 1.0
NOW = "2026-01-31T12:00:00Z"

type Kubectl = Callable[..., str]
type Story = Callable[[], Awaitable[None]]


@pytest.fixture
def kubectl(control_plane: ControlPlane, namespace: str) -> Kubectl:
    """Do as a person does."""
    return lambda *args, stdin=None: control_plane.kubectl("-n", namespace, *args, stdin=stdin)


@pytest.fixture
def another(cluster: Cluster, namespace: str) -> Callable[..., StatusStore]:
    """Make a store, as another worker would."""

    def make(**options: Any) -> StatusStore:
        given: dict[str, Any] = {"worker": "w2", "turns": Turns(burst=10_000), **options}
        return StatusStore(cluster, namespace=namespace, pool="default", clock=SystemClock(), **given)

    return make


def fence(epoch: int, realm: str = "r1") -> Fence:
    """A right to act."""
    return Fence(realm=realm, slot=3, epoch=epoch)


def status(held: Fence | None, ready: str = "True", **more: Any) -> dict[str, Any]:
    """What the engine shows."""
    condition = {"type": "Ready", "status": ready, "reason": "Armed", "message": "", "lastTransitionTime": NOW}
    slot = {} if held is None else {"slot": held.slot, "fence": str(held)}
    return {"conditions": [condition], "worker": "w", "consecutiveFailures": 0, **slot, **more}


def read(kubectl: Kubectl, name: str) -> dict[str, Any]:
    """Return the status that is there."""
    found: dict[str, Any] = json.loads(kubectl("get", "bgt", name, "-o", "json")).get("status", {})
    return found


async def written(store: StatusStore, story: Story) -> None:
    """Tell a story to a store that works, and return when all of it is written."""
    async with asyncio.TaskGroup() as group:
        work = group.create_task(store.work())
        async with store.hurried():
            await story()
        work.cancel()


async def test_the_operators_verdict_and_the_workers_stand_side_by_side(
    status_store: StatusStore, declare: Callable[..., Task], kubectl: Kubectl
) -> None:
    """Each writes its own conditions, whoever comes first, and none takes the other's away."""
    task = declare("a")
    await status_store.load([task.uid])
    verdict = {"type": "Accepted", "status": "True", "reason": "Fine", "message": "", "lastTransitionTime": NOW}
    patch = json.dumps({"status": {"conditions": [verdict]}})
    kubectl("patch", "bgt", "a", "--subresource=status", "--type=merge", "-p", patch)
    async with status_store.hurried():
        await status_store.publish(task.uid, status(fence(1)))
        await status_store.record(task, Past(fired_at=0.1), None, fence=fence(1))
    found = read(kubectl, "a")
    assert {one["type"]: one["status"] for one in found["conditions"]} == {"Accepted": "True", "Ready": "True"}
    assert found["ledger"] == {"past": {"fired_at": 0.1}, "realms": ["r1"]}
    managers = json.loads(kubectl("get", "bgt", "a", "-o", "json", "--show-managed-fields"))["metadata"][
        "managedFields"
    ]
    ours = [one for one in managers if one["manager"] == "background-tasks-worker"]
    assert [(one["operation"], one["subresource"]) for one in ours] == [("Apply", "status")]


async def test_the_next_holder_finds_what_the_last_one_knew(
    status_store: StatusStore, another: Callable[..., StatusStore], declare: Callable[..., Task], kubectl: Kubectl
) -> None:
    """Once a slot is given up, all of it is written: pasts, runs that were shown, counts; times of conditions stay."""
    task = declare("a", OFTEN_S)
    await status_store.load([task.uid])
    run = {"startedAt": NOW, "outcome": "Succeeded"}
    shown = status(fence(1), lastRun=run, history=[run], runs={"succeeded": 7, "failed": 1, "skipped": 0})
    await status_store.publish(task.uid, shown)
    await status_store.record(task, Past(fired_at=99.0), None, fence=fence(1))
    async with status_store.hurried([task.uid]):
        pass

    heir = another()
    assert await heir.load([task.uid]) == {task.uid: Past(fired_at=99.0)}
    fresh = status(fence(2), runs={"succeeded": 1, "failed": 0, "skipped": 0})
    fresh["conditions"][0]["lastTransitionTime"] = "2026-02-01T00:00:00Z"
    await written(heir, lambda: heir.publish(task.uid, fresh))
    found = read(kubectl, "a")
    assert (found["worker"], found["fence"], found["lastRun"]) == ("w2", "r1/3/2", run)
    assert found["runs"] == {"succeeded": 8, "failed": 1, "skipped": 0}
    assert (found["conditions"][0]["lastTransitionTime"], found["history"]) == (NOW, [run])


async def test_a_former_holder_writes_nothing_over_its_heirs_words(
    status_store: StatusStore, another: Callable[..., StatusStore], declare: Callable[..., Task], kubectl: Kubectl
) -> None:
    """Neither a past, nor a claim, nor a status, however late it wakes up."""
    task = declare("a", OFTEN_S)
    await status_store.load([task.uid])
    heir = another()
    await heir.load([task.uid])
    await written(heir, lambda: heir.record(task, Past(fired_at=2.0), None, fence=fence(2)))

    with pytest.raises(Superseded, match="its epoch is 2 by now"):
        await status_store.claim(task, 3.0, fence(1))
    await status_store.publish(task.uid, status(fence(1), worker="stale"))
    async with status_store.hurried():
        pass
    with pytest.raises(Superseded):
        await status_store.record(task, Past(fired_at=1.0), None, fence=fence(1))
    found = read(kubectl, "a")
    assert (found["fence"], found["worker"], found["ledger"]["past"]) == ("r1/3/2", "w2", {"fired_at": 2.0})


async def test_a_task_that_was_made_anew_under_its_name_never_ran(
    status_store: StatusStore, declare: Callable[..., Task], kubectl: Kubectl
) -> None:
    """What is left to say of its namesake is dropped; the API server itself would let it through."""
    old = declare("a", OFTEN_S)
    await status_store.load([old.uid])
    await status_store.record(old, Past(failures=5), None, fence=fence(1))
    kubectl("delete", "bgt", "a")
    new = declare("a", OFTEN_S)
    async with status_store.hurried():
        await status_store.publish(old.uid, status(fence(1)))
    assert (read(kubectl, "a"), await status_store.load([new.uid])) == ({}, {})
    assert not await status_store.claim(old, 1.0, fence(1))


@pytest.mark.parametrize(
    "ledger",
    [
        {"past": {"failures": "many"}, "claimed": [1.0]},
        {"past": "soon", "claimed": [1.0]},
        {"past": {"fired_at": 1e300}, "claimed": [1.0], "realms": [7, "r1"]},
        {"past": [], "claimed": [1.0]},
    ],
    ids=["word", "text", "vast", "list"],
)
async def test_an_edited_ledger_is_told_in_one_sentence_and_counts_as_no_past(
    another: Callable[..., StatusStore], declare: Callable[..., Task], kubectl: Kubectl, ledger: object
) -> None:
    """What can be read of it still counts, and the next write mends the rest."""
    said: list[str] = []
    store, task = another(report=said.append), declare("a")
    kubectl(
        "patch", "bgt", "a", "--subresource=status", "--type=merge", "-p", json.dumps({"status": {"ledger": ledger}})
    )
    assert await store.load([task.uid]) == await store.load([task.uid]) == {}
    assert [task.name in sentence and "status.ledger.past" in sentence for sentence in said] == [True]
    assert not await store.claim(task, 1.0, fence(1))
    await written(store, lambda: store.record(task, Past(failures=1), None, fence=fence(1)))
    assert await store.load([task.uid]) == {task.uid: Past(failures=1)}


async def test_words_without_end_are_cut(
    status_store: StatusStore, declare: Callable[..., Task], kubectl: Kubectl
) -> None:
    """A status that nobody accepts would be a status that nobody sees."""
    task = declare("a")
    await status_store.load([task.uid])
    run = {"startedAt": NOW, "outcome": "Failed", "message": "x" * 100_000}
    shown = status(fence(1), lastRun=run, history=[run] * 20)
    shown["conditions"][0]["message"] = "y" * 100_000
    async with status_store.hurried():
        await status_store.publish(task.uid, shown)
    found = read(kubectl, "a")
    texts = [
        found["lastRun"]["message"],
        found["conditions"][0]["message"],
        *(one["message"] for one in found["history"]),
    ]
    assert {(len(text), text[-1]) for text in texts} == {(1024, "…")}


async def test_a_status_that_is_refused_takes_no_neighbour_down(
    another: Callable[..., StatusStore], declare: Callable[..., Task], kubectl: Kubectl
) -> None:
    """It is told and tried again later; the others are shown."""
    store, tasks = another(), [declare("bad"), declare("good")]
    await store.load([task.uid for task in tasks])
    async with asyncio.TaskGroup() as group:
        work = group.create_task(store.work())
        await store.publish(tasks[0].uid, status(fence(1), consecutiveFailures=-1))
        await store.publish(tasks[1].uid, status(fence(1)))
        async with asyncio.timeout(10):
            async with store.hurried([tasks[1].uid]):
                pass
        work.cancel()
    assert (read(kubectl, "bad"), read(kubectl, "good")["worker"]) == ({}, "w2")


async def test_a_sink_beside_another_ledger_remembers_nothing_of_its_own(
    another: Callable[..., StatusStore], declare: Callable[..., Task], kubectl: Kubectl
) -> None:
    """A pool with a Redis has its ledger there; here is only who wrote."""
    task = declare("a")
    store = another(ledger=False, address=lambda uid: (task.name.partition("/")[0], "a"))
    await written(store, lambda: store.publish(task.uid, status(fence(1))))
    assert read(kubectl, "a").keys() == {
        "conditions",
        "worker",
        "slot",
        "fence",
        "consecutiveFailures",
        "history",
        "runs",
        "ledger",
    }
    assert read(kubectl, "a")["ledger"].keys() == {"realms"}


async def test_what_runs_on_every_worker_is_shown_by_whoever_wrote_last(
    status_store: StatusStore, another: Callable[..., StatusStore], declare: Callable[..., Task], kubectl: Kubectl
) -> None:
    """It has no slot and no fence, and no past is written."""
    task, other = declare("a"), another()
    for store in (status_store, other):
        await store.record(task, None, None)
    async with status_store.hurried():
        await status_store.publish(task.uid, status(None, worker="one"))
    await written(other, lambda: other.publish(task.uid, status(None, worker="two")))
    async with status_store.hurried():
        await status_store.publish(task.uid, status(None, worker="one again"))
    found = read(kubectl, "a")
    assert (found["worker"], "slot" in found, "fence" in found, "ledger" in found) == ("one again", False, False, False)
