"""Members over a Kubernetes API that is edited by hand, stopped, frozen, and put back to a backup.

What they do over one that is well is in `test_membership_redis`, where this backend sits the same exam.
"""

import json
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from background_tasks.engine.clock import SystemClock
from background_tasks.engine.membership import LeaseSettings, Lost, Store
from background_tasks.leases.kubernetes import open_kubernetes
from tests.contract.membership_world import SHORT, SLOTS, Member, Open, eventually
from tests.testbed.session import ControlPlane

pytestmark = pytest.mark.contract
type Join = Callable[..., Member]
PATIENT = LeaseSettings(duration=9, renew_deadline=6, retry_period=1)


@pytest.fixture
def open_store(kubernetes_store: Callable[..., AbstractAsyncContextManager[Store]]) -> Open:
    """Open one pool's store in a namespace of the test's own."""
    return lambda: kubernetes_store(SLOTS)


@pytest.fixture
def own_store(own_control_plane: ControlPlane, prefix: str) -> Open:
    """Open one pool's store over an API server that the test may stop."""
    own_control_plane.kubectl("create", "namespace", prefix)
    return lambda: open_kubernetes(
        "p", slots=SLOTS, clock=SystemClock(), namespace=prefix, kubeconfig=own_control_plane.kubeconfig
    )


def shared(*members: Member) -> list[int]:
    """Name the slots that more than one member may act for, at this moment."""
    held = [fence.slot for member in members for fence in member.fences]
    return sorted({slot for slot in held if held.count(slot) > 1})


def until(what: Callable[[], bool], *members: Member, message: str, seconds: float = 30.0) -> float:
    """Wait for a condition, and see all the while that no slot has two holders."""

    def watched() -> bool:
        assert shared(*members) == []
        return what()

    return eventually(watched, message, seconds)


def pair(join: Join, open_store: Open, settings: LeaseSettings = SHORT) -> tuple[Member, Member]:
    """Two members that have shared the slots."""
    first, second = join(open_store, settings=settings), join(open_store, settings=settings)
    until(lambda: [len(one.fences) for one in (first, second)] == [3, 3], first, second, message="no fair share")
    return first, second


def test_a_deleted_table_is_stood_down_from_and_held_anew(
    open_store: Open, join: Join, control_plane: ControlPlane, namespace: str
) -> None:
    """Each member loses all it holds and claims it again under a new realm; nobody takes the other's."""
    first, second = pair(join, open_store)
    (realm,) = {fence.realm for fence in first.fences}
    before = [{fence.slot for fence in member.fences} for member in (first, second)]
    control_plane.kubectl("delete", "configmap", "p-slots", "-n", namespace)

    def held_anew() -> bool:
        fences = [*first.fences, *second.fences]
        return len(fences) == SLOTS and realm not in {fence.realm for fence in fences}

    seconds = until(held_anew, first, second, message="no new realm")
    assert (seconds < SHORT.duration, [one.told(Lost) for one in (first, second)]) == (True, [3, 3])
    assert [{fence.slot for fence in member.fences} for member in (first, second)] == before


def test_a_lease_that_is_deleted_costs_nothing(
    open_store: Open, join: Join, control_plane: ControlPlane, namespace: str
) -> None:
    """The next renewal makes it anew, long before anybody takes its absence for death."""
    first, second = pair(join, open_store)
    for _ in range(3):
        renewals = len(first.renewals)
        control_plane.kubectl("delete", "leases", "--all", "-n", namespace)
        until(lambda: len(first.renewals) > renewals + 2, first, second, message="it does not renew")  # noqa: B023
    assert [len(first.fences), len(second.fences)] == [3, 3]
    assert [first.told(Lost), second.told(Lost), first.renewals.count(False)] == [0, 0, 0]


def test_garbage_beside_the_leases_disturbs_nobody(
    open_store: Open, join: Join, control_plane: ControlPlane, namespace: str
) -> None:
    """A foreign Lease with our labels is no member."""
    labels = {"background-tasks.dev/pool": "p", "app.kubernetes.io/name": "background-tasks-worker"}
    for name, spec in (("blank", {}), ("thief", {"holderIdentity": "somebody", "leaseDurationSeconds": 5})):
        metadata = {"name": name, "namespace": namespace, "labels": labels}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        control_plane.kubectl("create", "-f", "-", stdin=json.dumps(body))
    first, second = pair(join, open_store)
    assert [first.told(Lost), second.told(Lost)] == [0, 0]


