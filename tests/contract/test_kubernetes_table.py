"""What only a slot table in a ConfigMap has to promise: written by many, edited by hand, deleted, copied, restored."""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from background_tasks.domain.model import MemberId
from background_tasks.engine.membership import Store
from background_tasks.errors import Ambiguous, Refused, Unavailable
from background_tasks.leases.kubernetes import KubernetesLeases
from background_tasks.leases.kubernetes_bodies import UNREADABLE
from background_tasks.ports import SlotRow
from background_tasks.services.kubernetes.client import Cluster
from background_tasks.services.kubernetes.resources import CONFIG_MAPS
from tests.contract.kubernetes_world import Meddler, claim, eventually
from tests.testbed.session import ControlPlane

pytestmark = pytest.mark.contract
A, B = MemberId("a"), MemberId("b")
FREE = SlotRow(holder=None, epoch=0)
LOST = SlotRow(holder=UNREADABLE, epoch=0)
type Make = Callable[..., KubernetesLeases]


def held(by: MemberId | None, epoch: int) -> SlotRow:
    """A row."""
    return SlotRow(holder=by, epoch=epoch)


@pytest.fixture
def edit(cluster: Cluster, namespace: str) -> Callable[..., Any]:
    """Write to the ConfigMap as a person would; None removes a key."""

    async def edit(**data: str | None) -> None:
        await cluster.merge(CONFIG_MAPS, "p-slots", {"data": data}, namespace=namespace)

    return edit


async def test_a_table_that_the_operator_makes_is_waited_for(make: Make, namespace: str) -> None:
    """Fail closed; the sentence names the ConfigMap and the remedy, which works."""
    leases = make(may_create=False)
    with pytest.raises(Unavailable) as caught:
        await leases.read()
    fix = f"kubectl create configmap p-slots --namespace {namespace}"
    assert f"slot table {namespace}/p-slots: the ConfigMap is absent: the operator makes it; or write `{fix}`" in str(
        caught.value
    )


async def test_a_blank_table_is_filled_by_whoever_reads_first(
    make: Make, control_plane: ControlPlane, cluster: Cluster, namespace: str
) -> None:
    """One realm for all of them; what else stands in the ConfigMap stays, whoever writes."""
    control_plane.kubectl("create", "configmap", "p-slots", "-n", namespace, "--from-literal=theirs=1")
    control_plane.kubectl("label", "configmap", "p-slots", "-n", namespace, "mine=stays")
    views = await asyncio.gather(*(make(may_create=False).read() for _ in range(5)))
    await claim(make(), 0, A)
    body = await cluster.get(CONFIG_MAPS, "p-slots", namespace=namespace)
    assert (len({view.realm for view in views}), views[0].rows) == (1, (FREE,) * 4)
    assert (body["data"]["theirs"], body["metadata"]["labels"]["mine"]) == ("1", "stays")


@pytest.mark.parametrize(
    ("data", "says", "rows"),
    [
        pytest.param({"realm": None}, "data.realm is missing", None, id="a lost realm"),
        pytest.param({"count": "many"}, "data.count is 'many', not a number", None, id="a lost size"),
        pytest.param({"slots": "x"}, "data.slots is 'x', not a JSON list", (LOST,) * 4, id="lost rows"),
        pytest.param({"slots": '["1:a","?","0:"]'}, "data.slots[1] is not", (held(A, 1), LOST, FREE, LOST), id="rows"),
        pytest.param({"uid": "other"}, "it was written to another ConfigMap and copied here", None, id="a copy"),
    ],
)
async def test_a_damaged_table_begins_a_new_realm(
    make: Make, edit: Any, said: list[str], data: Any, says: str, rows: tuple[SlotRow, ...] | None
) -> None:
    """Readable holders keep their rows; an unreadable row is held by nobody known, so that it is waited out."""
    before = await claim(make(), 0, A)
    await edit(**data)
    found = await asyncio.gather(*(make().read() for _ in range(3)))
    assert (len({view.realm for view in found}), found[0].rows) == (1, rows or (held(A, 1), FREE, FREE, FREE))
    assert found[0].realm != before.realm
    assert [says in sentence and "a new realm begins" in sentence for sentence in said] == [True]


async def test_nothing_is_swapped_in_a_damaged_table(make: Make, edit: Any) -> None:
    """Whoever claims must look first."""
    leases = make()
    before = await claim(leases, 0, A)
    await edit(realm=None)
    assert not await leases.compare_and_set(before.realm, 1, FREE, held(A, 1))


