"""Ledger and statuses in resources: few writes, in order, none lost, none over a newer holder's."""

import asyncio
from typing import Any

import pytest

from background_tasks.domain.model import Fence, Past, TaskUid
from background_tasks.errors import NotLeader, Refused, Superseded, Unavailable

A = TaskUid("a")
READY = {"conditions": [{"type": "Ready", "status": "True", "reason": "Armed", "lastTransitionTime": "t0"}]}


def fence(epoch: int, realm: str = "r1") -> Fence:
    """A right to act."""
    return Fence(realm=realm, slot=3, epoch=epoch)


def shown(held: Fence, **more: Any) -> dict[str, Any]:
    """What the engine shows of a singleton."""
    return {**READY, "slot": 3, "fence": str(held), "worker": "w", **more}


def test_a_task_that_runs_every_second_is_written_twice_a_minute(cluster: Any) -> None:
    """Past and status together; the first status at once."""
    task = cluster.task("a")

    async def story() -> None:
        await cluster.store.load([A])
        for second in range(126):
            await cluster.store.record(task, Past(fired_at=float(second)), None, fence=fence(1))
            if second % 30 == 0:
                await cluster.store.publish(A, shown(fence(1), n=second))
            await asyncio.sleep(1)

    cluster.run(story)
    assert [(round(at), status["n"]) for at, _, status in cluster.api.writes] == [
        (0, 0), (31, 30), (62, 60), (93, 90), (124, 120),
    ]  # fmt: skip
    assert cluster.status("a")["ledger"]["past"] == {"fired_at": 124.0}


def test_the_past_of_a_rare_run_is_written_before_record_returns(cluster: Any) -> None:
    """What is shown of the same run goes with it."""
    task = cluster.task("a", 3600)

    async def story() -> None:
        await cluster.store.load([A])
        async with asyncio.TaskGroup() as group:
            record = group.create_task(cluster.store.record(task, Past(ended_at=5.0), None, fence=fence(2)))
            await asyncio.sleep(0.01)
            await cluster.store.publish(A, shown(fence(2), lastRun={"outcome": "Succeeded"}))
            await record
        assert cluster.status("a")["ledger"]["past"] == {"ended_at": 5.0}

    cluster.run(story)
    assert len(cluster.api.writes) == 1
    assert cluster.status("a")["fence"] == "r1/3/2"


def test_a_change_overtakes_what_only_went_on(cluster: Any) -> None:
    """People see a task that stopped at once, however many wait to show their runs."""
    held = fence(1)
    tasks = [cluster.task(f"t{number}", 3600) for number in range(200)]
    stopped = {"conditions": [{"type": "Ready", "status": "False", "reason": "Suspended"}]}

    async def story() -> None:
        await cluster.store.load([task.uid for task in tasks])
        async with cluster.store.hurried():
            for task in tasks:
                await cluster.store.publish(task.uid, shown(held))
        cluster.api.writes.clear()
        for task in tasks:
            await cluster.store.publish(task.uid, shown(held, n=1))
        await asyncio.sleep(20)
        await cluster.store.publish(TaskUid("t199"), {**shown(held), **stopped})
        await asyncio.sleep(0.5)

    cluster.run(story)
    assert "t199" in [name for _, name, _ in cluster.api.writes]
    assert len(cluster.api.writes) < 140


def test_the_verdict_on_an_edit_is_written_at_once(cluster: Any) -> None:
    """Also where it is the same as before: whoever edited a task waits for `observedGeneration`."""
    cluster.task("a")
    armed = {"type": "Ready", "status": "True", "reason": "Armed"}

    async def story() -> None:
        await cluster.store.load([A])
        for generation in (1, 2):
            verdict = {**armed, "observedGeneration": generation}
            await cluster.store.publish(A, shown(fence(1), conditions=[verdict]))
            await asyncio.sleep(0.5)

    cluster.run(story)
    assert [status["conditions"][0]["observedGeneration"] for _, _, status in cluster.api.writes] == [1, 2]


