"""Virtual time: waiting costs nothing, order and instants are exact, and a wait for nothing is told."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import pytest

from background_tasks.testing import Stuck, VirtualTime
from background_tasks.testing.virtual_time import START


async def repeat(work: Callable[[], Awaitable[None]], *, interval: float, stop: asyncio.Event) -> None:
    """Run `work`, then wait: the smallest loop worth testing."""
    while not stop.is_set():
        await work()
        try:
            await asyncio.wait_for(stop.wait(), interval)
        except TimeoutError:
            continue


def test_a_stop_is_obeyed_between_runs(virtual_time: VirtualTime) -> None:
    """A stop wakes the loop at once; intervals count from the end of a run."""
    starts: list[float] = []

    async def work() -> None:
        starts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(10)

    async def story() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(7200, stop.set)
        await repeat(work, interval=3600, stop=stop)

    virtual_time.run(story())
    assert (starts, virtual_time.now) == ([0, 3610], 7200)


def test_a_year_takes_no_real_time(virtual_time: VirtualTime) -> None:
    """A sleep of a year ends within a second, exactly a year later on every clock."""
    before = time.perf_counter()
    virtual_time.run(asyncio.sleep(365 * 86400))
    assert time.perf_counter() - before < 1
    assert (virtual_time.now, virtual_time.wall() - START) == (365 * 86400, 365 * 86400)
    assert virtual_time.monotonic() == virtual_time.boottime() == 365 * 86400


def test_timers_fire_at_their_exact_instant(virtual_time: VirtualTime) -> None:
    """The clock stands at the timer's own number when it fires, whatever floats do to differences."""
    fired: list[tuple[float, float]] = []

    async def story() -> None:
        loop = asyncio.get_running_loop()

        def note(when: float) -> None:
            fired.append((when, loop.time()))

        for step in range(1, 1000):
            loop.call_at(step * 0.1, note, step * 0.1)
        await asyncio.sleep(200)

    virtual_time.run(story())
    assert len(fired) == 999
    assert all(when == at for when, at in fired)


def test_what_is_left_running_goes_on_with_the_next_advance(virtual_time: VirtualTime) -> None:
    """An asyncio task survives `run` and moves on as far as time is advanced, and no further."""
    seen: list[float] = []

    async def every_minute() -> None:
        while True:
            await asyncio.sleep(60)
            seen.append(virtual_time.now)

    task = virtual_time.loop.create_task(every_minute())
    virtual_time.advance(150)
    assert seen == [60, 120]
    virtual_time.advance(30)
    assert seen == [60, 120, 180]
    virtual_time.close()
    assert task.cancelled()


def test_advance_does_all_that_is_due_at_its_last_instant(virtual_time: VirtualTime) -> None:
    """A timer at the end, and what it sets off at once, are done; a timer just after it is not."""
    seen: list[str] = []
    loop = virtual_time.loop

    def last() -> None:
        seen.append("at the end")
        loop.call_soon(lambda: loop.call_later(0, lambda: seen.append("set off at the end")))

    loop.call_at(60.001, lambda: seen.append("after"))
    loop.call_at(60, last)
    virtual_time.advance(60)
    assert (seen, virtual_time.now) == (["at the end", "set off at the end"], 60)
    virtual_time.advance(0)
    assert seen == ["at the end", "set off at the end"]
    virtual_time.advance(1)
    assert (seen[-1], virtual_time.now) == ("after", 61)


def test_a_wait_for_nothing_is_told_instead_of_hanging() -> None:
    """A coroutine that waits for an event that nothing sets raises `Stuck`."""
    with VirtualTime(patience=0.01) as clock, pytest.raises(Stuck, match="no timer"):
        clock.run(asyncio.Event().wait())


def test_time_stands_still_while_a_thread_works(virtual_time: VirtualTime) -> None:
    """A thread that takes real time is waited for, so a virtual timeout does not overtake it."""

    def slow() -> str:
        return f"counted to {sum(1 for _ in range(500_000))}"

    async def story() -> str:
        async with asyncio.timeout(1):
            return await asyncio.to_thread(slow)

    assert virtual_time.run(story()) == "counted to 500000"
    assert virtual_time.now == 0


def test_a_thread_that_waits_for_virtual_time_is_overtaken() -> None:
    """After a patience the clock goes on, so a hung thread meets its timeout."""
    with VirtualTime(patience=0.01) as clock:
        let_go = threading.Event()

        async def story() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(30):
                    await asyncio.to_thread(let_go.wait, 5)
            let_go.set()

        clock.run(story())
        assert clock.now == 30


def test_the_wall_steps_and_timers_do_not(virtual_time: VirtualTime) -> None:
    """A wall step moves `wall` alone; a sleeping machine moves `wall` and `boottime`."""

    async def story() -> None:
        virtual_time.step_wall(-3600)
        await asyncio.sleep(10)
        virtual_time.sleep_machine(500)
        await asyncio.sleep(10)

    virtual_time.run(story())
    assert (virtual_time.monotonic(), virtual_time.boottime()) == (20, 520)
    assert virtual_time.wall() == START - 3600 + 520
    virtual_time.set_wall(START)
    assert (virtual_time.wall(), virtual_time.now) == (START, 20)


def test_a_stalled_loop_finds_its_timers_late(virtual_time: VirtualTime) -> None:
    """Code that blocks the loop makes timers late by as much as it blocked."""
    fired: list[float] = []

    async def story() -> None:
        asyncio.get_running_loop().call_later(1, lambda: fired.append(virtual_time.now))
        virtual_time.stall(5)
        await asyncio.sleep(0)

    virtual_time.run(story())
    virtual_time.advance(0)
    assert fired == [5]


def test_equal_seeds_draw_equal_numbers() -> None:
    """Chance is repeatable, and every draw lies in [0, 1)."""
    one, two, other = VirtualTime(seed=7), VirtualTime(seed=7), VirtualTime(seed=8)
    draws = [one.draw() for _ in range(100)]
    assert draws == [two.draw() for _ in range(100)] != [other.draw() for _ in range(100)]
    assert all(0 <= draw < 1 for draw in draws)


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_time_goes_forward_only(virtual_time: VirtualTime, seconds: float) -> None:
    """Going back, or to the end of time, is refused in words."""
    with pytest.raises(ValueError, match="forward"):
        virtual_time.advance(seconds)


async def test_an_async_test_is_told_to_be_a_plain_one(virtual_time: VirtualTime) -> None:
    """Inside another loop `run` refuses and says what to do."""
    with pytest.raises(RuntimeError, match="plain `def` test"):
        virtual_time.run(asyncio.sleep(1))
