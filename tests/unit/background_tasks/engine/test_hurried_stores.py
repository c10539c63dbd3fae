"""Stores that keep writes back are hurried where the engine must know that all is written."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

import pytest

from background_tasks.domain.model import Every, Fence, TaskUid
from background_tasks.domain.slots import slot_of

IT = TaskUid("default/it")
SLOT = slot_of(None, IT, 16)
FENCE = Fence(realm="r", slot=SLOT, epoch=1)
SLOW_S = 2.0


async def quick(ctx: Any) -> None:
    """Do nothing."""


@pytest.fixture
def hurries(world: Any) -> list[tuple[float, Collection[TaskUid] | None]]:
    """Let ledger and sink keep writes back; note until when they were hurried, and about whom."""
    noted: list[tuple[float, Collection[TaskUid] | None]] = []

    @asynccontextmanager
    async def hurried(uids: Collection[TaskUid] | None = None) -> AsyncIterator[None]:
        yield
        await asyncio.sleep(SLOW_S)
        noted.append((world.now, uids))

    world.ledger.hurried = world.sink.hurried = hurried
    return noted


def test_a_slot_is_given_up_after_the_pasts_of_its_tasks_were_written(world: Any, hurries: list[Any]) -> None:
    """Its next holder reads what was written, and nothing else."""

    async def story(w: Any) -> None:
        w.holder.fences[SLOT] = FENCE
        w.scheduler.gained(SLOT, FENCE)
        w.scheduler.upsert(w.task(quick, Every(seconds=1)))
        await asyncio.sleep(10)
        hurries.clear()
        await w.scheduler.surrender(SLOT, 5)
        assert w.now == 10 + SLOW_S

    world.run(story, holdings=world.holder)
    assert hurries == [(12.0, [IT])]


def test_a_drain_ends_after_ledger_and_sink_were_written(world: Any, hurries: list[Any]) -> None:
    """All of both, within the patience that was asked for."""

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(quick, Every(seconds=1)))
        await asyncio.sleep(10)
        hurries.clear()
        await w.scheduler.drain(5)
        assert w.now == 10 + 2 * SLOW_S

    world.run(story)
    assert [uids for _, uids in hurries] == [None, None]


def test_a_store_that_takes_too_long_is_not_waited_for_for_ever(
    world: Any, hurries: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """What is missing is told."""

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(quick, Every(seconds=1)))
        await asyncio.sleep(10)
        await w.scheduler.drain(5)
        assert w.now == 11

    world.run(story, patience=1.0)
    assert "not everything was written within 1 s" in caplog.text
