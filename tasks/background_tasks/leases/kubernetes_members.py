"""`MemberLease` over `coordination.k8s.io/v1` Leases: one PUT per renewal, and a cache that a watch keeps.

Not here: when the cache may answer (`kubernetes_cache`), what the Leases look like (`kubernetes_bodies`).
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from background_tasks.domain.model import MemberId
from background_tasks.errors import BackgroundTaskError, Unavailable
from background_tasks.leases.kubernetes_bodies import (
    Body,
    Pod,
    Renewal,
    age_of,
    is_of_pod,
    knows_a_table,
    lease_name,
    new_lease,
    pool_selector,
    record_of,
    renewed_lease,
    up_since_of,
)
from background_tasks.leases.kubernetes_cache import LeaseCache
from background_tasks.ports import Clock, MemberRecord
from background_tasks.services.kubernetes.client import Cluster
from background_tasks.services.kubernetes.errors import Conflict, NotFound
from background_tasks.services.kubernetes.reflector import Changed, Deleted, Listed, Reflector, Told
from background_tasks.services.kubernetes.resources import LEASES

WRITE_ATTEMPTS = 3
MAY_LAG = 0.5
"""In durations of our own lease: a watch that does not show a renewal sent so long ago is not believed."""
MARK_LIVES_DURATIONS = 3
"""The pool counts as up since what a lease says that was renewed at most so many of its durations ago."""
RECORD_LIVES_DURATIONS = 10
"""A lease that was not renewed for so many of its durations is swept away by who joins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which pool, where, and who we are in it."""

    namespace: str
    pool: str
    slots: int
    pod: Pod | None
    may_create: bool
    """Whether an absent ConfigMap is made; else the operator makes it."""


class LeaseMembers:
    """The member leases of one pool. `ring` is called when others may have to act."""

    def __init__(
        self, cluster: Cluster, place: Place, *, clock: Clock, report: Callable[[str], None], ring: Callable[[], None]
    ) -> None:
        self.duration = 0.0
        """Of our own lease; 0 before its first renewal."""
        self._cluster = cluster
        self._place = place
        self._clock = clock
        self._report = report
        self._ring = ring
        self._cache = LeaseCache(self._record)
        self._own: dict[str, Body] = {}
        self._owner = place.pod
        self._up_since: float | None = None
        self._reported: set[str] = set()
        self._joined = asyncio.Event()

    async def renew(self, member: MemberId, duration: float, *, leaving: bool = False, realm: str = "") -> None:
        """Write the member's lease; creates it when absent, and overwrites what anybody else wrote to it."""
        wall = self._clock.wall()
        up_since = await self.up_since(wall) if self._up_since is None else self._up_since
        renewal = Renewal(
            pool=self._place.pool, member=member, duration=duration, leaving=leaving, at=wall, up_since=up_since,
            realm=realm,
        )  # fmt: skip
        newest, sent_at = self._cache.newest, self._clock.boottime()
        body = await self._write(renewal)
        self.duration = duration
        if self._cache.take_renewal(body, newest=newest, sent_at=sent_at, now=self._clock.boottime()):
            self._ring()
        self._joined.set()

    async def release(self, member: MemberId) -> None:
        """Delete the member's lease."""
        name = lease_name(member)
        await self._cluster.delete(LEASES, name, namespace=self._place.namespace)
        self._own.pop(name, None)
        self._cache.take_release(name)
        self._ring()

    async def members(self, holders: Iterable[MemberId]) -> Mapping[MemberId, MemberRecord]:
        """Read all leases of the pool; `holders` are those whose silence would cost them their slots."""
        if not self._cache.may_answer(holders, self._clock.boottime(), self.duration * MAY_LAG):
            await self.bodies()
        return self._cache.records()

    async def listed(self) -> Mapping[MemberId, MemberRecord]:
        """Ask the server for all leases of the pool that can be read."""
        await self.bodies()
        return self._cache.records()

    async def others_know_a_table(self) -> bool:
        """Ask the server whether there is another member that has read a slot table."""
        return any(knows_a_table(lease) for lease in await self.bodies() if lease["metadata"]["name"] not in self._own)

    async def bodies(self) -> Sequence[Body]:
        """Ask the server for all leases of the pool, as they stand there."""
        newest, asked_at = self._cache.newest, self._clock.boottime()
        answer = await self._cluster.list(
            LEASES, namespace=self._place.namespace, label_selector=pool_selector(self._place.pool)
        )
        self._cache.take_list(answer, newest=newest, asked_at=asked_at, now=self._clock.boottime())
        found: Sequence[Body] = answer["items"]
        return found

    async def up_since(self, now: float) -> float:
        """Return when the pool came up, by its members' leases; `now` (wall seconds) where none of them lives."""
        marks = [up_since_of(lease, now, MARK_LIVES_DURATIONS) for lease in await self.bodies()]
        self._up_since = min([now, *(mark for mark in marks if mark is not None)])
        return self._up_since

    async def follow(self) -> None:
        """Keep the cache, for ever; once, after our first renewal, sweep away what the dead have left."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweep())
            reflector = Reflector(
                self._cluster, LEASES, clock=self._clock, namespace=self._place.namespace,
                label_selector=pool_selector(self._place.pool), report=self._report,
            )  # fmt: skip
            async for told in reflector.events():
                self._hear(told)

    # --- inside ---

    def _hear(self, told: Told) -> None:
        now = self._clock.boottime()
        try:
            match told:
                case Listed(bodies):
                    news = self._cache.take_relist(bodies, now)
                case Changed(body):
                    news = self._cache.take_change(body, now)
                case Deleted(body):
                    news = self._cache.take_deletion(body)
        except Unavailable as error:
            self._report_once(f"a lease of pool {self._place.pool} is passed over: {error}")
            return
        if news:
            self._ring()

    async def _write(self, renewal: Renewal) -> Body:
        name, failure = lease_name(renewal.member), Unavailable("")
        for _ in range(WRITE_ATTEMPTS):
            try:
                self._own[name] = await self._put(name, renewal)
                return self._own[name]
            except Conflict as error:
                failure = Unavailable(f"lease {self._place.namespace}/{name}: others write it as well: {error}")
                await self._look_up(name)
        raise failure

    async def _put(self, name: str, renewal: Renewal) -> Body:
        """Write without reading first: nobody else should have written since."""
        before, namespace = self._own.get(name), self._place.namespace
        if before is not None:
            try:
                return await self._cluster.replace(LEASES, renewed_lease(before, renewal), namespace=namespace)
            except NotFound:
                self._deleted(name)
        made = new_lease(namespace, renewal.member, self._owner)
        return await self._cluster.create(LEASES, renewed_lease(made, renewal), namespace=namespace)

    async def _look_up(self, name: str) -> None:
        # By a list of one: a worker may list leases anyway, and needs no right to get any of a name.
        answer = await self._cluster.list(
            LEASES, namespace=self._place.namespace, field_selector=f"metadata.name={name}"
        )
        if answer["items"]:
            self._own[name] = answer["items"][0]
        elif name in self._own:
            self._deleted(name)

    def _deleted(self, name: str) -> None:
        """Somebody deleted our Lease under us.

        Where our pod is gone before us (deleted by force, while we drain), that was the garbage collector, and it would
        come back for each new one, at once: others might see none of our renewals. So the next has no owner.
        """
        del self._own[name]
        self._owner = None

    async def _sweep(self) -> None:
        """Delete leases that nobody renews any more: of earlier processes of our pod, and of the long dead.

        Deleting one that is alive after all does no harm: its next renewal makes it anew, and until then others time it
        as unchanged.
        """
        await self._joined.wait()
        try:
            for lease in await self.bodies():
                if self._is_left_over(lease):
                    name, uid = lease["metadata"]["name"], lease["metadata"]["uid"]
                    await self._cluster.delete(LEASES, name, namespace=self._place.namespace, uid=uid)
        except BackgroundTaskError as error:
            self._report(f"leases of dead members are left lying: {error}")

    def _is_left_over(self, lease: Body) -> bool:
        if lease["metadata"]["name"] in self._own:
            return False
        age, pod = age_of(lease, self._clock.wall()), self._place.pod
        record = self._record(lease)
        long_dead = record is not None and age is not None and age > record.duration * RECORD_LIVES_DURATIONS
        return long_dead or (pod is not None and is_of_pod(lease, pod))

    def _record(self, lease: Body) -> MemberRecord | None:
        try:
            return record_of(lease)
        except ValueError as error:
            self._report_once(
                f"lease {self._place.namespace}/{lease['metadata']['name']}: {error}: left out; "
                "its member writes it anew with its next renewal, or delete it"
            )
            return None

    def _report_once(self, sentence: str) -> None:
        if sentence not in self._reported:
            self._reported.add(sentence)
            self._report(sentence)