def test_a_restored_table_does_not_fool_its_holders(
    open_store: Open, join: Join, control_plane: ControlPlane, namespace: str
) -> None:
    """An older one is over: all is claimed anew, at epochs beyond those that were seen."""
    first = join(open_store)
    eventually(lambda: len(first.fences) == SLOTS, "not all slots are held")
    backup = json.loads(control_plane.kubectl("get", "configmap", "p-slots", "-n", namespace, "-o", "json"))["data"]
    second = join(open_store)
    until(lambda: len(second.fences) == 3, first, second, message="no fair share")
    seen = {fence.slot: fence for fence in (*first.fences, *second.fences)}
    control_plane.kubectl("patch", "configmap", "p-slots", "-n", namespace, "-p", json.dumps({"data": backup}))

    def held_anew() -> bool:
        fences = [*first.fences, *second.fences]
        return len(fences) == SLOTS and backup["realm"] not in {fence.realm for fence in fences}

    until(held_anew, first, second, message="the old realm goes on")
    assert all(fence.epoch > seen[fence.slot].epoch for fence in (*first.fences, *second.fences))


@pytest.mark.parametrize("how", ["stop", "freeze"])
def test_an_api_server_away_for_longer_than_the_lease_costs_every_slot(
    own_store: Open, join: Join, own_control_plane: ControlPlane, how: str
) -> None:
    """All is lost by each one's own clock; when it is back each slot has one holder, at a higher epoch."""
    first, second = pair(join, own_store)
    seen = {fence.slot: fence.epoch for fence in (*first.fences, *second.fences)}
    server = own_control_plane.api_server
    (server.stop if how == "stop" else server.freeze)()
    both, away_since = (first, second), time.perf_counter()
    until(lambda: [one.told(Lost) for one in both] == [3, 3], *both, message="nothing is lost")
    until(lambda: time.perf_counter() - away_since > 2 * SHORT.duration, *both, message="time stands still")
    assert [one.fences for one in both] == [[], []]
    (server.start if how == "stop" else server.thaw)()
    until(lambda: sum(len(one.fences) for one in both) == SLOTS, *both, message="the slots are not held again")
    assert all(fence.epoch > seen[fence.slot] for one in both for fence in one.fences)
    assert [one.deaths for one in both] == [[], []]


def test_an_api_server_away_for_a_moment_costs_nothing(
    own_store: Open, join: Join, own_control_plane: ControlPlane
) -> None:
    """Less than the renew deadline: what is held is held on, and a handover is heard afterwards as before."""
    first, second = pair(join, own_store, PATIENT)
    failed = len(first.renewals)
    own_control_plane.api_server.freeze()
    until(lambda: False in first.renewals[failed:], first, second, message="no renewal fails")
    own_control_plane.api_server.thaw()
    renewals = len(first.renewals)
    until(lambda: True in first.renewals[renewals:], first, second, message="it does not renew")
    assert [first.told(Lost), second.told(Lost)] == [0, 0]
    first.membership.stand_down()
    until(lambda: len(second.fences) == SLOTS, first, second, message="the slots are not taken")


def test_a_server_that_was_put_back_to_a_backup_fools_nobody(
    own_store: Open, join: Join, own_control_plane: ControlPlane
) -> None:
    """etcd as it was before the last claims: nobody acts under a fence that was handed out before."""
    first = join(own_store)
    eventually(lambda: len(first.fences) == SLOTS, "not all slots are held")
    cluster = own_control_plane._cluster
    assert cluster is not None
    data, backup = cluster.folder / "etcd", cluster.folder / "backup"

    def etcd_replaced(source: Path, target: Path) -> None:
        own_control_plane.api_server.stop()
        cluster.halt("etcd")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        cluster.resume("etcd")
        own_control_plane.api_server.start()

    etcd_replaced(data, backup)
    second = join(own_store)
    both = first, second
    until(lambda: [len(one.fences) for one in both] == [3, 3], *both, message="no fair share")
    seen = {(fence.realm, fence.slot, fence.epoch) for one in both for fence in one.fences}
    etcd_replaced(backup, data)
    until(lambda: sum(len(one.fences) for one in both) == SLOTS, *both, message="the slots are not held again")
    after = {(fence.realm, fence.slot, fence.epoch) for one in both for fence in one.fences}
    assert (after & seen, {realm for realm, _, _ in after} & {realm for realm, _, _ in seen}) == (set(), set())
