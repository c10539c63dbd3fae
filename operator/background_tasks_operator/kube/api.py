"""`reconcile.ports.Api` over a real cluster. Every write asks first whether this process may still act.

Not here: retries (the queue's), and reading by watches.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from background_tasks.errors import BackgroundTaskError, NotLeader, Refused, Unavailable
from background_tasks.services.kubernetes.client import Cluster
from background_tasks.services.kubernetes.errors import AlreadyExists, Conflict, Gone, NotFound
from background_tasks_operator.kube.kinds import OPTIONAL, RESOURCES, selector
from background_tasks_operator.plan.model import Capability, Manifest
from background_tasks_operator.reconcile.bodies import Body, text
from background_tasks_operator.reconcile.keys import ObjectKey
from background_tasks_operator.reconcile.meter import Meter

STATUS = "status"


class ClusterApi:
    """One cluster, or some of its namespaces. `may_act` is asked right before each write."""

    def __init__(
        self, cluster: Cluster, *, namespaces: tuple[str, ...], may_act: Callable[[], bool], meter: Meter
    ) -> None:
        self._cluster = cluster
        self._places: tuple[str | None, ...] = namespaces or (None,)
        self._may_act = may_act
        self._meter = meter

    async def read(self, key: ObjectKey) -> Body | None:
        """Read one object as it is now; None: it does not exist."""
        with self._asking("get", key.kind):
            try:
                return await self._cluster.get(RESOURCES[key.kind], key.name, namespace=key.namespace)
            except NotFound:
                return None

    async def uids(self, kind: str) -> frozenset[str]:
        """Return the uids of all objects of a kind that we look after."""
        found: set[str] = set()
        for place in self._places:
            with self._asking("list", kind):
                listed = await self._cluster.list(RESOURCES[kind], namespace=place, label_selector=selector(kind))
            found.update(text(item, "uid") for item in listed["items"])
        return frozenset(found)

    async def create(self, body: Manifest) -> Body | None:
        """Make an object; None: its name is taken."""
        with self._asking("create", str(body["kind"]), write=True):
            try:
                return await self._cluster.create(RESOURCES[body["kind"]], body)
            except AlreadyExists:
                return None

    async def apply(self, body: Manifest, *, manager: str) -> Body:
        """Apply an object's fields, server-side, by force."""
        with self._asking("apply", str(body["kind"]), write=True):
            return await self._cluster.apply(RESOURCES[body["kind"]], body, manager=manager)

    async def apply_status(self, body: Manifest, *, manager: str) -> Body | None:
        """Apply an object's `status`; None: it does not exist any more. The server does not compare uids here."""
        with self._asking("apply", f"{body['kind']}/{STATUS}", write=True):
            try:
                resource = RESOURCES[body["kind"]]
                return await self._cluster.apply(resource, body, manager=manager, subresource=STATUS)
            except NotFound:
                return None

    async def delete(self, key: ObjectKey, uid: str) -> None:
        """Delete this very object; an absent one is fine."""
        with self._asking("delete", key.kind, write=True):
            await self._cluster.delete(RESOURCES[key.kind], key.name, namespace=key.namespace, uid=uid)

    async def capabilities(self) -> frozenset[Capability]:
        """Return the optional kinds that the cluster serves, and that we may see."""
        return frozenset([capability for kind, capability in OPTIONAL.items() if await self.serves(kind)])

    async def serves(self, kind: str) -> bool:
        """Say whether the API serves a kind, and lets us look at it where we look. Raises `Unavailable`."""
        for place in self._places:
            with self._asking("list", kind):
                try:
                    # A selector that nothing can fit: the answer is about the kind, not about its objects.
                    await self._cluster.list(RESOURCES[kind], namespace=place, field_selector="metadata.name=none")
                except Refused:
                    return False
        return True

    @contextmanager
    def _asking(self, verb: str, kind: str, *, write: bool = False) -> Iterator[None]:
        """Count a request, stop one that may not be made, and turn a lost race into "try again"."""
        if write and not self._may_act():
            raise NotLeader(f"{verb} {kind}: this replica does not lead any more")
        outcome = "ok"
        try:
            yield
        except (Conflict, Gone) as error:
            outcome = "conflict"
            raise Unavailable(str(error)) from error
        except BackgroundTaskError as error:
            outcome = type(error).__name__.lower()
            raise
        finally:
            self._meter.requested(verb, kind, outcome)
