"""The wire as reconciling sees it: facts, errors that say what to do, and no write without the lead."""

from typing import Any

import pytest

from background_tasks.errors import BackgroundTaskError, NotLeader, Refused, Unavailable
from background_tasks.services.kubernetes.client import Cluster
from background_tasks.services.kubernetes.errors import AlreadyExists, Conflict, NotFound
from background_tasks_operator.kube.api import ClusterApi
from background_tasks_operator.plan.model import Capability
from background_tasks_operator.reconcile.keys import ObjectKey
from background_tasks_operator.reconcile.meter import Meter

POOL = {"kind": "WorkerPool", "metadata": {"name": "p", "namespace": "here", "uid": "u"}, "status": {}}
ROLE = ObjectKey("Role", "here", "p-workers")


class Wire(Cluster):
    """A cluster whose answers a test names."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.calls: list[str] = []

    async def _answer(self, verb: str) -> Any:
        self.calls.append(verb)
        if isinstance(self.answer, BackgroundTaskError):
            raise self.answer
        return self.answer

    async def get(self, *args: Any, **options: Any) -> Any:
        """Answer."""
        return await self._answer("get")

    async def list(self, *args: Any, **options: Any) -> Any:
        """Answer."""
        return await self._answer(f"list {options['namespace']}")

    async def create(self, *args: Any, **options: Any) -> Any:
        """Answer."""
        return await self._answer("create")

    async def apply(self, *args: Any, **options: Any) -> Any:
        """Answer."""
        return await self._answer("apply")

    async def delete(self, *args: Any, **options: Any) -> Any:
        """Answer."""
        return await self._answer("delete")


def api(answer: Any, *, leads: bool = True, namespaces: tuple[str, ...] = ()) -> tuple[ClusterApi, Wire, Meter]:
    """An api over such a cluster."""
    wire, meter = Wire(answer), Meter()
    return ClusterApi(wire, namespaces=namespaces, may_act=lambda: leads, meter=meter), wire, meter


async def test_who_does_not_lead_writes_nothing() -> None:
    """Each write is stopped before it leaves; reading stays possible."""
    reader, wire, _ = api(POOL, leads=False)
    for write in (
        reader.create(POOL),
        reader.apply(POOL, manager="m"),
        reader.apply_status(POOL, manager="m"),
        reader.delete(ROLE, "u"),
    ):
        with pytest.raises(NotLeader):
            await write
    assert await reader.read(ROLE) == POOL
    assert wire.calls == ["get"]


async def test_what_is_not_there_is_a_fact_and_a_failed_read_is_not() -> None:
    """None means absent; a server that is down raises."""
    assert await api(NotFound("no"))[0].read(ROLE) is None
    with pytest.raises(Unavailable):
        await api(Unavailable("down"))[0].read(ROLE)


async def test_a_status_of_an_object_that_went_is_dropped() -> None:
    """The object is gone: there is nobody to tell. A conflict is tried again like any other."""
    assert await api(NotFound("no"))[0].apply_status(POOL, manager="m") is None
    with pytest.raises(Unavailable):
        await api(Conflict("busy"))[0].apply_status(POOL, manager="m")


async def test_a_lost_race_is_tried_again_and_a_refusal_is_told() -> None:
    """Conflicts are somebody else's moment; a refusal keeps the API's sentence."""
    with pytest.raises(Unavailable):
        await api(Conflict("busy"))[0].apply(POOL, manager="m")
    with pytest.raises(Refused, match="quota"):
        await api(Refused("quota"))[0].apply(POOL, manager="m")
    assert await api(AlreadyExists("taken"))[0].create(POOL) is None


async def test_what_the_cluster_serves_is_asked_in_every_namespace() -> None:
    """A kind that may not be listed in one of our namespaces does not count."""
    reader, wire, _ = api({"items": []}, namespaces=("a", "b"))
    assert await reader.capabilities() == {Capability.SERVICE_MONITOR}
    assert wire.calls == ["list a", "list b"]
    assert await api(Refused("forbidden"))[0].capabilities() == frozenset()
    assert await api(NotFound("unknown"))[0].serves("ServiceMonitor") is False


async def test_requests_are_counted_by_outcome() -> None:
    """The page tells verbs, kinds and how they ended."""
    reader, _, meter = api(POOL)
    await reader.apply_status(POOL, manager="m")
    failing = ClusterApi(Wire(Unavailable("down")), namespaces=(), may_act=lambda: True, meter=meter)
    with pytest.raises(Unavailable):
        await failing.read(ROLE)
    page = meter.exposition()[0].decode()
    assert 'bgtasks_operator_requests_total{kind="WorkerPool/status",outcome="ok",verb="apply"} 1.0' in page
    assert 'bgtasks_operator_requests_total{kind="Role",outcome="unavailable",verb="get"} 1.0' in page