def test_leaving_a_hurry_means_that_all_is_written(cluster: Any) -> None:
    """A slot that moves takes its pasts along, and only them."""
    ours, theirs = [cluster.task(f"o{n}") for n in range(50)], [cluster.task(f"t{n}") for n in range(50)]

    async def story() -> None:
        await cluster.store.load([task.uid for task in (*ours, *theirs)])
        for task in (*ours, *theirs):
            await cluster.store.record(task, Past(failures=1), None, fence=fence(1))
        await asyncio.sleep(20)
        cluster.api.writes.clear()
        for task in (*ours, *theirs):
            await cluster.store.record(task, Past(failures=2), None, fence=fence(1))
        async with cluster.store.hurried([task.uid for task in ours]):
            await cluster.store.record(ours[0], Past(failures=3), None, fence=fence(1))
        kept = [cluster.status(task.name.removeprefix("n/"))["ledger"]["past"]["failures"] for task in ours]
        assert kept == [3] + [2] * 49

    cluster.run(story)
    assert len([name for _, name, _ in cluster.api.writes if name.startswith("t")]) == 0


def test_nothing_is_lost_while_the_api_server_is_away(cluster: Any) -> None:
    """A rare run's past is told as not written; the latest of each is written when it is back, unhurried."""
    rare, often = cluster.task("a", 3600), cluster.task("b")

    async def story() -> None:
        await cluster.store.load([A, often.uid])
        cluster.away()
        with pytest.raises(Unavailable, match="no route"):
            await cluster.store.record(rare, Past(failures=1), None, fence=fence(1))
        for number in range(60):
            await cluster.store.record(often, Past(failures=number), None, fence=fence(1))
            await asyncio.sleep(1)
        assert cluster.api.writes == []
        cluster.api.outage = None
        async with cluster.store.hurried():
            pass

    cluster.run(story)
    pasts = [cluster.status(name)["ledger"]["past"] for name in ("a", "b")]
    assert (pasts, len(cluster.api.writes)) == ([{"failures": 1}, {"failures": 59}], 2)


def test_whoever_else_wrote_costs_one_reading(cluster: Any) -> None:
    """The operator's verdict stays where it is: it is not ours to write."""
    task = cluster.task("a", 3600)

    async def story() -> None:
        await cluster.store.load([A])
        cluster.api.touch("a", conditions=[{"type": "Accepted", "status": "True"}])
        reads = cluster.api.reads
        await cluster.store.record(task, Past(failures=1), None, fence=fence(1))
        await cluster.store.record(task, Past(failures=2), None, fence=fence(1))
        assert cluster.api.reads == reads + 1

    cluster.run(story)
    assert [status["conditions"] for _, _, status in cluster.api.writes] == [[], []]


def test_a_frequent_past_that_came_too_late_is_told_with_the_next(cluster: Any) -> None:
    """Nobody waits for it; the engine hears of the newer fence all the same, once."""
    task = cluster.task("a")

    async def story() -> None:
        await cluster.store.load([A])
        cluster.api.touch("a", fence=str(fence(9)), ledger={"past": {"failures": 7}})
        await cluster.store.record(task, Past(failures=1), None, fence=fence(8))
        await asyncio.sleep(1)
        with pytest.raises(Superseded, match="n/a: fence r1/3/8 came too late: its epoch is 9 by now"):
            await cluster.store.record(task, Past(failures=2), None, fence=fence(8))
        assert await cluster.store.load([A]) == {A: Past(failures=7)}
        async with cluster.store.hurried():
            await cluster.store.record(task, Past(failures=8), None, fence=fence(10))

    cluster.run(story)
    assert cluster.api.writes[0][2]["ledger"]["past"] == {"failures": 8}


def test_what_a_former_holder_has_still_to_show_is_dropped(cluster: Any) -> None:
    """The next holder's words stand; a status without any fence is nobody's."""

    async def story() -> None:
        await cluster.store.load([A])
        await cluster.store.publish(A, {**READY, "slot": 3})
        cluster.api.touch("a", fence=str(fence(9)), n="theirs")
        await cluster.store.publish(A, shown(fence(8), n="ours"))
        await asyncio.sleep(60)

    cluster.task("a")
    cluster.run(story)
    assert (cluster.api.writes, cluster.status("a")["n"]) == ([], "theirs")


@pytest.mark.parametrize(("holds", "written"), [(True, ["r1", "r2"]), (False, ["r1"])])
def test_the_slot_table_says_which_of_two_realms_is_the_newer(cluster: Any, holds: bool, written: list[str]) -> None:
    """A resource that has seen only one of them cannot."""
    task = cluster.task("a", 3600)
    cluster.api.touch("a", fence="r1/3/9", ledger={"realms": ["r1"]})

    async def verify(asked: Fence) -> None:
        if not holds:
            raise NotLeader("the slot table was made anew, realm r3")

    async def story() -> None:
        await cluster.store.load([A])
        if holds:
            await cluster.store.record(task, Past(failures=1), None, fence=fence(1, "r2"))
            return
        with pytest.raises(Superseded, match="the slot table was made anew, realm r3"):
            await cluster.store.record(task, Past(failures=1), None, fence=fence(1, "r2"))

    cluster.store = cluster.another(verify=verify)
    cluster.run(story)
    assert cluster.status("a")["ledger"]["realms"] == written