async def test_an_older_table_begins_a_new_realm(make: Make, edit: Any, cluster: Cluster, namespace: str,
                                                 said: list[str]) -> None:  # fmt: skip
    """A backup that was restored over it: later claims that a member remembers are kept, and no epoch comes twice."""
    leases = make()
    await claim(leases, 0, A)
    backup = (await cluster.get(CONFIG_MAPS, "p-slots", namespace=namespace))["data"]
    later = await claim(leases, 0, B)
    await claim(leases, 1, B)
    await edit(**backup)
    after = await leases.read()
    assert (after.realm != later.realm, after.rows) == (True, (held(B, 2), held(B, 1), FREE, FREE))
    assert ["its epochs went back, as after a backup was restored" in sentence for sentence in said] == [True]


async def test_a_realm_that_was_over_does_not_come_back(make: Make, edit: Any, cluster: Cluster,
                                                        namespace: str) -> None:  # fmt: skip
    """Not even with the same epochs."""
    leases = make()
    await claim(leases, 0, A)
    backup = (await cluster.get(CONFIG_MAPS, "p-slots", namespace=namespace))["data"]
    await edit(realm=None)
    second = await leases.read()
    await edit(**backup)
    third = await leases.read()
    assert len({backup["realm"], second.realm, third.realm}) == 3
    assert third.rows[0] == held(A, 1)


async def test_a_deleted_table_is_made_anew_with_what_is_remembered(make: Make, cluster: Cluster, namespace: str,
                                                                    said: list[str]) -> None:  # fmt: skip
    """Holders keep their rows under a new realm, so that nobody takes them before their time."""
    leases = make()
    before = await claim(leases, 0, A)
    await cluster.delete(CONFIG_MAPS, "p-slots", namespace=namespace)
    lost = await leases.compare_and_set(before.realm, 1, FREE, held(A, 1))
    after = await leases.read()
    assert (lost, after.realm != before.realm, after.rows) == (False, True, before.rows)
    assert ["all that stood in it is lost; a new realm begins" in sentence for sentence in said] == [True]


async def test_a_newcomer_takes_nothing_of_a_lost_table_before_its_time(make: Make, cluster: Cluster,
                                                                        namespace: str) -> None:  # fmt: skip
    """Others may hold slots by it: who makes it anew, knowing none of its rows, has them all waited out."""
    holder = make()
    before = await claim(holder, 0, A)
    await holder.renew(A, 12)
    await cluster.delete(CONFIG_MAPS, "p-slots", namespace=namespace)
    after = await make().read()
    assert (after.realm != before.realm, after.rows) == (True, (LOST,) * 4)
    assert await holder.read(fresh=True) == after


async def test_a_table_that_was_deleted_and_restored_begins_a_new_realm(make: Make, cluster: Cluster, namespace: str,
                                                                        said: list[str]) -> None:  # fmt: skip
    """The same contents in another object: who restored it cannot know of later claims; nor can a newcomer."""
    before = await claim(make(), 0, A)
    body = await cluster.get(CONFIG_MAPS, "p-slots", namespace=namespace)
    await cluster.delete(CONFIG_MAPS, "p-slots", namespace=namespace)
    metadata = {"name": "p-slots", "namespace": namespace}
    await cluster.create(CONFIG_MAPS, {"metadata": metadata, "data": body["data"]})
    after = await make().read()
    assert (after.realm != before.realm, after.rows) == (True, before.rows)
    assert ["it was written to another ConfigMap and copied here" in sentence for sentence in said] == [True]


async def test_another_number_of_slots_waits_for_those_who_hold_some(make: Make, said: list[str]) -> None:
    """Members that count differently would disagree about every task's slot; the last of the others is waited out."""
    old, new = make(), make(slots=8)
    await old.renew(A, 0.5)
    await claim(old, 0, A)
    await new.renew(B, 12)
    with pytest.raises(
        Unavailable, match=r"has 4 slots, this worker was told 8: .* never changes while a may hold some"
    ):
        await new.read()
    await old.renew(A, 0.5)
    began = time.perf_counter()

    async def resized() -> bool:
        try:
            return len((await new.read()).rows) == 8
        except Unavailable:
            return False

    await eventually(resized, "it does not count anew")
    assert (time.perf_counter() - began >= 0.5, len(said)) == (True, 1)
    with pytest.raises(Unavailable, match="has 8 slots, this worker was told 4"):
        await make().read()


async def test_a_freed_table_of_another_size_is_taken_over_at_once(make: Make) -> None:
    """Nobody can act by it."""
    await make().read()
    new = make(slots=2)
    await new.renew(A, 12)
    assert (await new.read()).rows == (FREE, FREE)


async def test_claims_that_are_made_together_are_written_together(make: Make, meddler: Meddler) -> None:
    """One write for all slots."""
    leases = make(slots=64)
    realm = (await leases.read()).realm
    meddler.calls.clear()
    claims = [leases.compare_and_set(realm, slot, FREE, held(A, 1)) for slot in range(64)]
    assert await asyncio.gather(*claims) == [True] * 64
    assert meddler.calls == ["replace configmaps"]


