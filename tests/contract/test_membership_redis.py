"""Members that share slots, over memory, a real Redis and a real Kubernetes API: real threads, short leases."""

from collections.abc import Callable

import pytest

from background_tasks.domain.model import Fence, MemberId
from background_tasks.domain.slots import by_preference
from background_tasks.engine.membership import Gained, Lost, Surrender
from background_tasks.errors import NotLeader
from background_tasks.leases.memory import MemoryLeases
from background_tasks.leases.redis import open_redis
from background_tasks.local.embedded import EmbeddedServer
from tests.contract.membership_world import SHORT, SLOTS, Member, Open, eventually

pytestmark = pytest.mark.contract


@pytest.fixture(params=["memory", "redis", "kubernetes"])
def open_store(request: pytest.FixtureRequest, embedded: EmbeddedServer, prefix: str) -> Open:
    """Open one pool's store, over each backend."""
    if request.param == "kubernetes":
        kubernetes_store = request.getfixturevalue("kubernetes_store")
        return lambda: kubernetes_store(SLOTS)
    memory = MemoryLeases(SLOTS)
    return memory.open if request.param == "memory" else lambda: open_redis(embedded.url, prefix, slots=SLOTS)


def test_one_member_holds_all_slots_at_once(open_store: Open, join: Callable[..., Member]) -> None:
    """Each with a fence of its own; the fence is what it was told."""
    member = join(open_store)
    seconds = eventually(lambda: len(member.fences) == SLOTS, "not all slots are held")
    assert seconds < 1
    assert {event.fence for event in member.events if isinstance(event, Gained)} == set(member.fences)
    assert {fence.epoch for fence in member.fences} == {1}


def test_three_members_share_fairly_and_nothing_is_held_twice(open_store: Open, join: Callable[..., Member]) -> None:
    """Slots move one at a time until nobody has more than its share; then nothing moves any more."""
    members = [join(open_store) for _ in range(3)]
    eventually(lambda: [len(member.fences) for member in members] == [2, 2, 2], "no fair share")
    fences = [fence for member in members for fence in member.fences]
    assert sorted(fence.slot for fence in fences) == list(range(SLOTS))
    assert all(member.told(Lost) == 0 for member in members)


def test_a_newcomer_is_given_its_share_one_slot_at_a_time(open_store: Open, join: Callable[..., Member]) -> None:
    """The least dear slots go first; the epoch of each rises."""
    first = join(open_store)
    eventually(lambda: len(first.fences) == SLOTS, "not all slots are held")
    second = join(open_store)
    eventually(lambda: [len(first.fences), len(second.fences)] == [3, 3], "no fair share")
    given = [event.slot for event in first.events if isinstance(event, Surrender)]
    assert given == by_preference(first.membership.member, range(SLOTS))[:2:-1]
    assert {fence.epoch for fence in second.fences} == {2}


def test_a_slot_is_released_only_after_its_work_has_stopped(open_store: Open, join: Callable[..., Member]) -> None:
    """Until the answer comes the giver still holds the slot, and nothing else is given."""
    first = join(open_store, stubborn=True)
    eventually(lambda: len(first.fences) == SLOTS, "not all slots are held")
    second = join(open_store)
    eventually(lambda: first.told(Surrender) == 1, "nothing is given back")
    assert eventually(lambda: len(second.renewals) > 2, "the second one does not renew") > 0
    assert (len(first.fences), second.fences, first.told(Surrender)) == (SLOTS, [], 1)
    slot = next(event.slot for event in first.events if isinstance(event, Surrender))
    first.membership.stopped(slot)
    eventually(lambda: [fence.slot for fence in second.fences] == [slot], "the released slot is not taken")


def test_a_graceful_handover_takes_less_than_a_second(open_store: Open, join: Callable[..., Member]) -> None:
    """Who stands down is followed at once, beyond the other's share; nothing is lost on the way."""
    first, second = join(open_store), join(open_store)
    eventually(lambda: len(first.fences) + len(second.fences) == SLOTS, "not all slots are held")
    first.membership.stand_down()
    seconds = eventually(lambda: len(second.fences) == SLOTS, "the slots are not taken")
    first.membership.stop(2)
    assert seconds < 1
    assert (first.fences, first.told(Lost), second.told(Lost)) == ([], 0, 0)


def test_a_member_that_ends_without_a_word_is_waited_out(open_store: Open, join: Callable[..., Member]) -> None:
    """Its lease must stay unchanged for its duration; then all its slots move, at higher epochs."""
    first = join(open_store, stubborn=True)
    eventually(lambda: len(first.fences) == SLOTS, "not all slots are held")
    first.membership.stop(0)  # its work never said that it stopped
    second = join(open_store)
    seconds = eventually(lambda: len(second.fences) == SLOTS, "the slots are not taken over")
    assert seconds > SHORT.duration - 0.4
    assert {fence.epoch for fence in second.fences} == {2}


async def test_leadership_is_verified_against_the_table(open_store: Open, join: Callable[..., Member]) -> None:
    """A fence that holds passes; one of an earlier claim, of another slot table or of a stopped member does not."""
    member = join(open_store)
    eventually(lambda: len(member.fences) == SLOTS, "not all slots are held")
    held = member.fences[0]
    await member.membership.verify(held)
    for other in (
        Fence(realm=held.realm, slot=held.slot, epoch=held.epoch - 1),
        Fence(realm="other", slot=held.slot, epoch=held.epoch),
    ):
        with pytest.raises(NotLeader, match=f"slot {held.slot}: m-.* is not its holder under fence {other}"):
            await member.membership.verify(other)
    member.membership.stop(1)
    with pytest.raises(NotLeader, match=f"slot {held.slot}"):
        await member.membership.verify(held)


