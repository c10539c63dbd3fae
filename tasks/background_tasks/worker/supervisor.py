"""`TaskSupervisor`, the public name: long-lived coroutines that run on the leader of several processes, and only there.

Not here: how they are kept alive (`engine.supervisor`). This file joins the parts and reads one variable.
"""

import logging
import os
import socket
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from background_tasks.domain.model import MemberId
from background_tasks.engine.clock import SystemClock
from background_tasks.engine.membership import LeaseSettings, Membership, SlotEvent, Store
from background_tasks.engine.supervisor import Supervisor
from background_tasks.leases.redis import open_leader

if TYPE_CHECKING:
    from redis.asyncio import Redis

LEADER_KEY = "sg:leader:supervisor"
"""Where the leader shows itself, unless the variable `SG_LEADER_KEY` names another key."""
EXIT_FENCED = 70
"""A task outlived its lease: the only safe thing left is to be gone."""
_DEFAULTS = LeaseSettings()

_log = logging.getLogger("background_tasks.supervisor")


class TaskSupervisor:
    """Runs registered tasks while this process leads, restarts those that crash, cancels them when it no longer leads.

    With `redis`, processes elect a leader over it: the key `SG_LEADER_KEY` holds the leader's `node_id`, the records
    behind it lie below that key. The client is only asked for its server: leadership is renewed in a thread over
    connections of its own, so that a blocked loop cannot lose it. `lease` opens another backend of the same protocol,
    with one slot, such as `kubernetes_lease("my-app")`. With neither, this process leads for ever.

    A task that does not stop in time after leadership was lost ends the process (`die`), as others may act by then.
    """

    def __init__(
        self,
        redis: "Redis | None" = None,
        node_id: str = "",
        *,
        lease: Callable[[], AbstractAsyncContextManager[Store]] | None = None,
        settings: LeaseSettings = _DEFAULTS,
        env: Mapping[str, str] | None = None,
        die: Callable[[str], None] | None = None,
    ) -> None:
        """`env` stands in for the process's environment; `node_id` is made from host and process when it is empty."""
        self.node_id = node_id or f"{socket.gethostname()}-{os.getpid()}"
        self.leader_key = (os.environ if env is None else env).get("SG_LEADER_KEY") or LEADER_KEY
        self._settings = settings
        self._die = die or end_process
        self._open = lease
        if lease is None and redis is not None:
            self._open = lambda: open_leader(redis, self.leader_key, self.node_id, duration=settings.duration)
        self._clock = SystemClock()
        self._supervisor = Supervisor(self._clock, None if self._open is None else self._join)

    @property
    def is_leader(self) -> bool:
        """Say whether this process leads now, by its own clock; asks nobody."""
        return self._supervisor.leads

    def register_task(self, name: str, task_factory: Callable[[], Awaitable[object]]) -> None:
        """Have `task_factory()` run whenever this process leads. It is restarted whenever it ends.

        After a crash it waits 1 s, then twice as long each time up to 60 s, with full jitter; it begins anew when a
        start held for five minutes. Raises `Refused` for a name that is taken.
        """
        self._supervisor.register_task(name, task_factory)

    async def start(self) -> None:
        """Begin, without waiting for leadership or for Redis. Starting again changes nothing."""
        await self._supervisor.start()

    async def verify_leadership_before_destructive(self) -> None:
        """Return if this process leads, by the store's word of now.

        Raises `RuntimeError` (`NotLeader`) when it is not the leader, when its lease is overdue, when another node
        has taken over, and when the store cannot be asked. The check is comfort; the fence in the write is the guard.
        """
        await self._supervisor.verify()

    async def shutdown(self) -> None:
        """Cancel the tasks, wait for them, and release the lease, so that another process leads within a second."""
        await self._supervisor.shutdown()

    def _join(self, on_event: Callable[[SlotEvent], None]) -> Membership:
        assert self._open is not None
        return Membership(
            member=MemberId(f"{self.node_id}.{uuid.uuid4().hex[:8]}"),  # never used twice, unlike a node's name
            open_store=self._open,
            slots=1,
            clock=self._clock,
            observer=_Unobserved(),
            on_event=on_event,
            die=self._die,
            settings=self._settings,
        )


def kubernetes_lease(
    name: str,
    *,
    namespace: str | None = None,
    kubeconfig: Path | None = None,
    pod_name: str | None = None,
    pod_uid: str | None = None,
) -> Callable[[], AbstractAsyncContextManager[Store]]:
    """Elect the leader over a Kubernetes API server, as `TaskSupervisor(lease=...)`. Needs the extra `kubernetes`.

    Leases of the members, labelled with `name`, and the ConfigMap `<name>-slots`, lie in `namespace`: by default that
    of the pod, or of the kubeconfig's context. With its pod's name and UID a Lease goes when the pod does. The service
    account needs `list, watch, create, update, delete` of leases, and `get, list, watch, create, update` of configmaps.
    """
    from background_tasks.leases.kubernetes import open_kubernetes  # only who asks for it needs the library

    return lambda: open_kubernetes(
        name, slots=1, clock=SystemClock(), namespace=namespace, kubeconfig=kubeconfig,
        pod_name=pod_name, pod_uid=pod_uid,
    )  # fmt: skip


class _Unobserved:
    """Nobody measures a supervisor's lease."""

    def slots_held(self, count: int) -> None:
        """Told to nobody."""

    def lease_renewed(self, seconds: float, ok: bool) -> None:
        """Told to nobody."""


def end_process(reason: str) -> None:
    """End this process without releasing anything: others take over when its lease has run out before their eyes."""
    _log.critical("the process ends itself: %s", reason)
    os._exit(EXIT_FENCED)