async def test_a_herd_of_members_gets_all_slots_claimed_once(make: Make, meddler: Meddler) -> None:
    """Eight members that want everything: each slot has one holder, in few writes."""
    herd = [make(slots=64) for _ in range(8)]
    realm = (await asyncio.gather(*(leases.read() for leases in herd)))[0].realm
    meddler.calls.clear()

    async def grab(leases: KubernetesLeases, me: MemberId) -> int:
        slots = [leases.compare_and_set(realm, slot, FREE, held(me, 1)) for slot in range(64)]
        return sum(await asyncio.gather(*slots))

    got = await asyncio.gather(*(grab(leases, MemberId(f"m{number}")) for number, leases in enumerate(herd)))
    holders = [row.holder for row in (await herd[0].read(fresh=True)).rows]
    assert (sum(got), sorted(got)[-1], len(set(holders))) == (64, 64, 1)
    assert len(meddler.calls) < 40


async def test_a_swap_that_was_decided_on_old_news_is_tried_on_the_present(make: Make) -> None:
    """Another row is no conflict; the same one is lost to somebody else."""
    leases, other = make(), make()
    realm = (await leases.read()).realm
    await claim(other, 1, B)
    assert await leases.compare_and_set(realm, 0, FREE, held(A, 1))
    await claim(other, 2, B)
    assert not await leases.compare_and_set(realm, 2, FREE, held(A, 1))
    assert (await leases.read(fresh=True)).rows == (held(A, 1), held(B, 1), held(B, 1), FREE)


async def test_a_swap_without_an_answer_is_ambiguous_and_is_read_before_anything_else(
    make: Make, meddler: Meddler
) -> None:
    """The next reading asks the server, however recent the last one is."""
    leases = make()
    await leases.renew(A, 60)
    realm = (await leases.read()).realm
    meddler.unanswered.add("replace configmaps")
    with pytest.raises(Ambiguous):
        await leases.compare_and_set(realm, 0, FREE, held(A, 1))
    assert (await leases.read()).rows[0] == held(A, 1)


async def test_a_swap_that_was_cut_short_is_read_before_anything_else(make: Make, meddler: Meddler) -> None:
    """A time-out of the caller is no answer either."""
    leases = make()
    await leases.renew(A, 60)
    realm = (await leases.read()).realm
    meddler.stuck.add("replace configmaps")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await leases.compare_and_set(realm, 0, FREE, held(A, 1))
    assert (await leases.read()).rows[0] == held(A, 1)


async def test_a_throttled_table_is_unavailable(make: Make, meddler: Meddler) -> None:
    """Nothing was decided; the next one is."""
    leases = make()
    realm = (await leases.read()).realm
    meddler.refused["replace configmaps"] = Unavailable("too many requests (429)")
    with pytest.raises(Unavailable, match="too many requests"):
        await leases.compare_and_set(realm, 0, FREE, held(A, 1))
    assert await leases.compare_and_set(realm, 0, FREE, held(A, 1))


async def test_an_immutable_table_is_refused_in_the_servers_words(make: Make, cluster: Cluster, namespace: str) -> None:
    """It says which field stands in the way."""
    leases = make()
    realm = (await leases.read()).realm
    await cluster.merge(CONFIG_MAPS, "p-slots", {"immutable": True}, namespace=namespace)
    with pytest.raises(Refused, match="immutable"):
        await leases.compare_and_set(realm, 0, FREE, held(A, 1))


async def test_looking_at_the_table_is_free_while_its_watch_lives(
    kubernetes_store: Callable[..., AbstractAsyncContextManager[Store]], make: Make
) -> None:
    """What others write is shown within a moment; `fresh` asks the server."""
    async with kubernetes_store(4) as (lease, table):
        await lease.renew(A, 60)
        realm = (await table.read()).realm
        hints = table.changes()
        await anext(hints)
        await claim(make(), 0, B)
        async with asyncio.timeout(2):
            await anext(hints)
        began = time.perf_counter()
        looks = [(await table.read()).rows[0] for _ in range(100)]
        assert (set(looks), time.perf_counter() - began < 0.05) == ({held(B, 1)}, True)
        assert (await table.read(fresh=True)).realm == realm


async def test_people_can_read_it(make: Make, control_plane: ControlPlane, namespace: str) -> None:
    """One line for each thing that there is to know."""
    view = await claim(make(), 2, A)
    data = json.loads(control_plane.kubectl("get", "configmap", "p-slots", "-n", namespace, "-o", "json"))["data"]
    assert (data["realm"], data["count"], data["slots"]) == (view.realm, "4", '["0:","0:","1:a","0:"]')
