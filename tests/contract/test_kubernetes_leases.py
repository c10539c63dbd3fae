"""What only the Kubernetes backend has to promise: few requests, doubted objects, and a server that may go back."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from background_tasks.domain.model import MemberId
from background_tasks.engine.clock import SystemClock
from background_tasks.errors import Ambiguous, Refused, Unavailable
from background_tasks.leases.kubernetes import KubernetesLeases
from background_tasks.services.kubernetes.client import Cluster
from background_tasks.services.kubernetes.errors import unavailable
from background_tasks.services.kubernetes.resources import LEASES, PODS
from tests.contract.kubernetes_world import Meddler, claim, eventually

pytestmark = pytest.mark.contract
A, B = MemberId("a"), MemberId("b")
CLOCK = SystemClock()
type Make = Callable[..., KubernetesLeases]
type Follow = Callable[[KubernetesLeases], None]


# --- member leases -----------------------------------------------------------------------------------------------


async def test_a_renewal_is_one_write_and_reads_nothing(make: Make, meddler: Meddler) -> None:
    """From the second one on."""
    leases = make()
    await leases.renew(A, 12)
    first = len(meddler.calls)
    await leases.renew(A, 12)
    await leases.renew(A, 12, leaving=True)
    assert (first, meddler.calls[first:]) == (2, ["replace leases", "replace leases"])


async def test_a_lease_that_somebody_deleted_is_made_anew(make: Make, cluster: Cluster, namespace: str) -> None:
    """By the next renewal, which is not lost."""
    leases = make()
    await leases.renew(A, 12)
    await cluster.delete(LEASES, "a", namespace=namespace)
    gone = await make().members()
    await leases.renew(A, 12)
    assert (gone, set(await make().members())) == ({}, {A})


async def test_a_lease_that_somebody_wrote_to_is_overwritten(make: Make, cluster: Cluster, namespace: str) -> None:
    """What is ours in it, and nothing else."""
    leases = make()
    await leases.renew(A, 12)
    theirs = {
        "metadata": {"annotations": {"background-tasks.dev/leaving": "true", "mine": "stays"}, "labels": {"x": "y"}},
        "spec": {"holderIdentity": "thief", "leaseDurationSeconds": 999},
    }
    await cluster.merge(LEASES, "a", theirs, namespace=namespace)
    await leases.renew(A, 12)
    record = (await make().members())[A]
    body = await cluster.get(LEASES, "a", namespace=namespace)
    assert (record.duration, record.leaving) == (12, False)
    assert (body["metadata"]["annotations"]["mine"], body["metadata"]["labels"]["x"]) == ("stays", "y")


@pytest.mark.parametrize(
    ("spec", "annotations", "says"),
    [
        pytest.param({}, {}, "spec.holderIdentity is missing", id="nothing in it"),
        pytest.param({"holderIdentity": "b"}, {}, "spec.holderIdentity is 'b'", id="another's name"),
        pytest.param({"holderIdentity": "junk"}, {}, "spec.leaseDurationSeconds is missing", id="no duration"),
    ],
)
async def test_a_foreign_lease_with_our_labels_is_reported_once_and_left_out(
    make: Make, cluster: Cluster, namespace: str, said: list[str], spec: Any, annotations: Any, says: str
) -> None:
    """The others are read as ever."""
    leases = make()
    await leases.renew(A, 12)
    labels = {"background-tasks.dev/pool": "p", "app.kubernetes.io/name": "background-tasks-worker"}
    metadata = {"name": "junk", "namespace": namespace, "labels": labels, "annotations": annotations}
    await cluster.create(LEASES, {"metadata": metadata, "spec": spec})
    assert set(await make().members()) == set(await make().members()) == {A}
    assert [says in sentence and f"lease {namespace}/junk" in sentence for sentence in said] == [True, True]


async def test_an_edited_duration_is_not_negative(make: Make, cluster: Cluster, namespace: str) -> None:
    """The annotation is a comfort beside the field, which the server checks."""
    leases = make()
    await leases.renew(A, 12)
    theirs = {"metadata": {"annotations": {"background-tasks.dev/duration": "-5"}}}
    await cluster.merge(LEASES, "a", theirs, namespace=namespace)
    with pytest.raises(Refused, match="must be greater than 0"):
        await cluster.merge(LEASES, "a", {"spec": {"leaseDurationSeconds": -5}}, namespace=namespace)
    assert (await leases.members())[A].duration == 12


async def test_members_are_read_from_the_watch_while_they_are_heard(
    make: Make, meddler: Meddler, follow: Follow
) -> None:
    """Looking costs the server nothing, and shows each renewal of the others."""
    leases, other = make(), make()
    follow(leases)
    await claim(other, 0, B)
    await leases.read()

    async def no_list() -> bool:
        await other.renew(B, 12)
        await leases.renew(A, 12)
        meddler.calls.clear()
        truth = (await other.members())[B]
        lists = meddler.calls.count("list leases")
        return (await leases.members()).get(B) == truth and meddler.calls.count("list leases") == lists

    await eventually(no_list, "members are listed")


async def test_a_silent_holder_is_looked_up(make: Make, meddler: Meddler, follow: Follow) -> None:
    """A watch is not believed when it says that nothing happened."""
    leases, other = make(), make()
    follow(leases)
    await other.renew(B, 0.4)
    await claim(leases, 0, B)

    async def lists() -> bool:
        await leases.renew(A, 12)
        meddler.calls.clear()
        await leases.members()
        return "list leases" in meddler.calls

    await eventually(lists, "the silent holder is not looked up")
    before = len(meddler.calls)
    await leases.members()
    assert meddler.calls[before:] == ["list leases"]


async def test_a_throttled_renewal_is_unavailable_and_says_when_to_come_back(make: Make, meddler: Meddler) -> None:
    """429: nothing was decided; the next one holds."""
    leases = make()
    await leases.renew(A, 12)
    meddler.refused["replace leases"] = unavailable("too many requests (429)", 1.5)
    with pytest.raises(Unavailable) as caught:
        await leases.renew(A, 12)
    await leases.renew(A, 12)
    assert caught.value.retry_after == 1.5


async def test_a_renewal_without_an_answer_is_ambiguous_and_the_next_one_holds(make: Make, meddler: Meddler) -> None:
    """It was done, so that ours is the older version: we read, and overwrite."""
    leases = make()
    await leases.renew(A, 12)
    for kind in ("replace leases", "replace leases"):
        meddler.unanswered.add(kind)
        with pytest.raises(Ambiguous):
            await leases.renew(A, 12)
    before = (await make().members())[A].version
    await leases.renew(A, 12, leaving=True)
    after = (await make().members())[A]
    assert (after.version != before, after.leaving) == (True, True)


async def test_the_first_renewal_without_an_answer_is_found_again(make: Make, meddler: Meddler) -> None:
    """The Lease is there already: it is ours."""
    leases = make()
    meddler.unanswered.add("create leases")
    with pytest.raises(Ambiguous):
        await leases.renew(A, 12)
    await leases.renew(A, 12, leaving=True)
    assert (await leases.members())[A].leaving


async def test_a_lease_goes_with_its_pod(make: Make, cluster: Cluster, namespace: str) -> None:
    """The garbage collector removes what a dead pod's member has left."""
    container = {"name": "c", "image": "none"}
    pod = await cluster.create(
        PODS, {"metadata": {"name": "w-1", "namespace": namespace}, "spec": {"containers": [container]}}
    )
    leases = make(pod_name="w-1", pod_uid=pod["metadata"]["uid"])
    await leases.renew(A, 12)
    await cluster.delete(PODS, "w-1", namespace=namespace)

    async def gone() -> bool:
        return await leases.members() == {}

    assert (await cluster.get(LEASES, "a", namespace=namespace))["metadata"]["ownerReferences"][0]["name"] == "w-1"
    await eventually(gone, "the lease stays", 30)


