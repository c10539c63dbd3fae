"""Whose right something is written by: tenures that follow one another, tasks that move from pool to pool and back."""

import asyncio
from typing import Any

import pytest

from background_tasks.domain.model import Fence, Past, TaskUid
from background_tasks.errors import NotLeader, Superseded, Unavailable

A = TaskUid("a")
OURS, THEIRS = "realm-of-p", "realm-of-q"


def fence(epoch: int, realm: str = OURS) -> Fence:
    """A right to act."""
    return Fence(realm=realm, slot=3, epoch=epoch)


def shown(held: Fence) -> dict[str, Any]:
    """What the engine shows of a singleton."""
    ready = {"type": "Ready", "status": "True", "reason": "Armed", "lastTransitionTime": "t0"}
    return {"conditions": [ready], "slot": 3, "fence": str(held), "worker": "w"}


async def holds(asked: Fence) -> None:
    """The slot table says that any fence of our own realm holds."""
    if asked.realm != OURS:
        raise NotLeader(f"slot {asked.slot}: the slot table was made anew")


def test_a_past_of_an_earlier_tenure_is_not_written_by_the_right_of_a_later_one(cluster: Any) -> None:
    """A worker was cut off, another one ran the task, and the first holds its slot again: what it still had waits by
    the right under which it came to be, also when a status of the new tenure joins it."""
    task = cluster.task("a")

    async def story() -> None:
        await cluster.store.load([A])
        cluster.away()
        await cluster.store.record(task, Past(fired_at=10.0), None, fence=fence(1))
        await asyncio.sleep(60)
        cluster.api.touch("a", fence=str(fence(2)), ledger={"past": {"fired_at": 500.0}})
        await cluster.store.publish(A, shown(fence(3)))
        cluster.api.outage = None
        async with cluster.store.hurried([A]):
            pass
        assert await cluster.store.load([A]) == {A: Past(fired_at=500.0)}
        await cluster.store.record(task, Past(fired_at=501.0), None, fence=fence(3))

    cluster.run(story)


def test_a_past_of_an_earlier_tenure_is_written_where_nobody_came_between(cluster: Any) -> None:
    """The API server was away for all: the run that ended meanwhile is not run again."""
    task = cluster.task("a")

    async def story() -> None:
        await cluster.store.load([A])
        cluster.away()
        await cluster.store.record(task, Past(fired_at=10.0), None, fence=fence(1))
        await asyncio.sleep(60)
        await cluster.store.publish(A, shown(fence(2)))
        cluster.api.outage = None
        async with cluster.store.hurried([A]):
            pass
        assert await cluster.store.load([A]) == {A: Past(fired_at=10.0)}

    cluster.run(story)


def moved(cluster: Any, pool: str, **status: Any) -> None:
    """Somebody edits `spec.poolRef.name`."""
    cluster.api.bodies["a"]["spec"] = {"poolRef": {"name": pool}}
    cluster.api.touch("a", **status)


def test_a_task_that_comes_back_from_another_pool_is_written_again(cluster: Any) -> None:
    """Two pools have two slot tables, and neither is the newer one: the table of the pool that it names now counts."""
    task = cluster.task("a", 3600)
    cluster.store = cluster.another(verify=holds)

    async def story() -> None:
        await cluster.store.load([A])
        await cluster.store.record(task, Past(failures=1), None, fence=fence(7))
        moved(cluster, "q", fence=str(fence(2, THEIRS)), ledger={"past": {"failures": 2}, "realms": [OURS, THEIRS]})
        moved(cluster, "p")
        assert await cluster.store.load([A]) == {A: Past(failures=2)}
        for failures in (3, 4):
            await cluster.store.record(task, Past(failures=failures), None, fence=fence(7))

    cluster.run(story)
    ledger = cluster.status("a")["ledger"]
    assert (ledger["past"], ledger["realms"]) == ({"failures": 4}, [THEIRS, OURS])


def test_nothing_is_written_to_a_task_that_went_to_another_pool(cluster: Any) -> None:
    """Before its new workers wrote anything, and although our slot is held: it is as good as gone."""
    rare, once = cluster.task("a", 3600), cluster.once("a")
    cluster.store = cluster.another(verify=holds)

    async def story() -> None:
        await cluster.store.load([A])
        moved(cluster, "q")
        await cluster.store.record(rare, Past(failures=1), None, fence=fence(7))
        await cluster.store.publish(A, shown(fence(7)))
        assert not await cluster.store.claim(once, 60.0, fence(7))
        await asyncio.sleep(60)

    cluster.run(story)
    assert (cluster.api.writes, cluster.said) == ([], [])


