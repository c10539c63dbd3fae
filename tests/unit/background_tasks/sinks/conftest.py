"""An API server of a few tasks in memory: versions, conflicts, outages; and a store that writes to it."""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from background_tasks.domain.model import Cadence, Guarantee, Interval, Policy, Schedule, Task, TaskUid
from background_tasks.errors import Ambiguous, Refused, Unavailable
from background_tasks.services.kubernetes.errors import Conflict, Forbidden, NotFound
from background_tasks.sinks.kubernetes import StatusStore
from background_tasks.testing.virtual_time import VirtualTime


class Api:
    """Stands for `services.kubernetes.Cluster`: get, list and apply of tasks, each write told with its instant."""

    def __init__(self, clock: VirtualTime) -> None:
        self.clock = clock
        self.bodies: dict[str, dict[str, Any]] = {}
        self.writes: list[tuple[float, str, Mapping[str, Any]]] = []
        self.reads = 0
        self.outage: Exception | None = None
        self.refused: set[str] = set()
        """Names whose status is refused for what it is."""
        self.forbidden: set[str] = set()
        """Names whose status may not be written."""
        self.asked = 0
        """How often somebody tried to write."""
        self.swallows = 0
        """So many answers to writes are lost."""
        self._version = 0

    def make(self, name: str, uid: str | None = None, **status: Any) -> None:
        """Create a task; its uid is its name unless told otherwise."""
        meta = {"namespace": "n", "name": name, "uid": uid or name, "resourceVersion": self._next()}
        self.bodies[name] = {"metadata": meta, "status": status}

    def touch(self, name: str, **status: Any) -> None:
        """Let somebody else write."""
        body = self.bodies[name]
        body["metadata"]["resourceVersion"] = self._next()
        body["status"] |= status

    async def get(self, resource: Any, name: str, *, namespace: str) -> dict[str, Any]:
        """Read one."""
        self._reach()
        self.reads += 1
        if name not in self.bodies:
            raise NotFound(f"{name} not found")
        return copy.deepcopy(self.bodies[name])

    async def list(self, resource: Any, *, namespace: str, field_selector: str, each: Any) -> dict[str, Any]:
        """Read all."""
        self._reach()
        self.reads += 1
        return {"items": [each(copy.deepcopy(body)) for body in self.bodies.values()]}

    async def apply(self, resource: Any, body: Any, *, manager: str, subresource: str) -> dict[str, Any]:
        """Write, if the version is the newest."""
        await asyncio.sleep(0.005)
        self._reach()
        meta, there = body["metadata"], self.bodies.get(body["metadata"]["name"])
        self.asked += 1
        if meta["name"] in self.forbidden:
            raise Forbidden(f"cannot patch {meta['name']}")
        if meta["name"] in self.refused:
            raise Refused(f"{meta['name']} is forbidden")
        if there is None:
            raise NotFound(f"{meta['name']} not found")
        if there["metadata"]["resourceVersion"] != meta["resourceVersion"]:
            raise Conflict("the object has been modified")
        there["status"] = copy.deepcopy(body["status"])
        there["metadata"]["resourceVersion"] = self._next()
        self.writes.append((round(self.clock.now, 2), meta["name"], body["status"]))
        if self.swallows:
            self.swallows -= 1
            raise Ambiguous("no answer in time; it may have happened")
        return copy.deepcopy(there)

    def _next(self) -> str:
        self._version += 1
        return str(self._version)

    def _reach(self) -> None:
        if self.outage is not None:
            raise self.outage


class World:
    """An API server, a store over it, and tasks."""

    def __init__(self, clock: VirtualTime) -> None:
        self.clock, self.api = clock, Api(clock)
        self.said: list[str] = []
        self.store = self.another()

    def another(self, **options: Any) -> StatusStore:
        """Make a store, as another worker would."""
        cluster: Any = self.api
        return StatusStore(
            cluster, namespace="n", pool="p", worker="w", clock=self.clock, report=self.said.append, **options
        )

    def task(self, name: str, seconds: float = 1.0, **policy: Any) -> Task:
        """Declare a task, which exists."""
        cadence: Cadence = Interval(seconds=seconds)
        if name not in self.api.bodies:
            self.api.make(name)
        made = Policy(coroutine="c", schedule=Schedule(cadence=cadence), **policy)
        return Task(uid=TaskUid(name), name=f"n/{name}", policy=made)

    def once(self, name: str) -> Task:
        """Declare a task that runs at most once per fire time."""
        return self.task(name, 60, guarantee=Guarantee.AT_MOST_ONCE)

    def run(self, story: Callable[[], Awaitable[None]]) -> None:
        """Tell a story while the store works."""

        async def live() -> None:
            async with asyncio.TaskGroup() as group:
                work = group.create_task(self.store.work())
                await story()
                work.cancel()

        self.clock.run(live())

    def status(self, name: str) -> dict[str, Any]:
        """Return the status that people see."""
        status: dict[str, Any] = self.api.bodies[name]["status"]
        return status

    def away(self, sentence: str = "no route") -> None:
        """Let the API server be away."""
        self.api.outage = Unavailable(sentence)


@pytest.fixture
def cluster(virtual_time: VirtualTime) -> World:
    """Give an API server and a store."""
    return World(virtual_time)
