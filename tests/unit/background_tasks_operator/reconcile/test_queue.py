"""The work queue: one hand per key, coalesced wishes, patience with failures. On virtual time."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from background_tasks.errors import Unavailable
from background_tasks.testing import VirtualTime
from background_tasks_operator.reconcile.queue import Again, Backoff, Pace, WorkQueue

type Handle = Callable[[str], Awaitable[Again | None]]


class Busy(Unavailable):
    """An API server that says when to come again."""

    retry_after = 30.0


def run(time: VirtualTime, queue: WorkQueue[str], seconds: float, story: Callable[[], object] = lambda: None) -> None:
    """Let the queue work for so long; `story` runs at its start."""

    async def scene() -> None:
        story()
        async with asyncio.TaskGroup() as group:
            working = group.create_task(queue.run())
            await asyncio.sleep(seconds)
            working.cancel()

    time.run(scene())


def wish(queue: WorkQueue[str], *keys: str, after: float = 0) -> WorkQueue[str]:
    """Wish for keys."""
    for key in keys:
        queue.add(key, after)
    return queue


def recorder(time: VirtualTime, *, takes: float = 0.0) -> tuple[list[tuple[str, float]], Handle]:
    """A handler that notes when it was called for what."""
    seen: list[tuple[str, float]] = []

    async def handle(key: str) -> None:
        seen.append((key, time.now))
        await asyncio.sleep(takes)

    return seen, handle


def test_many_wishes_for_a_key_become_one(virtual_time: VirtualTime) -> None:
    """What is wished for a hundred times before it is handled is handled once."""
    seen, handle = recorder(virtual_time)
    queue = WorkQueue(handle, clock=virtual_time)
    run(virtual_time, queue, 1, lambda: wish(queue, *["a"] * 100))
    assert seen == [("a", 0)]
    assert len(queue) == 0


def test_a_wish_during_the_handling_is_granted_after_it(virtual_time: VirtualTime) -> None:
    """A change that comes while a key is being handled is looked at, once, when the hand is free."""
    seen, handle = recorder(virtual_time, takes=5)
    queue = WorkQueue(handle, clock=virtual_time)

    def story() -> None:
        queue.add("a")
        loop = asyncio.get_running_loop()
        for at in (1, 2, 3):
            loop.call_later(at, queue.add, "a")

    run(virtual_time, queue, 20, story)
    assert seen == [("a", 0), ("a", 5)]


def test_keys_do_not_wait_for_one_another(virtual_time: VirtualTime) -> None:
    """A slow key holds up no other while a hand is free; more keys than hands wait their turn."""
    seen, handle = recorder(virtual_time, takes=10)
    queue = WorkQueue(handle, clock=virtual_time, hands=2)
    run(virtual_time, queue, 30, lambda: wish(queue, *"abc"))
    assert seen == [("a", 0), ("b", 0), ("c", 10)]


def test_the_earliest_wish_counts(virtual_time: VirtualTime) -> None:
    """A wish for later does not put an earlier one off, and an earlier one does not wait for it."""
    seen, handle = recorder(virtual_time)
    queue = WorkQueue(handle, clock=virtual_time)
    run(virtual_time, queue, 20, lambda: [wish(queue, "a", after=after) for after in (7, 3, 9)])
    assert seen == [("a", 3)]


def test_a_key_may_ask_to_be_handled_again(virtual_time: VirtualTime) -> None:
    """`Again` is no failure: it comes exactly then."""
    seen: list[float] = []

    async def handle(key: str) -> Again | None:
        seen.append(virtual_time.now)
        return Again(2.5) if len(seen) < 3 else None

    queue = WorkQueue(handle, clock=virtual_time)
    run(virtual_time, queue, 60, lambda: queue.add("a"))
    assert seen == [0, 2.5, 5]


def test_failures_wait_longer_and_longer_up_to_a_cap(virtual_time: VirtualTime) -> None:
    """Waits double, with jitter between half and the whole, and never pass the cap."""
    seen: list[float] = []

    async def handle(key: str) -> None:
        seen.append(virtual_time.now)
        raise Unavailable("down")

    queue = WorkQueue(handle, clock=virtual_time, backoff=Backoff(initial=1, factor=2, most=8))
    run(virtual_time, queue, 60, lambda: queue.add("a"))
    waits = [later - earlier for earlier, later in pairwise(seen)]
    wholes = [1, 2, 4, *[8] * len(waits)]
    assert len(waits) > 6
    assert all(whole / 2 <= wait <= whole for wait, whole in zip(waits, wholes, strict=False))
    assert queue.failing == 1


def test_a_success_ends_the_patience(virtual_time: VirtualTime) -> None:
    """After a success the next failure waits as briefly as the first."""
    outcomes = iter([False, False, False, True, False, True])
    seen: list[float] = []

    async def handle(key: str) -> Again | None:
        seen.append(virtual_time.now)
        if not next(outcomes):
            raise Unavailable("down")
        return Again(100) if len(seen) == 4 else None

    queue = WorkQueue(handle, clock=virtual_time, backoff=Backoff(initial=1, factor=10, most=1000))
    run(virtual_time, queue, 400, lambda: queue.add("a"))
    assert len(seen) == 6
    assert seen[5] - seen[4] <= 1
    assert queue.failing == 0


def test_a_server_that_says_when_to_come_again_is_obeyed(virtual_time: VirtualTime) -> None:
    """`retry_after` of an error is the shortest wait."""
    seen: list[float] = []

    async def handle(key: str) -> None:
        seen.append(virtual_time.now)
        if len(seen) == 1:
            raise Busy("too many requests")

    queue = WorkQueue(handle, clock=virtual_time)
    run(virtual_time, queue, 60, lambda: queue.add("a"))
    assert seen == [0, 30]


def test_a_defect_in_one_key_spares_its_neighbours(virtual_time: VirtualTime) -> None:
    """Whatever a handler raises, other keys go on and this one is tried again."""
    seen: Counter[str] = Counter()

    async def handle(key: str) -> None:
        seen[key] += 1
        if key == "bad":
            raise KeyError(key)

    queue = WorkQueue(handle, clock=virtual_time, backoff=Backoff(initial=1, most=1))
    run(virtual_time, queue, 5, lambda: wish(queue, "bad", "good"))
    assert seen["good"] == 1
    assert seen["bad"] > 3


def test_a_change_cuts_the_patience_short(virtual_time: VirtualTime) -> None:
    """A new wish for a failing key is granted at once: somebody may have repaired it."""
    seen: list[float] = []

    async def handle(key: str) -> None:
        seen.append(virtual_time.now)
        if len(seen) == 1:
            raise Unavailable("down")

    queue = WorkQueue(handle, clock=virtual_time, backoff=Backoff(initial=50, most=50))

    def story() -> None:
        queue.add("a")
        asyncio.get_running_loop().call_later(2, queue.add, "a")

    run(virtual_time, queue, 100, story)
    assert seen == [0, 2]


def test_the_pace_holds_over_all_keys(virtual_time: VirtualTime) -> None:
    """After a burst, keys are begun at the rate and not faster."""
    seen, handle = recorder(virtual_time)
    queue = WorkQueue(handle, clock=virtual_time, pace=Pace(rate=10, burst=5, now=virtual_time.monotonic))
    run(virtual_time, queue, 10, lambda: wish(queue, *map(str, range(25))))
    assert [at for _, at in seen[:5]] == [0] * 5
    assert seen[-1][1] == pytest.approx(2.0)


def test_lower_ranks_come_first_among_those_that_are_due(virtual_time: VirtualTime) -> None:
    """A key of a lower rank passes those that wait; one that is not due yet passes nobody."""
    seen, handle = recorder(virtual_time, takes=1)
    queue = WorkQueue(handle, clock=virtual_time, hands=1, rank=lambda key: key != "A")

    def story() -> None:
        wish(queue, "b", "c", "d")
        asyncio.get_running_loop().call_later(0.5, wish, queue, "A")

    run(virtual_time, queue, 10, story)
    assert [key for key, _ in seen] == ["b", "A", "c", "d"]


HUNDREDTHS = st.integers(0, 2000)


@given(
    wishes=st.lists(st.tuples(st.sampled_from("abc"), HUNDREDTHS, HUNDREDTHS), min_size=1, max_size=30),
    takes=st.integers(0, 300),
    fails=st.sets(st.integers(1, 20)),
    hands=st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_every_wish_is_granted_and_no_key_has_two_hands(
    wishes: list[tuple[str, int, int]], takes: int, fails: set[int], hands: int
) -> None:
    """Whatever is wished when: one hand per key, a handling begins after each wish, and none is made up."""
    begun: list[tuple[str, float]] = []
    busy: set[str] = set()
    with VirtualTime() as time:

        async def handle(key: str) -> None:
            assert key not in busy
            busy.add(key)
            begun.append((key, time.now))
            number = len(begun)
            await asyncio.sleep(takes / 100)
            busy.remove(key)
            if number in fails:
                raise Unavailable("down")

        queue = WorkQueue(handle, clock=time, hands=hands, backoff=Backoff(initial=0.1, most=1))
        run(time, queue, 500, lambda: [_wish(queue, *one) for one in wishes])
    assert len(queue) == queue.failing == 0
    assert all(any(key == seen and start >= at / 100 for seen, start in begun) for key, at, _ in wishes)
    assert len(begun) <= len(wishes) + len(fails)


def _wish(queue: WorkQueue[str], key: str, at: int, after: int) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(at / 100, queue.add, key, after / 100)
