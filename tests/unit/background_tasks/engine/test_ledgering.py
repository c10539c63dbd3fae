"""What reaches the ledger: every long run, the newest of short ones, and nothing is lost while it is away."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from background_tasks.domain.model import Every, Guarantee, Interval, Outcome, Past, TaskUid
from background_tasks.engine.ledgering import LIGHT_PER_S
from background_tasks.errors import Unavailable

IT = TaskUid("default/it")


async def quick(ctx: Any) -> None:
    """Take a moment."""
    await asyncio.sleep(0.001)


def test_each_start_and_each_end_of_a_long_task_is_written(world: Any) -> None:
    """Should the worker die under a run, the ledger knows that it had begun."""

    async def body(ctx: Any) -> None:
        await asyncio.sleep(30)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Interval(seconds=60)))
        await asyncio.sleep(10)
        begun = w.ledger.pasts[IT]
        assert (begun.started_at, begun.ended_at, begun.fired_at) == (w.began_at, None, None)
        await asyncio.sleep(30)
        ended = w.ledger.pasts[IT]
        assert (ended.started_at, ended.ended_at, ended.fired_at) == (w.began_at, w.began_at + 30, w.began_at)

    world.run(story)


def test_runs_of_a_short_task_are_written_while_there_are_few(world: Any) -> None:
    """A handful of tasks costs little: each run is in the ledger."""

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(quick, Every(seconds=1)))
        await asyncio.sleep(20.5)

    world.run(story)
    assert len(world.ledger.runs) == len(world.watcher.runs) == 21


def test_runs_of_many_short_tasks_are_coalesced(world: Any) -> None:
    """Writes stay within the budget, every task gets its turn, and the newest past is written in the end."""
    count = 2000

    async def story(w: Any) -> None:
        for number in range(count):
            w.scheduler.upsert(w.task(quick, Every(seconds=1), name=f"a/{number}"))
        await asyncio.sleep(20.5)
        assert len(w.ledger.runs) <= LIGHT_PER_S * 22
        assert len(w.ledger.pasts) == count
        await w.scheduler.drain(0)

    world.run(story)
    last = Counter(past.fired_at for past in world.ledger.pasts.values())
    assert (len(world.watcher.runs), last) == (21 * count, Counter({world.began_at + 20: count}))


def test_a_ledger_that_refuses_is_quoted(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Why nothing can be written is in the log, with the remedy that the ledger named."""

    async def refuse(*args: Any, **options: Any) -> None:
        raise Unavailable("key bgt:p:runs is a string: DEL it")

    async def story(w: Any) -> None:
        w.ledger.record = refuse
        w.scheduler.upsert(w.task(quick, Every(seconds=1)))
        await asyncio.sleep(3)

    world.run(story)
    assert "key bgt:p:runs is a string: DEL it" in caplog.text


def test_no_run_waits_for_the_ledger(world: Any) -> None:
    """A ledger that takes seconds to answer delays nothing."""
    starts: list[float] = []

    async def body(ctx: Any) -> None:
        starts.append(world.now)

    async def slow(*args: Any, **options: Any) -> None:
        await asyncio.sleep(5)

    async def story(w: Any) -> None:
        w.ledger.record = slow
        w.scheduler.upsert(w.task(body, Every(seconds=1)))
        await asyncio.sleep(10.5)

    world.run(story)
    assert starts == list(range(11))


def test_nothing_is_lost_while_the_ledger_is_away(world: Any) -> None:
    """Tasks go on; what they did is written when it is back, in order, and it is not pestered meanwhile."""

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(quick, Interval(seconds=60)))
        await asyncio.sleep(30)
        w.ledger.away = True
        w.ledger.calls.clear()
        await asyncio.sleep(600)
        assert len(w.ledger.calls) < 120
        w.ledger.away = False
        await asyncio.sleep(20)

    world.run(story)
    assert [run.run_id for run in world.ledger.runs] == [run.run_id for run in world.watcher.runs]
    assert len(world.ledger.runs) == 11


def test_an_at_most_once_run_is_claimed_before_it_starts(world: Any) -> None:
    """The claim is written first; while the ledger is away nothing starts."""
    starts: list[tuple[float, int]] = []

    async def body(ctx: Any) -> None:
        starts.append((world.now, len(world.ledger.claims)))

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Every(seconds=100), guarantee=Guarantee.AT_MOST_ONCE))
        await asyncio.sleep(50)
        w.ledger.away = True
        await asyncio.sleep(80)
        assert starts == [(0, 1)]
        w.ledger.away = False
        await asyncio.sleep(30)

    world.run(story)
    ((_, claims),) = starts[1:]
    assert claims == 2


def test_a_fire_time_that_was_claimed_before_is_left_out(world: Any) -> None:
    """Somebody served it, or died serving it: at most once means that it is not done again."""
    starts: list[float] = []

    async def body(ctx: Any) -> None:
        starts.append(world.now)

    async def story(w: Any) -> None:
        w.ledger.claims.add((IT, w.began_at))
        w.scheduler.upsert(w.task(body, Every(seconds=100), guarantee=Guarantee.AT_MOST_ONCE))
        await asyncio.sleep(110)

    world.run(story)
    assert (starts, world.watcher.outcomes()) == ([100], [Outcome.SKIPPED, Outcome.SUCCEEDED])


def test_an_at_most_once_run_that_a_dead_worker_left_is_not_done_again(world: Any) -> None:
    """It is told as lost; the next fire time is the next one."""
    begun = Past(fired_at=world.began_at - 10, started_at=world.began_at - 10)
    world.ledger.pasts[IT] = begun

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(quick, Every(seconds=100), guarantee=Guarantee.AT_MOST_ONCE))
        await asyncio.sleep(50)

    world.run(story)
    assert [run.outcome for run in world.watcher.runs] == [Outcome.SUCCEEDED] * 0 + [Outcome.LOST, Outcome.SUCCEEDED]
    assert [run.scheduled_for for run in world.watcher.runs] == [world.began_at - 10, world.began_at]
    assert world.ledger.pasts[IT] != replace(begun)


def test_a_decision_without_a_run_is_remembered(world: Any) -> None:
    """Fire times left out do not come back with the next worker."""
    world.ledger.pasts[IT] = Past(fired_at=world.began_at - 450, ended_at=world.began_at - 450)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(quick, Every(seconds=100), initial_delay=0))
        await asyncio.sleep(50)

    world.run(story)
    assert world.ledger.pasts[IT].fired_at == world.began_at
