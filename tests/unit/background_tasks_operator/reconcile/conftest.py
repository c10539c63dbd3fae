"""A cluster in memory for the reconciler: bodies by key, versions that grow, answers that a test may spoil."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from background_tasks.errors import BackgroundTaskError, Unavailable
from background_tasks.testing import VirtualTime
from background_tasks_operator.plan.model import Capability
from background_tasks_operator.reconcile.keys import ObjectKey
from background_tasks_operator.reconcile.memory import LISTED
from background_tasks_operator.reconcile.meter import Meter
from background_tasks_operator.reconcile.objects import key_of
from background_tasks_operator.reconcile.reconciler import Reconciler
from background_tasks_operator.settings import Settings

SETTINGS = Settings(image="background-tasks:1", default_pool={"replicas": 2})
KINDS = ("BackgroundTask", "WorkerPool", "Deployment", "Role", "ConfigMap")
API_VERSION = "background-tasks.dev/v1alpha1"


def merged(old: Any, new: Any) -> Any:
    """Lay a new value over an old one, as an apply of known fields does."""
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return new
    return {**old, **{name: merged(old.get(name), value) for name, value in new.items()}}


class World:
    """The cluster (`reconcile.ports.Api`) and the reconciler that works on it."""

    def __init__(self, time: VirtualTime, settings: Settings = SETTINGS) -> None:
        self.time = time
        self.bodies: dict[ObjectKey, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        """Verb and `kind name` of every write."""
        self.reads: list[str] = []
        self.spoil: Callable[[str, str], BackgroundTaskError | None] = lambda verb, what: None
        self.is_watched = True
        """Whether changes are told."""
        self.served: frozenset[Capability] = frozenset()
        self._ours: dict[ObjectKey, set[str]] = {}
        """Conditions that nobody but the operator applied."""
        self._version = 100
        self.reconciler = Reconciler(self, settings, clock=time, meter=Meter(), kinds=KINDS)
        self._news: list[tuple[str, dict[str, Any]]] = []

    @property
    def memory(self) -> Any:
        """What the reconciler knows."""
        return self.reconciler.memory

    # --- people and controllers ---

    def put(self, body: Mapping[str, Any], event: str = "MODIFIED") -> dict[str, Any]:
        """Write an object, and let watches tell of it."""
        key = key_of(body)
        before = self.bodies.get(key)
        self._version += 1
        meta = {"generation": 1, **(before or {}).get("metadata", {}), **body["metadata"]}
        meta.setdefault("uid", f"uid-{self._version}")
        if before is not None and before.get("spec") != body.get("spec"):
            meta["generation"] = before["metadata"]["generation"] + 1
        self.bodies[key] = {**body, "metadata": {**meta, "resourceVersion": str(self._version)}}
        self._tell(event, self.bodies[key])
        return self.bodies[key]

    def task(self, name: str, pool: str = "default", **spec: Any) -> None:
        """Write a task."""
        told = {"task": "kg_decay", "schedule": {"every": "5m"}, "poolRef": {"name": pool}, **spec}
        self.put(self._declared("BackgroundTask", name, told))

    def pool(self, name: str, **spec: Any) -> None:
        """Write a pool."""
        self.put(self._declared("WorkerPool", name, spec))

    def workers(self, pool: str, *, ready: int) -> None:
        """Let so many workers of a pool be ready."""
        deployment = self.get("Deployment", f"{pool}-workers")
        self.put({**deployment, "status": {**deployment.get("status", {}), "readyReplicas": ready}})

    def worker_tells(self, task: str, status: str = "True", reason: str = "Armed") -> None:
        """Apply a task's `Ready` as its worker does: by force, so that it is the worker's from then on."""
        body = self.get("BackgroundTask", task)
        others = [one for one in body.get("status", {}).get("conditions", []) if one["type"] != "Ready"]
        told = {"type": "Ready", "status": status, "reason": reason, "message": ""}
        self._ours.get(key_of(body), set()).discard("Ready")
        self.put({**body, "status": {**body.get("status", {}), "conditions": [*others, told]}})

    def remove(self, kind: str, name: str) -> None:
        """Delete an object, and let watches tell of it."""
        body = self.bodies.pop(ObjectKey(kind, "here", name))
        self._version += 1
        meta = {**body["metadata"], "resourceVersion": str(self._version)}
        self._tell("DELETED", {**body, "metadata": meta})

    def list_anew(self) -> None:
        """Let watches begin again with lists of what there is."""
        for body in self.bodies.values():
            self._tell(LISTED, body)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object; empty where there is none."""
        return self.bodies.get(ObjectKey(kind, "here", name), {})

    def condition(self, kind: str, name: str, wanted: str) -> dict[str, Any]:
        """Return a condition; empty where there is none."""
        conditions = self.get(kind, name).get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == wanted), {})

    def run(self, seconds: float = 30) -> list[tuple[str, str]]:
        """Let watches tell and the reconciler work for so long; return the writes of that time."""
        begun = len(self.requests)

        async def scene() -> None:
            async with asyncio.TaskGroup() as group:
                working = group.create_task(self.reconciler.queue.run())
                telling = group.create_task(self._tell_on())
                await asyncio.sleep(seconds)
                working.cancel()
                telling.cancel()

        self.time.run(scene())
        return self.requests[begun:]

    # --- reconcile.ports.Api ---

    async def read(self, key: ObjectKey) -> dict[str, Any] | None:
        """Read one object."""
        self.reads.append(f"{key.kind} {key.name}")
        await self._wire("read", f"{key.kind} {key.name}")
        return self.bodies.get(key)

    async def uids(self, kind: str) -> frozenset[str]:
        """List a kind."""
        self.reads.append(f"all {kind}")
        await self._wire("list", kind)
        return frozenset(body["metadata"]["uid"] for key, body in self.bodies.items() if key.kind == kind)

    async def create(self, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Make an object."""
        await self._write("create", body)
        return None if key_of(body) in self.bodies else self.put(json.loads(json.dumps(body)), "ADDED")

    async def apply(self, body: Mapping[str, Any], *, manager: str) -> dict[str, Any]:
        """Apply an object."""
        await self._write("apply", body)
        return self._applied(body)

    async def apply_status(self, body: Mapping[str, Any], *, manager: str) -> dict[str, Any] | None:
        """Apply a status: a condition that is left out goes, if nobody else applied it."""
        await self._write("status", body)
        key = key_of(body)
        found = self.bodies.get(key)
        if not found or found["metadata"]["uid"] != body["metadata"]["uid"]:
            return None
        version = found["metadata"]["resourceVersion"]
        if body["metadata"].get("resourceVersion", version) != version:
            raise Unavailable("the object has been modified")
        told = {one["type"]: one for one in body["status"]["conditions"]}
        gone, self._ours[key] = self._ours.get(key, set()) - told.keys(), set(told)
        kept = {one["type"]: one for one in found.get("status", {}).get("conditions", []) if one["type"] not in gone}
        return self._applied({**body, "status": {**body["status"], "conditions": [*{**kept, **told}.values()]}})

    async def delete(self, key: ObjectKey, uid: str) -> None:
        """Delete an object."""
        await self._write("delete", self.bodies[key])
        self.remove(key.kind, key.name)

    async def capabilities(self) -> frozenset[Capability]:
        """Say which optional kinds there are."""
        return self.served

    # --- inside ---

    def _declared(self, kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        before = self.get(kind, name)
        return {
            **before,
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {**before.get("metadata", {}), "name": name, "namespace": "here"},
            "spec": dict(spec),
        }

    def _applied(self, body: Mapping[str, Any]) -> dict[str, Any]:
        live = self.bodies.get(key_of(body), {})
        new = merged(live, json.loads(json.dumps(body)))
        return live if new == live else self.put(new)

    async def _write(self, verb: str, body: Mapping[str, Any]) -> None:
        what = f"{body['kind']} {body['metadata']['name']}"
        self.requests.append((verb, what))
        await self._wire(verb, what)

    async def _wire(self, verb: str, what: str) -> None:
        await asyncio.sleep(0.01)
        error = self.spoil(verb, what)
        if error is not None:
            raise error

    def _tell(self, event: str, body: dict[str, Any]) -> None:
        if self.is_watched:
            self._news.append((event, body))

    async def _tell_on(self) -> None:
        while True:
            for event, body in self._news:
                self.reconciler.memory.told(event, body)
            self._news.clear()
            await asyncio.sleep(0.02)


@pytest.fixture
def world(virtual_time: VirtualTime) -> World:
    """Give a cluster in memory and a reconciler on it."""
    return World(virtual_time)


@pytest.fixture
def world_without_default(virtual_time: VirtualTime) -> World:
    """Give one whose settings make no pool on demand."""
    return World(virtual_time, Settings(image="background-tasks:1", default_pool=None))
