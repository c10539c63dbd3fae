"""Member leases and the slot table of a pool over a Kubernetes API server: Leases, one ConfigMap, and two watches.

A renewal is one PUT; looking, which members do about once a second, costs the server nothing as long as the watches
live. But a watch shows the past, and a member that believes it takes a live one for dead. What is believed, and when:

- Nobody is judged dead by a watch. A holder that was not heard for most of its lease's duration is looked up by a list
  with no resourceVersion, which the server answers as of now; so the last readings before a claim are always lists.
- A watch is believed for half a lease after the last renewal of ours that it has shown (the leases), and for a quarter
  of one after its last sign of life (the table). Then the server is asked, and its silence is `Unavailable`.
- A stale row cannot be claimed: the write names the version that it was decided on. `read(fresh=True)` asks always.
- Our own writes are shown at once, before the watch tells of them. A write without an answer makes us ask.

`kubernetes_cache` says why this holds, `kubernetes_table` when a realm is over. Out: policy, and resourceVersion=0.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from background_tasks.domain.model import MemberId
from background_tasks.leases.kubernetes_bodies import Pod
from background_tasks.leases.kubernetes_members import LeaseMembers, Place
from background_tasks.leases.kubernetes_table import ConfigMapTable
from background_tasks.ports import Clock, MemberLease, MemberRecord, SlotRow, SlotTable, TableView
from background_tasks.services.kubernetes.client import Cluster, open_cluster

CALL_TIMEOUT_S = 5.0
"""Shorter than a renew deadline (8 s), so that a silent server is noticed while there is time to act."""

_log = logging.getLogger("background_tasks.leases")


class KubernetesLeases:
    """The leases and the slot table of one pool; both ports in one object, for one event loop.

    `follow()` keeps the watches: without it readings ask the server, and `changes()` hears of our own writes only.
    `pod_name` and `pod_uid` make a member's Lease go with its pod. `may_create`: an absent ConfigMap is made (else the
    operator makes it, and until then every reading is `Unavailable`).
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        pool: str,
        slots: int,
        clock: Clock,
        pod_uid: str | None = None,
        pod_name: str | None = None,
        may_create: bool = True,
        report: Callable[[str], None] = _log.warning,
    ) -> None:
        pod = Pod(name=pod_name, uid=pod_uid) if pod_name and pod_uid else None
        place = Place(namespace=namespace, pool=pool, slots=slots, pod=pod, may_create=may_create)
        self._bells: set[asyncio.Event] = set()
        self._members = LeaseMembers(cluster, place, clock=clock, report=report, ring=self._ring)
        self._table = ConfigMapTable(
            cluster, place, clock=clock, report=report, ring=self._ring, members=self._all_members,
            others_know_a_table=self._members.others_know_a_table,
        )  # fmt: skip

    async def follow(self) -> None:
        """Keep the watches, until cancelled. What goes wrong with them is reported, and tried again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._members.follow())
            group.create_task(self._table.follow())

    async def up_since(self, now: float) -> float:
        """Return when the pool came up (wall seconds), as its live members have it; `now` where none lives.

        Each member writes it into its Lease, so the mark lives as long as any of them, and a little longer.
        """
        return await self._members.up_since(now)

    # --- MemberLease ---

    async def renew(self, member: MemberId, duration: float, *, leaving: bool = False) -> None:
        """Write the member's lease; creates it when absent, and overwrites what anybody else wrote to it."""
        await self._members.renew(member, duration, leaving=leaving, realm=self._table.realm)
        self._table.duration = duration

    async def release(self, member: MemberId) -> None:
        """Delete the member's lease."""
        await self._members.release(member)

    async def members(self) -> Mapping[MemberId, MemberRecord]:
        """Read all leases of the pool. A Lease that cannot be read is reported and left out."""
        return await self._members.members(self._table.holders())

    # --- SlotTable ---

    async def read(self, *, fresh: bool = False) -> TableView:
        """Read the table; makes it, with a new realm, when it is absent, damaged or went back to an older state."""
        return await self._table.read(fresh=fresh)

    async def compare_and_set(self, realm: str, slot: int, expected: SlotRow, new: SlotRow) -> bool:
        """Replace one row if realm and row are still as expected."""
        return await self._table.compare_and_set(realm, slot, expected, new)

    async def changes(self) -> AsyncIterator[None]:
        """Yield at once, then after every change of the table, and when a member comes, leaves or goes."""
        bell = asyncio.Event()
        self._bells.add(bell)
        try:
            yield
            while True:
                await bell.wait()
                bell.clear()
                yield
        finally:
            self._bells.discard(bell)

    # --- inside ---

    def _ring(self) -> None:
        for bell in self._bells:
            bell.set()

    async def _all_members(self) -> Mapping[MemberId, MemberRecord]:
        return await self._members.listed()


@asynccontextmanager
async def open_kubernetes(
    pool: str,
    *,
    slots: int,
    clock: Clock,
    namespace: str | None = None,
    kubeconfig: Path | None = None,
    context: str | None = None,
    pod_uid: str | None = None,
    pod_name: str | None = None,
    may_create: bool = True,
    report: Callable[[str], None] = _log.warning,
    on_write: Callable[[str], None] = lambda resource: None,
) -> AsyncIterator[tuple[MemberLease, SlotTable]]:
    """Open connections of one's own to a pool's leases, in the calling loop, and follow them.

    `namespace`: that of the pod, or of the kubeconfig's context. Raises `Refused` when no cluster is configured.
    """
    async with open_cluster(
        kubeconfig=kubeconfig, context=context, timeout_s=CALL_TIMEOUT_S, on_write=on_write
    ) as cluster:
        leases = KubernetesLeases(
            cluster, namespace=namespace or cluster.namespace, pool=pool, slots=slots, clock=clock,
            pod_uid=pod_uid, pod_name=pod_name, may_create=may_create, report=report,
        )  # fmt: skip
        async with asyncio.TaskGroup() as group:
            following = group.create_task(leases.follow())
            try:
                yield leases, leases
            finally:
                following.cancel()
