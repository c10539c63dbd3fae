"""What happens when a task is due while it runs, and when tasks of one group are due together."""

import asyncio
from typing import Any

import pytest

from background_tasks.domain.model import Every, Interval, Missed, MissedPolicy, Outcome, Overlap, Past, TaskUid

IT = TaskUid("default/it")


def starts_of(world: Any, overlap: Overlap, lengths: list[float], seconds: float) -> list[float]:
    """Run a task every 10 s whose runs take these lengths; return when they started."""
    starts: list[float] = []

    async def body(ctx: Any) -> None:
        starts.append(world.now)
        await asyncio.sleep(lengths[len(starts) - 1])

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Every(seconds=10), overlap=overlap))
        await asyncio.sleep(seconds)

    world.run(story)
    return starts


@pytest.mark.parametrize(
    ("overlap", "starts"),
    [
        pytest.param(Overlap.SKIP, [0, 30, 40], id="Skip leaves out what is due meanwhile"),
        pytest.param(Overlap.QUEUE, [0, 25, 30, 40], id="Queue keeps one for afterwards"),
        pytest.param(Overlap.REPLACE, [0, 10, 20, 30, 40], id="Replace cancels the running one"),
        pytest.param(Overlap.ALLOW, [0, 10, 20, 30, 40], id="Allow runs beside it"),
    ],
)
def test_overlap(world: Any, overlap: Overlap, starts: list[float]) -> None:
    """The first run takes 25 s, the others one."""
    assert starts_of(world, overlap, [25, 1, 1, 1, 1, 1, 1], 45) == starts


def test_replace_starts_only_when_the_old_run_has_stopped(world: Any) -> None:
    """A cancelled run may clean up first; it ends as cancelled, and its fire time counts as served."""
    starts: list[float] = []

    async def body(ctx: Any) -> None:
        starts.append(world.now)
        try:
            await asyncio.sleep(15)
        finally:
            await asyncio.sleep(3)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Every(seconds=10), overlap=Overlap.REPLACE))
        await asyncio.sleep(22)

    world.run(story)
    assert starts == [0, 13]
    assert world.watcher.runs[0].message == "replaced by the next run"


def test_missed_fire_times_are_made_up_for_one_after_the_other(world: Any) -> None:
    """`missed: All` serves what a dead pool left, oldest first, never two at once."""
    served: list[tuple[float, float]] = []
    world.ledger.pasts[IT] = Past(fired_at=world.began_at - 400, ended_at=world.began_at - 400)

    async def body(ctx: Any) -> None:
        served.append((ctx.scheduled_for - world.began_at, world.now))
        await asyncio.sleep(7)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(body, Every(seconds=100), missed=Missed(policy=MissedPolicy.ALL)))
        await asyncio.sleep(110)

    world.run(story)
    assert served == [(-300, 0), (-200, 7), (-100, 14), (0, 21), (100, 100)]


@pytest.mark.parametrize("overlap", list(Overlap))
@pytest.mark.parametrize("length", [0.001, 0.01, 0.15])
def test_all_leaves_out_none_of_what_passed_a_moment_ago(world: Any, overlap: Overlap, length: float) -> None:
    """Ten fire times passed within two seconds, as at a start: each is served once, and so are those that fall due
    while they are made up for; the schedule goes on as usual after them."""
    served: list[int] = []
    world.ledger.pasts[IT] = Past(fired_at=world.began_at - 2, ended_at=world.began_at - 2)

    async def body(ctx: Any) -> None:
        served.append(round((ctx.scheduled_for - world.began_at) * 5))
        await asyncio.sleep(length)

    async def story(w: Any) -> None:
        missed = Missed(policy=MissedPolicy.ALL, limit=100)
        w.scheduler.upsert(w.task(body, Every(seconds=0.2), overlap=overlap, missed=missed))
        await asyncio.sleep(20.1)

    world.run(story)
    assert served == list(range(-9, 101))
    assert world.watcher.skips == []


