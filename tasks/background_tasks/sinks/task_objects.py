"""The tasks' resources in the API server, as a worker reads and writes their `status`: one condition on every write.

Not here: when something is written (`status_queue`), what a status looks like (`resource_status`).

A write is a server-side apply over the version that was seen last: the API server checks no uid in a status. Whoever
else wrote meanwhile (the operator, a person, another worker) costs one reading. A newer fence in what is read ends the
matter with `Superseded`. What the API server refuses (no rights, say) is `Unavailable` here: it may be mended.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from background_tasks.api import names
from background_tasks.domain.model import Fence, TaskUid
from background_tasks.errors import BackgroundTaskError, NotLeader, Refused, Superseded, Unavailable
from background_tasks.services.kubernetes.client import Cluster
from background_tasks.services.kubernetes.errors import Conflict, Forbidden, NotFound
from background_tasks.services.kubernetes.resources import BACKGROUND_TASKS
from background_tasks.sinks.resource_status import News, Seen, body_of, seen, with_claim

TRIES = 6
"""Versions that others may write under our hands before a write is put off."""
FEW = 20
"""So many tasks are read one by one, more by a list of the pool's."""

type Address = tuple[str, str]
"""Namespace and name."""


class Unwritable(Unavailable):
    """The API server refuses this one resource's status: others need not wait for it."""


class Unentitled(Unwritable):
    """The API server refuses it for lack of rights: that is not said of this one resource, and nothing is stored."""


