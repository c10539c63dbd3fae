"""A worker's world for the engine's tests: virtual time, ports in memory, an observer that remembers."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from background_tasks.domain.model import (
    Cadence,
    Fence,
    Outcome,
    Past,
    Policy,
    RunRecord,
    Schedule,
    SkipReason,
    Switches,
    Task,
    TaskUid,
)
from background_tasks.engine.clock import SystemClock
from background_tasks.engine.scheduler import Binding, Scheduler
from background_tasks.errors import Superseded, Unavailable
from background_tasks.ports import Refusal
from background_tasks.testing.virtual_time import VirtualTime


@dataclass
class Ledger:
    """A ledger in memory that can be away, and can have seen a newer fence."""

    pasts: dict[TaskUid, Past] = field(default_factory=dict)
    runs: list[RunRecord] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    claims: set[tuple[TaskUid, float]] = field(default_factory=set)
    away: bool = False
    newest_epoch: int = 0

    def _answer(self, call: str) -> None:
        self.calls.append(call)
        if self.away:
            raise Unavailable("the ledger is away")

    async def load(self, uids: Iterable[TaskUid]) -> Mapping[TaskUid, Past]:
        """Read what is there."""
        self._answer("load")
        return {uid: self.pasts[uid] for uid in uids if uid in self.pasts}

    async def claim(self, task: Task, scheduled_for: float, fence: Fence | None) -> bool:
        """Claim once."""
        self._answer("claim")
        new = (task.uid, scheduled_for) not in self.claims
        self.claims.add((task.uid, scheduled_for))
        return new

    async def record(self, task: Task, past: Past | None, run: RunRecord | None, *, fence: Fence | None = None) -> None:
        """Keep it, unless a newer fence was seen."""
        self._answer("record")
        if fence is not None and fence.epoch < self.newest_epoch:
            raise Superseded("a newer fence was seen")
        if past is not None:
            self.pasts[task.uid] = past
        if run is not None:
            self.runs.append(run)

    async def forget(self, uid: TaskUid) -> None:
        """Drop a task."""
        self._answer("forget")
        self.pasts.pop(uid, None)


@dataclass
class Sink:
    """Statuses as they were shown."""

    shown: list[tuple[TaskUid, Mapping[str, Any]]] = field(default_factory=list)
    withdrawn: list[TaskUid] = field(default_factory=list)
    away: bool = False

    async def publish(self, uid: TaskUid, status: Mapping[str, object]) -> None:
        """Show."""
        if self.away:
            raise Unavailable("the sink is away")
        self.shown.append((uid, status))

    async def withdraw(self, uid: TaskUid) -> None:
        """Forget."""
        self.withdrawn.append(uid)


@dataclass
class Watcher:
    """An observer that remembers."""

    starts: list[tuple[str, float]] = field(default_factory=list)
    runs: list[RunRecord] = field(default_factory=list)
    skips: list[tuple[str, float, SkipReason]] = field(default_factory=list)
    blocks: list[tuple[str, float, str]] = field(default_factory=list)
    armed_count: int = 0

    def armed(self, count: int) -> None:
        """Remember how many are filed."""
        self.armed_count = count

    def started(self, task: Task, run_id: str, scheduled_for: float, lateness: float) -> None:
        """Remember a start."""
        self.starts.append((task.name, scheduled_for))

    def ended(self, task: Task, run: RunRecord) -> None:
        """Remember a run."""
        self.runs.append(run)

    def skipped(self, task: Task, scheduled_for: float, reason: SkipReason) -> None:
        """Remember a skip."""
        self.skips.append((task.name, scheduled_for, reason))

    def blocked(self, task: str, seconds: float, stack: str) -> None:
        """Remember a block."""
        self.blocks.append((task, seconds, stack))

    def slots_held(self, count: int) -> None:
        """Not the engine's to say."""

    def lease_renewed(self, seconds: float, ok: bool) -> None:
        """Not the engine's to say."""

    def outcomes(self) -> list[Outcome]:
        """List how runs ended."""
        return [run.outcome for run in self.runs]


@dataclass
class Holder:
    """Holdings that a test gives and takes."""

    fences: dict[int, Fence] = field(default_factory=dict)

    def fence(self, slot: int) -> Fence | None:
        """Return what is held."""
        return self.fences.get(slot)


type Body = Callable[[Any], Awaitable[object]]


class World:
    """One worker on virtual time. `now` counts from the start of the test; tasks are made by `task`."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.began_at = clock.wall()
        self.ledger, self.sink, self.watcher, self.holder = Ledger(), Sink(), Watcher(), Holder()
        self.bodies: dict[str, Binding | Refusal] = {}
        self.scheduler: Scheduler

    @property
    def now(self) -> float:
        """Seconds since the test began; of virtual time exactly."""
        return self.clock.now if isinstance(self.clock, VirtualTime) else self.clock.wall() - self.began_at

    def task(
        self, body: Body | Binding | Refusal, cadence: Cadence, *, name: str = "default/it", **policy: Any
    ) -> Task:
        """Declare a task whose coroutine is `body`. Schedule fields (`jitter`, `initial_delay`) go to the schedule."""
        self.bodies[name] = body if isinstance(body, Binding | Refusal) else Binding(call=body)
        schedule = {key: policy.pop(key) for key in ("initial_delay", "jitter", "blackouts") if key in policy}
        switches = policy.pop("switches", Switches())
        declared = Policy(coroutine=name, schedule=Schedule(cadence=cadence, **schedule), **policy)
        return Task(uid=TaskUid(name), name=name, policy=declared, created_at=self.began_at, switches=switches)

    def bind(self, task: Task) -> Binding | Refusal:
        """Find the body."""
        return self.bodies[task.policy.coroutine]

    def run(self, story: Callable[["World"], Awaitable[None]], **options: Any) -> None:
        """Start a worker, tell the story, end the worker."""
        self.clock.run(self.live(story, **options))

    def make(self, **options: Any) -> Scheduler:
        """Make a scheduler on the running loop."""
        self.scheduler = Scheduler(
            clock=self.clock,
            bind=self.bind,
            ledger=self.ledger,
            sink=self.sink,
            observer=self.watcher,
            **{"worker": "w1", **options},
        )
        return self.scheduler

    async def live(self, story: Callable[["World"], Awaitable[None]], **options: Any) -> None:
        """Do the same on a loop that runs already."""
        self.make(**options)
        async with asyncio.TaskGroup() as group:
            life = group.create_task(self.scheduler.run())
            await story(self)
            life.cancel()

    def at(self, *offsets: float) -> list[float]:
        """Turn seconds since the test began into wall seconds."""
        return [self.began_at + offset for offset in offsets]


@pytest.fixture
def world(virtual_time: VirtualTime) -> World:
    """Give a worker's world."""
    return World(virtual_time)


@pytest.fixture
def real_world() -> World:
    """Give a worker's world on the machine's own clock, for what threads do."""
    return World(SystemClock())


async def _until(claim: Callable[[], object], message: str) -> None:
    for _ in range(1000):
        if claim():
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"not within ten seconds: {message}")


@pytest.fixture
def until() -> Callable[[Callable[[], object], str], Awaitable[None]]:
    """Give a way to wait for a condition, with a deadline."""
    return _until