@pytest.mark.parametrize(("overlap", "left_out"), [(Overlap.SKIP, [50]), (Overlap.QUEUE, [])])
def test_what_falls_due_while_missed_ones_are_made_up_for_is_owed_as_well(
    world: Any, overlap: Overlap, left_out: list[float]
) -> None:
    """Nothing is left out as overlapping until the schedule is caught up with; afterwards `overlap` holds again."""
    served: list[tuple[float, float]] = []
    lengths = iter([6, 6, 6, 1, 1, 25, 1])
    world.ledger.pasts[IT] = Past(fired_at=world.began_at - 20, ended_at=world.began_at - 20)

    async def body(ctx: Any) -> None:
        served.append((ctx.scheduled_for - world.began_at, world.now))
        await asyncio.sleep(next(lengths))

    async def story(w: Any) -> None:
        await asyncio.sleep(3)
        w.scheduler.upsert(w.task(body, Every(seconds=10), overlap=overlap, missed=Missed(policy=MissedPolicy.ALL)))
        await asyncio.sleep(50)

    world.run(story)
    assert served == [(-10, 3), (0, 9), (10, 15), (20, 21), (30, 30), (40, 40)]
    assert [fire - world.began_at for _, fire, _ in world.watcher.skips] == left_out


@pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.QUEUE])
def test_what_falls_due_while_a_missed_one_waits_for_its_group_is_owed_as_well(world: Any, overlap: Overlap) -> None:
    """The neighbour has the only place for 25 s; then each has its run, in order."""
    served: list[tuple[float, float]] = []
    world.ledger.pasts[IT] = Past(fired_at=world.began_at - 20, ended_at=world.began_at - 20)

    async def neighbour(ctx: Any) -> None:
        await asyncio.sleep(25)

    async def body(ctx: Any) -> None:
        served.append((ctx.scheduled_for - world.began_at, world.now))
        await asyncio.sleep(1)

    async def story(w: Any) -> None:
        w.scheduler.upsert(w.task(neighbour, Interval(seconds=1000), name="default/other", group="g"))
        await asyncio.sleep(3)
        missed = Missed(policy=MissedPolicy.ALL)
        w.scheduler.upsert(w.task(body, Every(seconds=10), overlap=overlap, missed=missed, group="g"))
        await asyncio.sleep(40)

    world.run(story)
    assert served == [(-10, 25), (0, 26), (10, 27), (20, 28), (30, 30), (40, 40)]
    assert world.watcher.skips == []


def going_at_most(world: Any, caps: dict[str, int] | None, count: int) -> tuple[int, list[str]]:
    """Let tasks of one group be due together; return how many went on at once, and their order."""
    going, most, order = 0, 0, []

    async def body(ctx: Any) -> None:
        nonlocal going, most
        going += 1
        most = max(most, going)
        order.append(ctx.task.name)
        await asyncio.sleep(5)
        going -= 1

    async def story(w: Any) -> None:
        for number in range(count):
            w.scheduler.upsert(w.task(body, Interval(seconds=1000), name=f"a/{number}", group="shared"))
        await asyncio.sleep(100)

    world.run(story, **({"groups": caps} if caps is not None else {}))
    return most, order


@pytest.mark.parametrize(("caps", "most"), [({"shared": 2}, 2), ({"shared": 9}, 5), (None, 1), ({"other": 7}, 1)])
def test_a_group_keeps_its_cap(world: Any, caps: dict[str, int] | None, most: int) -> None:
    """Exactly the cap goes on at once; a group that the pool does not list runs one at a time; all get their turn."""
    assert going_at_most(world, caps, 5) == (most, [f"a/{number}" for number in range(5)])


def test_a_task_that_waits_for_its_group_can_be_removed(world: Any) -> None:
    """The next in line takes its turn."""
    order: list[str] = []

    async def body(ctx: Any) -> None:
        order.append(ctx.task.name)
        await asyncio.sleep(5)

    async def story(w: Any) -> None:
        for number in range(3):
            w.scheduler.upsert(w.task(body, Interval(seconds=1000), name=f"a/{number}", group="shared"))
        await asyncio.sleep(1)
        w.scheduler.remove(TaskUid("a/1"))
        await asyncio.sleep(50)

    world.run(story)
    assert order == ["a/0", "a/2"]


def test_a_failed_run_gives_its_place_back(world: Any) -> None:
    """Outcomes do not matter to a group."""

    async def body(ctx: Any) -> None:
        raise ValueError("broken")

    async def story(w: Any) -> None:
        for number in range(3):
            w.scheduler.upsert(w.task(body, Interval(seconds=1000), name=f"a/{number}", group="shared"))
        await asyncio.sleep(50)

    world.run(story)
    assert world.watcher.outcomes() == [Outcome.FAILED] * 3