async def test_a_member_that_outlives_its_pod_is_not_collected_again_and_again(make: Make) -> None:
    """Deleted by force, a pod is gone while its process drains: others must see its renewals, or they take over."""
    gone = {"pod_name": "w-1", "pod_uid": "5ad3f1c0-0000-4000-8000-000000000000"}
    leases, later = make(**gone), make(**gone)

    async def collected(member: MemberId) -> bool:
        return member not in await make().members()

    await leases.renew(A, 12)
    await eventually(lambda: collected(A), "the first lease stays", 30)
    await leases.renew(A, 12)
    await later.renew(B, 12)
    await eventually(lambda: collected(B), "the collector does not come by", 30)
    assert not await collected(A)


async def test_a_container_that_restarts_sweeps_away_its_dead_lease(make: Make, cluster: Cluster, namespace: str,
                                                                    follow: Follow) -> None:  # fmt: skip
    """And what was not renewed for ten durations; nobody else's."""
    pod = await cluster.create(
        PODS,
        {
            "metadata": {"name": "w-1", "namespace": namespace},
            "spec": {"containers": [{"name": "c", "image": "none"}]},
        },
    )
    mine = {"pod_name": "w-1", "pod_uid": pod["metadata"]["uid"]}
    await make(**mine).renew(MemberId("w-1.dead"), 12)
    await make().renew(MemberId("long-dead"), 12)
    await cluster.merge(
        LEASES, "long-dead", {"spec": {"renewTime": "2020-01-01T00:00:00.000000Z"}}, namespace=namespace
    )
    await make().renew(B, 12)
    leases = make(**mine)
    follow(leases)
    await leases.renew(MemberId("w-1.alive"), 12)

    async def swept() -> bool:
        return set(await make().members()) == {"w-1.alive", B}

    await eventually(swept, "the dead leases stay")


async def test_a_pool_is_up_since_its_oldest_mark(make: Make) -> None:
    """Whoever joins finds it in the leases of those who live, and hands it on when they have gone."""
    now = CLOCK.wall()
    first, second, third = make(), make(), make()
    up = await first.up_since(now - 100)
    await first.renew(A, 12)
    joined = await second.up_since(now)
    await second.renew(B, 12)
    await first.release(A)
    assert (up, joined, await third.up_since(now)) == (now - 100, now - 100, now - 100)
    await second.release(B)
    assert await make().up_since(now) == now


async def test_a_plain_renewal_wakes_nobody(make: Make, follow: Follow) -> None:
    """N members that renew do not make N x N readings."""
    leases, other = make(), make()
    follow(leases)

    async def hears(seconds: float) -> bool:
        listener = leases.changes()
        await anext(listener)
        await other.renew(B, 12)
        try:
            async with asyncio.timeout(seconds):
                await anext(listener)
        except TimeoutError:
            return False
        return True

    async def hears_a_newcomer() -> bool:
        await other.release(B)
        return await hears(0.5)

    await eventually(hears_a_newcomer, "a new member is not heard")
    await eventually(lambda: _not(hears(0.5)), "a plain renewal is heard")


async def _not(what: Awaitable[bool]) -> bool:
    return not await what