def test_a_claim_whose_answer_was_lost_is_still_ours(cluster: Any) -> None:
    """Asked again, it is found under our own fence: the fire time is served, not given up."""
    task = cluster.once("a")

    async def story() -> None:
        await cluster.store.load([A])
        cluster.api.swallows = 1
        with pytest.raises(Unavailable):
            await cluster.store.claim(task, 60.0, fence(4))
        assert await cluster.store.claim(task, 60.0, fence(4))
        assert not await cluster.store.claim(task, 60.0, fence(4))

    cluster.run(story)
    assert cluster.status("a")["ledger"]["claimed"] == [60.0]


def test_a_claim_whose_answer_was_lost_is_not_ours_if_a_newer_holder_came(cluster: Any) -> None:
    """Whoever claimed it: our fence is too old to act."""
    task = cluster.once("a")

    async def story() -> None:
        await cluster.store.load([A])
        cluster.api.swallows = 1
        with pytest.raises(Unavailable):
            await cluster.store.claim(task, 60.0, fence(4))
        cluster.api.touch("a", fence=str(fence(5)))
        with pytest.raises(Superseded):
            await cluster.store.claim(task, 60.0, fence(4))

    cluster.run(story)


def test_a_task_that_is_gone_or_made_anew_is_dropped_silently(cluster: Any) -> None:
    """Neither its status nor its past lands on its namesake."""
    gone, anew = cluster.task("gone", 3600), cluster.task("a", 3600)

    async def story() -> None:
        await cluster.store.load([gone.uid, A])
        del cluster.api.bodies["gone"]
        cluster.api.make("a", "another-uid")
        for task in (gone, anew):
            await cluster.store.record(task, Past(failures=1), None, fence=fence(1))
            await cluster.store.publish(task.uid, shown(fence(1)))
            assert not await cluster.store.claim(task, 60.0, fence(1))
        await asyncio.sleep(60)

    cluster.run(story)
    assert (cluster.api.writes, cluster.status("a"), cluster.said) == ([], {}, [])


def test_what_is_refused_takes_no_neighbour_down(cluster: Any) -> None:
    """It is told, kept, and written once somebody has mended it; nobody waits for it, and nothing is claimed."""
    bad, good, once = cluster.task("bad", 3600), cluster.task("good", 3600), cluster.once("once")

    async def story() -> None:
        await cluster.store.load([bad.uid, good.uid, once.uid])
        cluster.api.refused = {"bad", "once"}
        async with asyncio.timeout(5):
            async with cluster.store.hurried():
                await cluster.store.record(bad, Past(failures=1), None, fence=fence(1))
                await cluster.store.record(good, Past(failures=2), None, fence=fence(1))
        with pytest.raises(Unavailable, match="is forbidden"):
            await cluster.store.claim(once, 60.0, fence(1))
        cluster.api.refused = set()
        await asyncio.sleep(40)

    cluster.run(story)
    pasts = [cluster.status(name)["ledger"]["past"] for name in ("bad", "good")]
    assert pasts == [{"failures": 1}, {"failures": 2}]
    assert cluster.said == ["a status is not written, it is tried again in 30 s: bad is forbidden"]


def test_a_list_that_is_refused_is_asked_for_again(cluster: Any) -> None:
    """Not knowing is not the same as nothing: no task of the pool starts."""
    cluster.api.outage = Refused("backgroundtasks is forbidden")
    with pytest.raises(Unavailable, match="is forbidden"):
        cluster.clock.run(cluster.store.load([A]))


def test_a_withdrawn_task_is_written_no_more(cluster: Any) -> None:
    """Whoever waits for its past may go."""
    task = cluster.task("a", 3600)

    async def story() -> None:
        await cluster.store.load([A])
        cluster.away()
        async with asyncio.TaskGroup() as group:
            group.create_task(cluster.store.record(task, Past(failures=1), None, fence=fence(1)))
            await asyncio.sleep(0.01)
            await cluster.store.withdraw(A)
        cluster.api.outage = None
        await asyncio.sleep(60)

    cluster.run(story)
    assert cluster.api.writes == []
