"""A cluster that is meddled with, and waiting for what a server does. Not here: assertions, fixtures (`conftest`)."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import iscoroutinefunction
from typing import Any

import pytest

from background_tasks.domain.model import MemberId
from background_tasks.errors import Ambiguous
from background_tasks.leases.kubernetes import KubernetesLeases
from background_tasks.ports import SlotRow, TableView
from background_tasks.services.kubernetes.client import Cluster
from background_tasks.services.kubernetes.resources import Resource


class Meddler:
    """A `Cluster` that notes each call, and makes some of them fail."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.calls: list[str] = []
        self.refused: dict[str, Exception] = {}
        """The next call of this kind is not made, and fails so."""
        self.unanswered: set[str] = set()
        """The next call of this kind is made, and its answer is lost."""
        self.stuck: set[str] = set()
        """The next call of this kind is made, and its answer never comes."""

    def __getattr__(self, name: str) -> Any:
        """Stand before every method but `watch`."""
        method = getattr(self._cluster, name)
        return partial(self._call, name, method) if iscoroutinefunction(method) else method

    async def _call(self, name: str, method: Callable[..., Any], resource: Resource, *args: Any, **options: Any) -> Any:
        kind = f"{name} {resource.plural}"
        self.calls.append(kind)
        if kind in self.refused:
            raise self.refused.pop(kind)
        answer = await method(resource, *args, **options)
        if kind in self.unanswered:
            self.unanswered.remove(kind)
            raise Ambiguous(f"kubernetes: {kind}: the connection broke; it may have happened")
        if kind in self.stuck:
            self.stuck.remove(kind)
            await asyncio.Event().wait()
        return answer


async def eventually(what: Callable[[], Awaitable[bool]], message: str, seconds: float = 10.0) -> None:
    """Wait for a condition; fails with the message."""
    try:
        async with asyncio.timeout(seconds):
            while not await what():  # noqa: ASYNC110  # the condition is a server's
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"after {seconds:g} s: {message}")


async def claim(leases: KubernetesLeases, slot: int, by: MemberId) -> TableView:
    """Claim a slot, and return the table."""
    view = await leases.read()
    row = view.rows[slot]
    assert await leases.compare_and_set(view.realm, slot, row, SlotRow(holder=by, epoch=row.epoch + 1))
    return await leases.read()
