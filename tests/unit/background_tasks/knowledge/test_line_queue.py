"""What a full queue drops, and when a batch is ready."""

import asyncio

from background_tasks.knowledge.line_queue import LineQueue
from background_tasks.services.log_sources import DEBUG, INFO, LogLine
from background_tasks.testing.virtual_time import VirtualTime

ERROR = 3


def line(number: int, level: int = INFO) -> LogLine:
    """Make a line."""
    return LogLine(position=str(number), message=f"line {number}", level=level)


async def taken(queue: LineQueue, most: int = 100, gather_s: float = 0.0) -> list[int]:
    """Take a batch and tell its numbers."""
    lines = await queue.take(most, 1 << 20, gather_s=gather_s, idle_s=5)
    return [int(found.position) for found in lines]


async def test_lines_leave_in_the_order_in_which_they_came() -> None:
    """Levels decide about dropping, never about order."""
    queue = LineQueue(10, 1 << 20)
    for number, level in enumerate([INFO, DEBUG, ERROR, DEBUG, INFO]):
        queue.put(line(number, level))

    assert await taken(queue) == [0, 1, 2, 3, 4]


async def test_debug_goes_first_and_the_oldest_among_equals() -> None:
    """A full queue keeps what matters more, then what is newer."""
    queue = LineQueue(3, 1 << 20)
    for number, level in enumerate([DEBUG, INFO, ERROR, INFO, INFO, DEBUG]):
        queue.put(line(number, level))

    assert queue.take_dropped() == 3
    assert await taken(queue) == [2, 3, 4]
    assert queue.take_dropped() == 0


async def test_bytes_are_bounded_too() -> None:
    """Few long lines count as many short ones; one line always fits."""
    queue = LineQueue(1_000, 10_000)
    for number in range(5):
        queue.put(LogLine(position=str(number), message="x" * 9_000))

    assert await taken(queue) == [4]


def test_a_batch_waits_for_company_as_long_as_it_was_told(virtual_time: VirtualTime) -> None:
    """A full batch goes at once, a part of one after the gathering time, nothing after the idle time."""

    async def story() -> list[tuple[int, float]]:
        queue = LineQueue(1_000, 1 << 20)
        loop = asyncio.get_running_loop()
        for delay in (1.0, 1.5):
            loop.call_later(delay, queue.put, line(1))
        for _ in range(3):
            loop.call_later(15.0, queue.put, line(1))
        return [(len(await taken(queue, most=3, gather_s=2.0)), virtual_time.now) for _ in range(4)]

    assert virtual_time.run(story()) == [(2, 3.0), (0, 8.0), (0, 13.0), (3, 15.0)]


def test_a_recording_waits_for_room(virtual_time: VirtualTime) -> None:
    """A source that can wait loses nothing in a full queue."""

    async def story() -> int:
        queue = LineQueue(2, 1 << 20)
        async with asyncio.TaskGroup() as group:
            group.create_task(put_all(queue))
            numbers: list[int] = []
            while len(numbers) < 10:
                numbers += await taken(queue, most=1)
        assert numbers == list(range(10))
        return queue.take_dropped()

    assert virtual_time.run(story()) == 0


async def put_all(queue: LineQueue) -> None:
    """File ten lines, each when there is room."""
    for number in range(10):
        await queue.put_when_room(line(number))


async def test_a_closed_queue_gives_the_rest_and_then_nothing() -> None:
    """Closing ends the waiting, not the lines."""
    queue = LineQueue(10, 1 << 20)
    queue.put(line(1))
    queue.close()

    assert [await taken(queue, gather_s=60), await taken(queue)] == [[1], []]