@dataclass(slots=True)
class _Object:
    """One resource."""

    address: Address | None = None
    seen: Seen | None = None
    """None: to be read first."""
    doubt: tuple[float, Fence] | None = None
    """A claim that was sent and not answered."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class TaskObjects:
    """The resources of one pool's tasks. `address` finds one that was neither loaded nor met."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        pool: str,
        worker: str,
        copies: bool,
        address: Callable[[TaskUid], Address | None],
        verify: Callable[[Fence], Awaitable[None]] | None,
        report: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._pool = pool
        self._worker = worker
        self._copies = copies
        self._address = address
        self._verify = verify
        self._report = report
        self._objects: dict[TaskUid, _Object] = {}
        self._successions: set[tuple[str, str]] = set()
        """(a realm that wrote, a realm that writes now), as the slot table said."""

    def seen(self, uid: TaskUid) -> Seen | None:
        """Return what was read or written last; asks nobody."""
        known = self._objects.get(uid)
        return None if known is None else known.seen

    def meet(self, uid: TaskUid, name: str) -> None:
        """Learn where a task lies: `namespace/name`."""
        known = self._objects.setdefault(uid, _Object())
        if known.address is None:
            namespace, _, own = name.partition("/")
            known.address = namespace, own

    def forget(self, uid: TaskUid) -> None:
        """Drop what is known of a task that is gone."""
        self._objects.pop(uid, None)

    async def read(self, uids: set[TaskUid]) -> Mapping[TaskUid, Seen]:
        """Read many from the API server, never from a cache: what the last holder wrote counts."""
        with _mendable():
            bodies = await self._some(uids) if len(uids) <= FEW else None
            if bodies is None:
                selector = f"spec.poolRef.name={self._pool}"
                listed = await self._cluster.list(
                    BACKGROUND_TASKS, namespace=self._namespace, field_selector=selector, each=_lean
                )
                bodies = listed["items"]
        found: dict[TaskUid, Seen] = {}
        for body in bodies:
            uid = TaskUid(body["metadata"]["uid"])
            if uid in uids:
                known = self._objects.setdefault(uid, _Object())
                known.seen = found[uid] = seen(body, self._report)
                known.address = known.seen.namespace, known.seen.name
        return found

    async def write(self, uid: TaskUid, news: News) -> bool:
        """Write. False: the task is gone, or another pool's. Raises `Superseded`, `Unwritable`, `Unavailable`."""
        known = self._objects.setdefault(uid, _Object())
        async with known.lock:
            for _ in range(TRIES):
                before = known.seen or await self._look(uid, known)
                if before is None or self._is_elsewhere(before):
                    return False
                await self.admit(before, news.fence)
                if await self._apply(uid, known, before, news):
                    return True
        raise _contended(uid)

    async def claim(self, uid: TaskUid, fire: float, fence: Fence | None) -> bool:
        """Write that a fire time is being served. False: it was claimed before, or the task is gone, or moved away."""
        known = self._objects.setdefault(uid, _Object())
        async with known.lock:
            for _ in range(TRIES):
                before = known.seen or await self._look(uid, known)
                if before is None or self._is_elsewhere(before):
                    return False
                await self.admit(before, fence)
                if fire in before.claimed:  # by us, where our own fence stands under a claim that was never answered
                    doubt, known.doubt = known.doubt, None
                    return fence is not None and (before.fence, doubt) == (fence, (fire, fence))
                known.doubt = None if fence is None else (fire, fence)
                if await self._apply(uid, known, with_claim(before, fire), News(fence=fence)):
                    known.doubt = None
                    return True
        raise _contended(uid)

    async def admit(self, before: Seen, fence: Fence | None) -> None:
        """Return if nobody with a newer fence of the slot wrote. Raises `Superseded`; `Unavailable`: nobody can say."""
        stored = before.fence
        if fence is None or stored is None:
            return
        late = f"{before.namespace}/{before.name}: fence {fence} came too late"
        if stored.realm == fence.realm:
            if stored.slot == fence.slot and stored.epoch > fence.epoch:
                raise Superseded(f"{late}: its epoch is {stored.epoch} by now; nothing was written")
            return
        order = before.realms
        behind = fence.realm in order and stored.realm in order and order.index(stored.realm) > order.index(fence.realm)
        if fence.realm in order and not behind:
            return
        if self._verify is None and behind:
            raise Superseded(f"{late}: a newer slot table has been made; nothing was written")
        await self._succeeds(stored.realm, fence, late)

    async def _succeeds(self, other: str, fence: Fence, late: str) -> None:
        """Ask the slot table whether its realm is that of the fence, and not the one that was written by last.

        The order in which realms wrote does not say: a task that was moved to another pool and back has seen the realm
        of the other pool later, and that one is over for it all the same.
        """
        if self._verify is None or (other, fence.realm) in self._successions:
            return
        try:
            await self._verify(fence)
        except NotLeader as error:
            if isinstance(error.__cause__, BackgroundTaskError | TimeoutError):  # the table did not answer
                raise Unavailable(f"{late}, or did not: {error}") from error
            raise Superseded(f"{late}: {error}; nothing was written") from error
        self._successions.add((other, fence.realm))

    def _is_elsewhere(self, before: Seen) -> bool:
        """Say whether the resource names another pool. All that is written is written over the version that says so."""
        return before.pool not in ("", self._pool)

    async def _apply(self, uid: TaskUid, known: _Object, before: Seen, news: News) -> bool:
        """Write over one version. False: there is another one by now."""
        body = body_of(uid, before, news, worker=self._worker, copies=self._copies)
        try:
            with _mendable():
                answer = await self._cluster.apply(
                    BACKGROUND_TASKS, body, manager=names.WORKER_MANAGER, subresource="status"
                )
        except (Conflict, NotFound):
            known.seen = None
            return False
        known.seen = seen(answer, self._report)
        return True

    async def _look(self, uid: TaskUid, known: _Object) -> Seen | None:
        """Read one; None when it is gone, or somebody else's under the same name."""
        known.address = known.address or self._address(uid)
        body = None if known.address is None else await self._get(known.address)
        if body is None or body["metadata"]["uid"] != uid:
            return None
        known.seen = seen(body, self._report)
        return known.seen

    async def _get(self, address: Address) -> dict[str, Any] | None:
        namespace, name = address
        try:
            with _mendable():
                return await self._cluster.get(BACKGROUND_TASKS, name, namespace=namespace)
        except NotFound:
            return None

    async def _some(self, uids: set[TaskUid]) -> list[dict[str, Any]] | None:
        """Read a few one by one; None when it is not known where each of them lies."""
        known = {uid: self._objects.get(uid) for uid in uids}
        addresses = [(one.address if one else None) or self._address(uid) for uid, one in known.items()]
        places = [address for address in addresses if address is not None]
        if len(places) < len(uids):
            return None
        bodies = [await self._get(address) for address in places]
        return [body for body in bodies if body is not None]


def _lean(body: dict[str, Any]) -> dict[str, Any]:
    """Keep what is read here: thousands of objects are held while they are listed."""
    metadata = body["metadata"]
    kept = {key: metadata.get(key) for key in ("uid", "namespace", "name", "resourceVersion")}
    return {"metadata": kept, "status": body.get("status")}


@contextmanager
def _mendable() -> Iterator[None]:
    """Tell a refusal as something that may be mended while we try again; an absent object is told as such."""
    try:
        yield
    except NotFound:
        raise
    except Forbidden as error:
        raise Unentitled(str(error)) from error
    except Refused as error:
        raise Unwritable(str(error)) from error


def _contended(uid: TaskUid) -> Unavailable:
    return Unavailable(f"task {uid}: its status was changed {TRIES} times under our hands; it is tried again")
