"""A supervisor that leads for ever: what it does with tasks that end, crash, or will not stop. Virtual time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from background_tasks.engine.supervisor import Supervisor
from background_tasks.errors import Refused
from background_tasks.testing.virtual_time import VirtualTime

type Work = Callable[[], Awaitable[object]]


def supervise(virtual_time: VirtualTime, seconds: float, **works: Work) -> list[str]:
    """Supervise works for a while; return the names of asyncio tasks that are left afterwards."""
    supervisor = Supervisor(virtual_time, None)

    async def story() -> list[str]:
        for name, work in works.items():
            supervisor.register_task(name, work)
        await supervisor.start()
        await supervisor.start()
        await asyncio.sleep(seconds)
        await supervisor.verify()
        await supervisor.shutdown()
        await supervisor.shutdown()
        return [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    return virtual_time.run(story())


class Crasher:
    """A task that holds for some time, then raises."""

    def __init__(self, clock: VirtualTime, error: BaseException, holds: Callable[[int], float] = lambda _: 0.0) -> None:
        self.clock, self.error, self.holds = clock, error, holds
        self.starts: list[float] = []
        self.ends: list[float] = []

    async def __call__(self) -> None:
        """Hold, then raise."""
        self.starts.append(self.clock.now)
        await asyncio.sleep(self.holds(len(self.starts)))
        self.ends.append(self.clock.now)
        raise self.error

    @property
    def waits(self) -> list[float]:
        """Seconds between each end and the next start."""
        return [start - end for start, end in zip(self.starts[1:], self.ends, strict=False)]


def test_a_task_that_crashes_is_restarted_with_a_backoff_that_doubles_to_a_minute(virtual_time: VirtualTime) -> None:
    """Full jitter: each wait is drawn below 1, 2, 4 ... 60, 60 s."""
    crasher = Crasher(virtual_time, ValueError("no"))
    supervise(virtual_time, 600, crasher=crasher)
    ceilings = [min(60, 2**number) for number in range(len(crasher.waits))]
    assert len(ceilings) > 10
    assert all(0 <= wait <= ceiling for wait, ceiling in zip(crasher.waits, ceilings, strict=True))
    assert max(crasher.waits) > 16


def test_the_backoff_begins_anew_after_a_task_held_for_five_minutes(virtual_time: VirtualTime) -> None:
    """A task that crashes once a day waits a second, not a minute."""
    crasher = Crasher(virtual_time, ValueError("no"), lambda number: 301 if number > 8 else 0)
    supervise(virtual_time, 3000, crasher=crasher)
    assert crasher.waits[8:]
    assert all(wait <= 1 for wait in crasher.waits[8:])


def test_a_task_that_ends_by_itself_starts_again_after_a_second(virtual_time: VirtualTime) -> None:
    """A supervised task is meant to live; an end is not a crash."""
    starts: list[float] = []

    async def work() -> None:
        starts.append(virtual_time.now)

    supervise(virtual_time, 3.5, work=work)
    assert starts == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), BaseException("odd"), asyncio.CancelledError(), GeneratorExit()],
    ids=["exit", "base exception", "a cancellation of its own making", "generator exit"],
)
def test_whatever_a_task_raises_its_neighbour_lives(
    virtual_time: VirtualTime, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    """The crash is logged with the task's name, and the task starts again."""
    crasher, lives = Crasher(virtual_time, error), Crasher(virtual_time, ValueError(), lambda _: 1000)
    with caplog.at_level(logging.ERROR):
        supervise(virtual_time, 100, crasher=crasher, lives=lives)
    assert (len(crasher.starts) > 2, lives.starts, lives.ends) == (True, [0], [])
    assert "supervised task crasher crashed" in caplog.text


def test_shutdown_cancels_waits_and_leaves_nothing_behind(virtual_time: VirtualTime) -> None:
    """What a task does while it is cancelled is waited for."""
    cleaned: list[float] = []

    async def careful() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(2)
            cleaned.append(virtual_time.now)

    assert supervise(virtual_time, 10, careful=careful) == []
    assert cleaned == [12]


def test_a_task_that_swallows_its_cancellation_is_cancelled_again(virtual_time: VirtualTime) -> None:
    """It stops at the second or third asking."""
    asked: list[float] = []

    async def stubborn() -> None:
        while len(asked) < 3:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                asked.append(virtual_time.now)
        raise asyncio.CancelledError

    assert supervise(virtual_time, 10, stubborn=stubborn) == []
    assert asked == [10, 13, 16]


def test_a_stopped_supervisor_starts_again(virtual_time: VirtualTime) -> None:
    """Tasks begin anew, and one registered while it runs begins at once."""
    supervisor, starts = Supervisor(virtual_time, None), []

    async def work() -> None:
        starts.append(virtual_time.now)
        await asyncio.sleep(1000)

    async def story() -> None:
        await supervisor.shutdown()
        for _ in range(2):
            await supervisor.start()
            if not starts:
                supervisor.register_task("work", work)
            await asyncio.sleep(5)
            await supervisor.shutdown()

    virtual_time.run(story())
    assert starts == [0, 5]


def test_a_name_is_registered_once(virtual_time: VirtualTime) -> None:
    """The sentence names the task and the fix, also for what is no factory."""
    supervisor = Supervisor(virtual_time, None)
    supervisor.register_task("work", lambda: asyncio.sleep(0))
    with pytest.raises(Refused, match="'work' is registered already; give another name"):
        supervisor.register_task("work", lambda: asyncio.sleep(0))
    with pytest.raises(Refused, match="'odd': 7 is not a function that returns a coroutine"):
        supervisor.register_task("odd", 7)  # type: ignore[arg-type]