def memory_pool(join: Callable[..., Member], **options: bool) -> tuple[MemoryLeases, Member]:
    """A pool in memory, and a member that holds all of it."""
    pool = MemoryLeases(SLOTS)
    member = join(pool.open, **options)
    eventually(lambda: len(member.fences) == SLOTS, "not all slots are held")
    return pool, member


async def test_an_outage_is_survived_up_to_the_renew_deadline_only(join: Callable[..., Member]) -> None:
    """Held until the deadline, then lost with a reason, and gained again at a higher epoch when the store is back."""
    pool, member = memory_pool(join)
    held = member.fences[0]
    pool.outage = "no route to host"
    seconds = eventually(lambda: member.told(Lost) == SLOTS, "nothing is lost")
    assert SHORT.renew_deadline - SHORT.retry_period - 0.1 < seconds < SHORT.duration
    with pytest.raises(NotLeader, match=rf"slot {held.slot}: renewal overdue: the last one held 1\.\d s ago"):
        await member.membership.verify(held)
    pool.outage = ""
    eventually(lambda: len(member.fences) == SLOTS, "the slots are not gained again")
    assert ({fence.epoch for fence in member.fences}, member.deaths) == ({2}, [])


async def test_a_store_that_cannot_be_read_verifies_nothing(join: Callable[..., Member]) -> None:
    """Fail closed: the slot is still held, and yet nothing destructive may be done."""
    pool, member = memory_pool(join)
    held = member.fences[0]
    pool.outage = "no route to host"
    with pytest.raises(NotLeader, match="the slot table cannot be read: memory: read slot table: no route to host"):
        await member.membership.verify(held)
    assert member.membership.fence(held.slot) == held


async def test_a_slot_that_somebody_took_is_lost_and_says_to_whom(join: Callable[..., Member]) -> None:
    """A hand in the table is believed at once."""
    pool, member = memory_pool(join, stubborn=True)
    held = member.fences[0]
    table = await pool.read()
    row = table.rows[held.slot]
    await pool.compare_and_set(table.realm, held.slot, row, type(row)(holder=MemberId("x"), epoch=9))
    with pytest.raises(NotLeader, match=f"slot {held.slot}.* was taken by x at epoch 9"):
        await member.membership.verify(held)
    eventually(lambda: member.told(Lost) == 1, "nothing is lost")
    assert Lost(held.slot, f"slot {held.slot} was taken by x at epoch 9", held) in member.events


def test_runs_that_do_not_stop_before_the_lease_ends_cost_the_process(join: Callable[..., Member]) -> None:
    """The watchdog names the slots; a member that answers lives on."""
    pool, member = memory_pool(join, stubborn=True)
    pool.outage = "no route to host"
    seconds = eventually(lambda: len(member.deaths) == 1, "the process does not end")
    assert seconds < SHORT.duration + 0.2
    assert "slot 0, 1, 2, 3, 4, 5 did not stop" in member.deaths[0]


def test_a_store_that_forgets_begins_a_new_realm(join: Callable[..., Member]) -> None:
    """What was held under the old realm is lost and claimed anew."""
    pool, member = memory_pool(join)
    (realm,) = {fence.realm for fence in member.fences}
    pool.forget()
    eventually(lambda: {fence.realm for fence in member.fences} - {realm} != set(), "no new realm")
    eventually(lambda: len(member.fences) == SLOTS, "the slots are not gained again")
    assert (member.told(Lost), {fence.epoch for fence in member.fences}) == (SLOTS, {1})


def test_lost_answers_are_settled_by_reading(join: Callable[..., Member]) -> None:
    """Claims that happened without our knowing are claimed again, once, never believed and never doubled."""
    pool = MemoryLeases(SLOTS)
    pool.lost_answers = 4
    member, other = join(pool.open), join(pool.open)
    eventually(lambda: [len(member.fences), len(other.fences)] == [3, 3], "no fair share")
    fences = [*member.fences, *other.fences]
    assert sorted(fence.slot for fence in fences) == list(range(SLOTS))


def test_a_store_that_is_away_at_the_start_is_said_once_and_waited_for(
    join: Callable[..., Member], caplog: pytest.LogCaptureFixture
) -> None:
    """The thread lives, tries again, and holds its slots soon after the store has come."""
    pool = MemoryLeases(SLOTS)
    pool.outage = "connection refused"
    with caplog.at_level("INFO", "background_tasks.membership"):
        member = join(pool.open)
        eventually(lambda: member.renewals.count(False) > 3, "it does not try again")
        pool.outage = ""
        eventually(lambda: len(member.fences) == SLOTS, "not all slots are held")
    messages = [record.getMessage() for record in caplog.records]
    assert sum("renew lease: memory: renew lease: connection refused" in message for message in messages) == 1
    assert sum(message == "renew lease: works again" for message in messages) == 1


def test_a_thread_that_fails_ends_the_process(join: Callable[..., Member]) -> None:
    """An observer that breaks its word must not leave a member that neither renews nor stands down."""
    pool, member = memory_pool(join)
    member.hear = member.lease_renewed = lambda *_: 1 / 0  # type: ignore[method-assign,assignment]
    eventually(lambda: member.deaths != [], "the process does not end")
    assert ("failed; its log line says why" in member.deaths[0], member.fences) == (True, [])
    assert pool.outage == ""
