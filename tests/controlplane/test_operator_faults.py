"""Operators that die, hang and lose their API server: one leads, the other takes over, and tasks are none the wiser."""

import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.controlplane.operators import Operator, Place, wait_for
from tests.testbed.session import ControlPlane

TAKEOVER_S = 15.0
HANDOVER_S = 3.0

type Operate = Callable[..., Operator]


@pytest.fixture
def pair(place: Place, operate: Operate) -> tuple[Operator, Operator]:
    """Give two replicas: the leader and the standby."""
    replicas = [operate(place, "operator-a"), operate(place, "operator-b")]
    wait_for(lambda: any(replica.leads() for replica in replicas), "a leader")
    wait_for(lambda: all(replica.ask("/readyz")[0] == 200 for replica in replicas), "both ready")
    leader, standby = sorted(replicas, key=lambda replica: not replica.leads())
    assert not standby.leads()
    return leader, standby


def test_a_standby_is_ready_and_watches_nothing(pair: tuple[Operator, Operator]) -> None:
    """A rollout can count on the standby; it costs the API server one lease."""
    _, standby = pair
    assert standby.ask("/livez")[0] == 200
    assert standby.metric("watch_events_total") == 0
    assert standby.metric("requests_total") == 0


def test_a_leader_that_is_killed_is_replaced(place: Place, pair: tuple[Operator, Operator]) -> None:
    """The standby leads within fifteen seconds, and does what is to be done."""
    leader, standby = pair
    leader.end(signal.SIGKILL)
    began = time.perf_counter()
    place.task("meanwhile")
    wait_for(standby.leads, "the standby leads")
    assert time.perf_counter() - began < TAKEOVER_S
    place.deployment("default")


def test_a_leader_that_is_told_to_stop_hands_over(pair: tuple[Operator, Operator]) -> None:
    """SIGTERM ends with 0, and the standby need not wait a lease out."""
    leader, standby = pair
    began = time.perf_counter()
    assert leader.end() == 0
    wait_for(standby.leads, "the standby leads")
    assert time.perf_counter() - began < HANDOVER_S


def test_a_leader_that_was_frozen_wakes_up_fenced(place: Place, pair: tuple[Operator, Operator]) -> None:
    """One that is stopped past its lease and goes on ends by itself, and wrote nothing after the other took over."""
    leader, standby = pair
    leader.send(signal.SIGSTOP)
    wait_for(standby.leads, "the standby leads")
    place.task("meanwhile")
    place.deployment("default")
    leader.send(signal.SIGCONT)
    assert leader.process.wait(20) != 0
    assert standby.leads()
    assert "lead" in leader.text() or "fenced" in leader.text()


@pytest.fixture
def broken_place(own_control_plane: ControlPlane) -> Iterator[Place]:
    """Give a namespace of a control plane that the test may stop."""
    own_control_plane.kubectl("create", "namespace", "here")
    yield Place(own_control_plane, "here")
    own_control_plane.kubectl("delete", "namespace", "here", "--wait=false")


def test_an_api_server_that_comes_back_is_served_again(
    own_control_plane: ControlPlane, broken_place: Place, operate: Operate
) -> None:
    """Short of its lease the operator waits; past it, it ends and its successor carries on. Nothing needs a person."""
    operator = operate(broken_place)
    broken_place.task("first")
    broken_place.deployment("default")
    own_control_plane.api_server.stop()
    own_control_plane.api_server.start()
    broken_place.kubectl("delete", "deployment", "default-workers", "--wait=false")
    if operator.process.poll() is not None:
        operator = operate(broken_place, "operator-b")
    broken_place.pool("later")
    wait_for(lambda: broken_place.get("deployment", "later-workers"), "the new pool's workers", 60)
    wait_for(lambda: broken_place.get("deployment", "default-workers"), "the deleted workers", 60)
    assert operator.process.poll() is None, operator.text()
