"""The plain scheduler: what its users may rely on, under virtual time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from background_tasks import BackgroundScheduler
from background_tasks.authoring import current_run
from background_tasks.errors import Refused
from background_tasks.testing import VirtualTime

type Work = Callable[[], Awaitable[None]]


class Log:
    """Work that notes when it starts, takes some time, and may fail."""

    def __init__(self, clock: VirtualTime) -> None:
        self.clock = clock
        self.starts: list[float] = []

    def work(self, *, takes: float = 0, fails: bool = False) -> Work:
        """Make a coroutine function."""

        async def work() -> None:
            self.starts.append(self.clock.now)
            await asyncio.sleep(takes)
            if fails:
                raise ValueError("this run fails")

        return work


@pytest.fixture
def scheduler(virtual_time: VirtualTime) -> Iterator[BackgroundScheduler]:
    """A scheduler on virtual time, stopped at the end."""
    made = BackgroundScheduler(clock=virtual_time)
    yield made
    virtual_time.run(made.stop())


@pytest.fixture
def log(virtual_time: VirtualTime) -> Log:
    """Notes of one test."""
    return Log(virtual_time)


def test_the_interval_counts_from_the_end_of_a_run(
    virtual_time: VirtualTime, scheduler: BackgroundScheduler, log: Log
) -> None:
    """The first run comes after the initial delay, the next one interval after its end."""
    scheduler.register("digest", log.work(takes=10), interval=300, initial_delay=5)
    virtual_time.run(scheduler.start())
    virtual_time.advance(1000)
    assert log.starts == pytest.approx([5, 315, 625, 935])


def test_starting_does_not_block_and_twice_is_once(
    virtual_time: VirtualTime, scheduler: BackgroundScheduler, log: Log
) -> None:
    """`start` returns before anything has run, and a second one changes nothing."""
    scheduler.register("digest", log.work(), interval=60)

    async def start_twice() -> None:
        await scheduler.start()
        await scheduler.start()

    virtual_time.run(start_twice())
    assert virtual_time.now == 0
    virtual_time.advance(120)
    assert log.starts == pytest.approx([0, 60, 120])


def test_a_failing_task_stops_neither_itself_nor_another(
    virtual_time: VirtualTime, scheduler: BackgroundScheduler, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that raises is logged; the task runs again, and so does its neighbour."""
    bad, good = Log(virtual_time), Log(virtual_time)
    scheduler.register("bad", bad.work(fails=True), interval=60)
    scheduler.register("good", good.work(), interval=60)
    virtual_time.run(scheduler.start())
    virtual_time.advance(60)
    assert len(bad.starts) == len(good.starts) == 2
    assert "this run fails" in capsys.readouterr().out


def test_arguments_are_handed_over(virtual_time: VirtualTime, scheduler: BackgroundScheduler) -> None:
    """`args` and `kwargs` reach the coroutine as they were given."""
    got: list[Any] = []

    async def work(*args: object, **kwargs: object) -> None:
        got.append((args, kwargs))

    scheduler.register("work", work, 60, args=("redis",), kwargs={"limit": 3})
    virtual_time.run(scheduler.start())
    virtual_time.advance(0)
    assert got == [(("redis",), {"limit": 3})]


def test_stop_cancels_waits_and_allows_a_new_start(virtual_time: VirtualTime, scheduler: BackgroundScheduler) -> None:
    """When `stop` returns nothing runs; a new start begins anew."""
    story: list[str] = []

    async def work() -> None:
        story.append("began")
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.5)
            story.append("cleaned up")

    scheduler.register("work", work, interval=60)
    virtual_time.run(scheduler.start())
    virtual_time.advance(10)
    virtual_time.run(scheduler.stop())
    assert story == ["began", "cleaned up"]
    virtual_time.advance(1000)
    assert story == ["began", "cleaned up"]
    virtual_time.run(scheduler.start())
    virtual_time.advance(1)
    assert story == ["began", "cleaned up", "began"]


def test_stopping_what_never_ran_is_fine(virtual_time: VirtualTime, scheduler: BackgroundScheduler) -> None:
    """`stop` before `start`, and twice, do nothing."""
    virtual_time.run(scheduler.stop())
    virtual_time.run(scheduler.start())
    virtual_time.run(scheduler.stop())
    virtual_time.run(scheduler.stop())


def test_a_task_may_be_registered_while_it_runs(
    virtual_time: VirtualTime, scheduler: BackgroundScheduler, log: Log
) -> None:
    """Its initial delay counts from its registration."""
    virtual_time.run(scheduler.start())
    virtual_time.advance(100)

    async def register() -> None:
        scheduler.register("late", log.work(), interval=60, initial_delay=7)

    virtual_time.run(register())
    virtual_time.advance(10)
    assert log.starts == pytest.approx([107])


def test_a_run_knows_its_context(virtual_time: VirtualTime, scheduler: BackgroundScheduler) -> None:
    """`current_run()` names the task, and there is no fence outside a pool."""
    seen: list[Any] = []

    async def work() -> None:
        run = current_run()
        assert run is not None
        seen.append((run.task.name, run.fence, run.clock))
        await run.verify_leadership()

    scheduler.register("work", work, interval=60)
    virtual_time.run(scheduler.start())
    virtual_time.advance(0)
    assert seen == [("work", None, virtual_time)]


def test_a_name_belongs_to_one_function(scheduler: BackgroundScheduler, log: Log) -> None:
    """The same function again is once, with what was said last; another function is an error."""
    work = log.work()
    scheduler.register("work", work, interval=60)
    scheduler.register("work", work, interval=90)
    assert {name: task.interval for name, task in scheduler.tasks.items()} == {"work": 90}
    with pytest.raises(ValueError, match=r"'work'.*belongs to .*give .* another name"):
        scheduler.register("work", log.work(), interval=60)


def test_what_is_registered_can_be_read_and_not_changed(scheduler: BackgroundScheduler, log: Log) -> None:
    """`tasks` is a view."""
    scheduler.register("work", log.work(), 60, 5)
    tasks: Any = scheduler.tasks
    assert (tasks["work"].interval, tasks["work"].initial_delay) == (60, 5)
    with pytest.raises(TypeError):
        tasks["other"] = None


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        pytest.param({"interval": 0}, "interval is 0; give a positive", id="an interval of nothing"),
        pytest.param({"initial_delay": -1}, "initial_delay is -1; give 0", id="a negative delay"),
        pytest.param({"func": print}, "declare it with `async def`", id="a function that is not async"),
        pytest.param({"name": ""}, "not empty", id="no name"),
    ],
)
def test_bad_registrations_are_refused_in_words(
    scheduler: BackgroundScheduler, log: Log, more: dict[str, Any], sentence: str
) -> None:
    """The message names the value and the fix, and nothing is registered."""
    with pytest.raises(Refused) as refused:
        scheduler.register(**{"name": "work", "func": log.work(), "interval": 60, **more})
    assert sentence in str(refused.value)
    assert not scheduler.tasks