def test_a_slot_table_that_does_not_answer_decides_nothing(cluster: Any) -> None:
    """A past that may be written is not dropped because the table could not be read just then."""
    task = cluster.task("a", 3600)
    cluster.api.touch("a", fence=str(fence(9, THEIRS)), ledger={"realms": [THEIRS]})
    silent = [True]

    async def verify(asked: Fence) -> None:
        if silent:
            raise NotLeader("slot 3: the slot table cannot be read: no answer") from TimeoutError()

    async def story() -> None:
        await cluster.store.load([A])
        with pytest.raises(Unavailable, match="the slot table cannot be read"):
            await cluster.store.record(task, Past(failures=1), None, fence=fence(1))
        silent.clear()
        await cluster.store.record(task, Past(failures=1), None, fence=fence(1))

    cluster.store = cluster.another(verify=verify)
    cluster.run(story)
    assert cluster.status("a")["ledger"]["past"] == {"failures": 1}


def test_a_realm_that_is_over_stays_so(cluster: Any) -> None:
    """The slot table of the same pool was made anew, and says so."""
    task = cluster.task("a", 3600)
    cluster.api.touch("a", fence=str(fence(1)), ledger={"realms": [THEIRS, OURS]})
    cluster.store = cluster.another(verify=holds)

    async def story() -> None:
        await cluster.store.load([A])
        with pytest.raises(Superseded, match="the slot table was made anew"):
            await cluster.store.record(task, Past(failures=1), None, fence=fence(9, THEIRS))

    cluster.run(story)
    assert cluster.api.writes == []


@pytest.mark.parametrize("edited", [2**63 - 1, -1, True, "many"])
def test_counts_that_somebody_edited_do_not_make_a_status_unwritable(cluster: Any, edited: object) -> None:
    """An API server takes no number beyond 64 bits: what cannot have been counted is not counted on."""
    cluster.task("a", 3600)
    cluster.api.touch("a", runs={"succeeded": edited, "failed": 2})

    async def story() -> None:
        await cluster.store.load([A])
        await cluster.store.publish(A, {**shown(fence(1)), "runs": {"succeeded": 5, "failed": 1}})
        await asyncio.sleep(1)

    cluster.run(story)
    assert cluster.status("a")["runs"] == {"succeeded": 5, "failed": 3, "skipped": 0}


def test_what_no_right_was_given_for_is_not_taken_for_stored(cluster: Any) -> None:
    """Whoever records a rare task is told, and the past is written once somebody has mended the Role."""
    rare = cluster.task("a", 3600)

    async def story() -> None:
        await cluster.store.load([A])
        cluster.api.forbidden = {"a"}
        with pytest.raises(Unavailable, match="cannot patch a"):
            await cluster.store.record(rare, Past(failures=1), None, fence=fence(1))
        assert cluster.api.writes == []
        cluster.api.forbidden = set()
        await asyncio.sleep(40)

    cluster.run(story)
    assert cluster.status("a")["ledger"]["past"] == {"failures": 1}
    assert cluster.said == ["a status is not written, it is tried again in 30 s: cannot patch a"]


@pytest.mark.parametrize("refused_before", [False, True])
def test_a_release_waits_for_what_no_right_was_given_for(cluster: Any, *, refused_before: bool) -> None:
    """As it does while the API server is away: not hastily, and it ends soon after the Role was mended."""
    often = cluster.task("a")

    async def story() -> None:
        await cluster.store.load([A])
        cluster.api.forbidden = {"a"}
        await cluster.store.record(often, Past(fired_at=7.0), None, fence=fence(1))
        await asyncio.sleep(40 if refused_before else 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(8), cluster.store.hurried([A]):
                pass
        asked = cluster.api.asked
        async with asyncio.timeout(8), cluster.store.hurried([A]):
            cluster.api.forbidden = set()
        assert asked <= 4

    cluster.run(story)
    assert cluster.status("a")["ledger"]["past"] == {"fired_at": 7.0}


def test_a_release_does_not_wait_for_a_status_that_is_refused_for_what_it_is(cluster: Any) -> None:
    """Neither after it was refused for lack of rights: the newest answer counts."""
    often = cluster.task("a")

    async def story() -> None:
        await cluster.store.load([A])
        cluster.api.forbidden = {"a"}
        await cluster.store.record(often, Past(fired_at=7.0), None, fence=fence(1))
        await asyncio.sleep(40)
        cluster.api.forbidden, cluster.api.refused = set(), {"a"}
        async with asyncio.timeout(8), cluster.store.hurried([A]):
            pass

    cluster.run(story)
    assert cluster.api.writes == []
