"""`TaskSupervisor` over a Kubernetes API: one of several processes leads, and says so to whoever may ask."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from background_tasks import TaskSupervisor, kubernetes_lease
from background_tasks.engine.membership import LeaseSettings
from background_tasks.errors import NotLeader
from tests.contract.kubernetes_world import eventually
from tests.testbed.session import ControlPlane

pytestmark = pytest.mark.contract
SHORT = LeaseSettings(duration=1.5, renew_deadline=1.0, retry_period=0.3)


class Node:
    """One supervisor with one task."""

    def __init__(self, supervisor: TaskSupervisor) -> None:
        self.supervisor = supervisor
        self.runs = 0
        supervisor.register_task("work", self.work)

    async def work(self) -> None:
        """Run until it is cancelled."""
        self.runs += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.runs -= 1

    async def leads(self) -> bool:
        """Say whether its task runs."""
        return self.runs == 1

    async def idles(self) -> bool:
        """Say whether its task does not run."""
        return self.runs == 0


@pytest.fixture
async def node(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Callable[[str], Node]]:
    """Make supervisors that elect a leader among themselves; they are shut down when the test ends."""
    nodes: list[Node] = []

    def make(name: str) -> Node:
        lease = kubernetes_lease("my-app", namespace=namespace, kubeconfig=control_plane.kubeconfig)
        nodes.append(Node(TaskSupervisor(None, name, lease=lease, settings=SHORT, die=pytest.fail)))
        return nodes[-1]

    yield make
    for made in nodes:
        await made.supervisor.shutdown()


async def test_one_of_two_leads_and_hands_over_within_a_second(node: Callable[[str], Node]) -> None:
    """The other may do nothing destructive, until it leads."""
    first, second = node("First_Node"), node("second")
    await first.supervisor.start()
    await eventually(first.leads, "the first one does not lead")
    await second.supervisor.start()
    await first.supervisor.verify_leadership_before_destructive()
    with pytest.raises(RuntimeError, match="this process is not the leader"):
        await second.supervisor.verify_leadership_before_destructive()
    assert (first.supervisor.is_leader, second.supervisor.is_leader) == (True, False)
    began = time.perf_counter()
    await first.supervisor.shutdown()
    assert first.runs == 0
    await eventually(second.leads, "the second one does not lead")
    assert time.perf_counter() - began < 1


async def test_a_taken_leadership_is_not_verified(
    node: Callable[[str], Node], control_plane: ControlPlane, namespace: str
) -> None:
    """The check asks the server, whatever the watch has told; then the task is cancelled."""
    first = node("first")
    await first.supervisor.start()
    await eventually(first.leads, "it does not lead")
    patch = r'{"data": {"slots": "[\"9:other.1\"]"}}'
    control_plane.kubectl("patch", "configmap", "my-app-slots", "-n", namespace, "-p", patch)
    with pytest.raises(NotLeader, match=r"slot 0.* was taken by other\.1 at epoch 9"):
        await first.supervisor.verify_leadership_before_destructive()
    await eventually(first.idles, "the task goes on")


async def test_a_deleted_table_is_not_verified(
    node: Callable[[str], Node], control_plane: ControlPlane, namespace: str
) -> None:
    """It is made anew, and led anew under another realm."""
    first = node("first")
    await first.supervisor.start()
    await eventually(first.leads, "it does not lead")
    control_plane.kubectl("delete", "configmap", "my-app-slots", "-n", namespace)
    with pytest.raises(NotLeader):
        await first.supervisor.verify_leadership_before_destructive()
    await eventually(first.leads, "it does not lead again")
    await eventually(lambda: verified(first), "leadership is not verified again")


async def verified(node: Node) -> bool:
    """Say whether leadership is verified now."""
    try:
        await node.supervisor.verify_leadership_before_destructive()
    except NotLeader:
        return False
    return True
