"""One worker's life: parts that break end it whole, a stop goes in order, slots are answered when work has ended."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from background_tasks.domain.model import Fence
from background_tasks.engine.membership import Gained, Lost, SlotEvent, Surrender
from background_tasks.ports import SourceEvent, Synced
from background_tasks.telemetry.probes import Health
from background_tasks.worker.app import Worker

LAST_SLOT = 4
FENCE = Fence(realm="r", slot=3, epoch=1)


class Engine:
    """Stands for the scheduler: notes what it is told, in order."""

    def __init__(self, told: list[str], *, stuck: tuple[str, ...] = ()) -> None:
        self.told = told
        self.synced, self.ended, self._over = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._stuck = stuck

    async def run(self) -> None:
        """Run until drained."""
        await self._over.wait()

    async def follow(self, source: "Source") -> None:
        """Follow the source to its end."""
        async for _ in source.watch():
            self.synced.set()

    async def drain(self, timeout: float) -> tuple[str, ...]:  # noqa: ASYNC109  # the signature of the port
        """Note it and end."""
        self.told.append(f"drain {timeout:g}")
        self._over.set()
        return self._stuck

    def gained(self, slot: int, fence: Fence) -> None:
        """Note it."""
        self.told.append(f"gained {slot}")

    def lost(self, slot: int, reason: str) -> None:
        """Note it."""
        self.told.append(f"lost {slot}: {reason}")

    async def stopped(self, slot: int) -> None:
        """Nothing runs."""
        self.told.append(f"stopped {slot}")

    async def surrender(self, slot: int, timeout: float) -> None:  # noqa: ASYNC109  # the signature of the port
        """Note it."""
        self.told.append(f"surrender {slot}")

    def tasks(self) -> list[object]:
        """There are none."""
        return []


class Member:
    """Stands for the membership."""

    def __init__(self, told: list[str], hear: Callable[[SlotEvent], None]) -> None:
        self.told, self.hear = told, hear
        self.answered = asyncio.Event()
        """The last slot of the story was answered."""

    def start(self) -> None:
        """Note it."""
        self.told.append("join")

    def stand_down(self) -> None:
        """Note it."""
        self.told.append("stand down")

    def stop(self, timeout: float) -> None:
        """Note it."""
        self.told.append("leave")

    def stopped(self, slot: int, fence: Fence | None = None) -> None:
        """Note it."""
        self.told.append(f"answered {slot}")
        if slot == LAST_SLOT:
            self.answered.set()


class Source:
    """A source that tells it is synced, then waits, or breaks."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    async def watch(self) -> AsyncIterator[SourceEvent]:
        """Yield `Synced`, then wait for ever or raise."""
        yield Synced()
        if self._error is not None:
            raise self._error
        await asyncio.Event().wait()


def world(told: list[str], *, stuck: tuple[str, ...] = ()) -> tuple[Worker, Member, Health]:
    """Build a worker over stand-ins."""
    members: list[Member] = []
    health = Health(asyncio.get_running_loop().time)

    def join(hear: Callable[[SlotEvent], None]) -> Member:
        members.append(Member(told, hear))
        return members[0]

    worker = Worker(
        lambda _: Engine(told, stuck=stuck),  # type: ignore[arg-type, return-value]  # stand-ins
        join,  # type: ignore[arg-type]
        drain_timeout=60,
        health=health,
        die=lambda reason: told.append(f"die: {reason}"),
    )
    return worker, members[0], health


async def test_a_stop_goes_in_order() -> None:
    """Not ready, stand down, drain, leave: whoever depends on something stops before it."""
    told: list[str] = []
    worker, _, health = world(told)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(worker.run(Source()))
        await worker.scheduler.synced.wait()
        worker.stop()

    assert told == ["join", "stand down", "drain 60", "leave"]
    assert health.draining


async def test_a_broken_source_ends_the_worker() -> None:
    """What broke is raised, after runs were cancelled and the lease released: nobody is left half alive."""
    told: list[str] = []
    worker, _, _ = world(told)

    with pytest.raises(OSError, match="no watch left"):
        async with asyncio.timeout(5):
            await worker.run(Source(OSError("no watch left")))

    assert told == ["join", "stand down", "drain 0", "leave"]


async def test_slots_are_answered_when_their_work_has_ended() -> None:
    """Gained is served; surrendered and lost slots are answered after the engine has stopped their runs."""
    told: list[str] = []
    worker, member, _ = world(told)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(worker.run(Source()))
        await worker.scheduler.synced.wait()
        for event in (Gained(3, FENCE), Surrender(3, FENCE), Lost(4, "overdue", FENCE)):
            member.hear(event)
        await member.answered.wait()
        worker.stop()

    served = told[1 : told.index("stand down")]
    assert served.index("gained 3") < served.index("surrender 3") < served.index("answered 3")
    assert served.index("lost 4: overdue") < served.index("stopped 4") < served.index("answered 4")


async def test_a_run_that_ignores_its_cancellation_ends_the_process() -> None:
    """Releasing slots beside a run that still acts would let another worker act too."""
    told: list[str] = []
    worker, _, _ = world(told, stuck=("r1",))
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(worker.run(Source()))
        await worker.scheduler.synced.wait()
        worker.stop()

    assert told.index("die: runs ignore their cancellation: r1") < told.index("leave")
