"""What reconciling asks of a cluster: one small Protocol. Implemented over a real one in `kube`, in memory by tests."""

from typing import Protocol

from background_tasks_operator.plan.model import Capability, Manifest
from background_tasks_operator.reconcile.bodies import Body
from background_tasks_operator.reconcile.keys import ObjectKey


class Api(Protocol):
    """A cluster. Every call may raise `Refused` (the API's own sentence) and `Unavailable` (try again later).

    A failed read is an error; None is a fact. Writes raise `NotLeader` once this process may not act any more.
    """

    async def read(self, key: ObjectKey) -> Body | None:
        """Read one object as it is now; None: it does not exist."""
        ...

    async def uids(self, kind: str) -> frozenset[str]:
        """Return the uids of all objects of a kind that we look after."""
        ...

    async def create(self, body: Manifest) -> Body | None:
        """Make an object; None: its name is taken."""
        ...

    async def apply(self, body: Manifest, *, manager: str) -> Body:
        """Apply an object's fields, server-side; what other managers hold of them is taken over."""
        ...

    async def apply_status(self, body: Manifest, *, manager: str) -> Body | None:
        """Apply an object's `status`; None: the object does not exist (any more)."""
        ...

    async def delete(self, key: ObjectKey, uid: str) -> None:
        """Delete this very object; an absent one is fine."""
        ...

    async def capabilities(self) -> frozenset[Capability]:
        """Return the optional kinds that the cluster serves."""
        ...
