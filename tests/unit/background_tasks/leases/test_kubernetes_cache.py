"""What a watch is worth: a member is never judged dead by the past, and a healthy pool is next to never listed."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from background_tasks.domain.model import MemberId
from background_tasks.errors import Unavailable
from background_tasks.leases.kubernetes_bodies import Renewal, new_lease, record_of, renewed_lease
from background_tasks.leases.kubernetes_cache import LeaseCache, TableCache
from background_tasks.ports import MemberRecord

ME, HOLDER = MemberId("me"), MemberId("holder")
DURATION = 12.0
RECENT = DURATION / 2


def lease(member: MemberId, version: int, *, leaving: bool = False, at: float = 0.0) -> Any:
    """A member's Lease at some version."""
    renewal = Renewal(pool="p", member=member, duration=DURATION, leaving=leaving, at=1e9 + at, up_since=1e9)
    body = renewed_lease(new_lease("n", member, None), renewal)
    body["metadata"]["resourceVersion"] = str(version)
    return body


def listed(version: int, *bodies: Any) -> Any:
    """A list's answer."""
    return {"metadata": {"resourceVersion": str(version)}, "items": list(bodies)}


def readable(body: Any) -> MemberRecord | None:
    """Read a lease; garbage is None."""
    try:
        return record_of(body)
    except ValueError:
        return None


def cache(*bodies: Any, version: int = 10, at: float = 0.0) -> LeaseCache:
    """A cache that was filled by a list, whose answer took a second."""
    made = LeaseCache(readable)
    made.take_list(listed(version, *bodies), newest=made.newest, asked_at=at, now=at + 1)
    return made


def versions(made: LeaseCache) -> dict[str, str]:
    """What it shows."""
    return {member: record.version.partition(" ")[0] for member, record in made.records().items()}


# --- the law -----------------------------------------------------------------------------------------------------


@dataclass
class World:
    """A server, a holder that renews when it likes, a watch that lags, and a member that judges the holder."""

    now: float = 0.0
    version: int = 1
    writes: int = 0
    leases: dict[MemberId, Any] = field(default_factory=dict)
    stream: list[Any] = field(default_factory=list)
    cache: LeaseCache = field(default_factory=lambda: LeaseCache(readable))
    known: str | None = None
    seen_at: float = 0.0

    def write(self, member: MemberId) -> Any:
        """Renew a lease on the server; the watch will tell of it some time."""
        self.version += 1
        self.writes += 1
        self.leases[member] = lease(member, self.version, at=self.writes)
        self.stream.append(self.leases[member])
        return self.leases[member]

    def wait(self, seconds: float) -> None:
        """Let time pass, and look."""
        self.now += seconds
        self.look(0.01)

    def renew(self, seconds: float) -> None:
        """Renew our own lease; the answer takes its time."""
        newest, sent_at = self.cache.newest, self.now
        body = self.write(ME)
        self.now += seconds
        self.cache.take_renewal(body, newest=newest, sent_at=sent_at, now=self.now)

    def deliver(self, count: int) -> None:
        """Let the watch tell its next events."""
        for body in self.stream[:count]:
            self.cache.take_change(body, self.now)
        del self.stream[:count]

    def relist(self) -> None:
        """Let the watch begin anew, with what it has not told yet."""
        self.stream.clear()
        self.cache.take_relist(self.leases.values(), self.now)

    def reopen(self) -> None:
        """Give the member another cache; what it remembers of the holder stays."""
        self.cache = LeaseCache(readable)
        self.relist()

    def restore(self, back: int) -> None:
        """Put the server back to a backup; its count goes on from there."""
        self.version = max(1, self.version - back)
        old = {member: body for member, body in self.leases.items() if version_of(body) <= self.version}
        self.leases = {member: old.get(member, lease(member, 1)) for member in self.leases}
        self.stream.clear()

    def look(self, seconds: float) -> None:
        """Look at the holder's lease, and judge it; the answer takes its time."""
        asked_at = self.now
        if not self.cache.may_answer({HOLDER}, self.now, RECENT):
            newest, answer = self.cache.newest, listed(self.version, *self.leases.values())
            self.now += seconds
            self.cache.take_list(answer, newest=newest, asked_at=asked_at, now=self.now)
        record = self.cache.records().get(HOLDER)
        version = None if record is None else record.version
        if record is not None and version != self.known:
            self.known, self.seen_at = version, self.now
        if asked_at - self.seen_at >= DURATION and self.known is not None:
            assert record_of(self.leases[HOLDER]).version == self.known


def version_of(body: Any) -> int:
    """Return a body's version."""
    return int(body["metadata"]["resourceVersion"])


MOVES: dict[str, tuple[int, Any]] = {
    "wait": (8, [0.3, 1.0, 2.5, 4.0, 12.0]),
    "write": (1, [HOLDER]),
    "renew": (2, [0.0, 0.01, 0.5]),
    "deliver": (1, [1, 2, 9]),
    "look": (1, [0.0, 0.01, 0.5]),
    "relist": (1, None),
    "reopen": (1, None),
    "restore": (1, [1, 5]),
}
"""How often, and with which arguments."""


@pytest.mark.parametrize(
    "left_out", [(), ("restore",), ("relist", "reopen", "restore"), ("deliver", "restore")], ids=str
)
def test_a_lease_is_judged_dead_by_the_present_only(left_out: tuple[str, ...]) -> None:
    """However the watch lags, breaks and begins anew, and even where the server is put back to a backup."""
    moves = {move: value for move, value in MOVES.items() if move not in left_out}
    names, weights = list(moves), [weight for weight, _ in moves.values()]
    for seed in range(400):
        chance, world = Random(seed), World()
        world.write(HOLDER)
        for move in chance.choices(names, weights, k=60):
            choices = moves[move][1]
            getattr(world, move)(*([] if choices is None else [chance.choice(choices)]))


# --- rule 1: how recent it surely is -----------------------------------------------------------------------------


def test_a_list_is_recent_from_when_it_was_asked_for() -> None:
    """Not from when its answer came."""
    made = cache(lease(ME, 5), at=100)
    assert [made.may_answer((), at, RECENT) for at in (100, 105.9, 106)] == [True, True, False]


def test_an_empty_cache_answers_nothing() -> None:
    """Not even that there is nobody."""
    assert not LeaseCache(readable).may_answer((), 0, RECENT)


def test_a_watch_is_recent_once_it_has_passed_a_renewal_of_ours() -> None:
    """From when that left; somebody else's later event proves it as well as our own."""
    made = cache(lease(ME, 5))
    made.take_renewal(lease(ME, 20), newest=10, sent_at=9, now=10)
    before = made.may_answer((), 10, RECENT)
    made.take_change(lease(HOLDER, 19), 10)
    lagging = made.may_answer((), 10, RECENT)
    made.take_change(lease(HOLDER, 21), 10)
    assert (before, lagging, made.may_answer((), 14.9, RECENT), made.may_answer((), 15, RECENT)) == (
        *(False, False),
        *(True, False),
    )


def test_a_watch_that_was_faster_than_the_answer_proves_the_same() -> None:
    """The event of our own renewal came first."""
    made = cache(lease(ME, 5))
    made.take_change(lease(ME, 20), 9.5)
    made.take_renewal(lease(ME, 20), newest=10, sent_at=9, now=10)
    assert made.may_answer((), 14, RECENT)


# --- rule 2: silence ---------------------------------------------------------------------------------------------


def test_a_holder_that_is_heard_is_believed() -> None:
    """One that changed before our eyes, lately."""
    made = cache(lease(HOLDER, 5))
    first_seen = made.may_answer({HOLDER}, 1, RECENT)
    made.take_change(lease(HOLDER, 11), 2)
    made.take_renewal(lease(ME, 12), newest=11, sent_at=8, now=8)
    made.take_change(lease(ME, 12), 8)
    heard = [made.may_answer({HOLDER}, at, RECENT) for at in (10.9, 11.0)]
    assert (first_seen, heard) == (False, [True, False])


@pytest.mark.parametrize("holder", [HOLDER, MemberId("?unreadable"), MemberId("B ü")])
def test_a_holder_without_a_lease_is_looked_up(holder: MemberId) -> None:
    """Its absence may be old news."""
    assert not cache(lease(ME, 5)).may_answer({holder}, 0, RECENT)


def test_a_holder_whose_lease_is_garbage_is_looked_up_and_left_out() -> None:
    """It counts as one without."""
    garbage = lease(HOLDER, 11)
    garbage["spec"]["leaseDurationSeconds"] = None
    made = cache(lease(HOLDER, 5))
    made.take_change(garbage, 0)
    assert (made.may_answer({HOLDER}, 0, RECENT), versions(made)) == (False, {})


def test_a_member_that_comes_before_our_eyes_is_heard_at_once() -> None:
    """A newcomer's first lease costs nobody a list."""
    made = cache(lease(ME, 5))
    news = made.take_change(lease(HOLDER, 11), 0)
    assert (news, made.may_answer({HOLDER}, 1, RECENT)) == (True, True)


# --- order -------------------------------------------------------------------------------------------------------


def test_the_watch_does_not_bring_back_what_a_list_has_overtaken() -> None:
    """Neither a version nor a member."""
    made = cache(lease(HOLDER, 5), version=10)
    news = [made.take_change(lease(HOLDER, 4), 1), made.take_change(lease(MemberId("gone"), 8), 1)]
    assert (news, versions(made)) == ([False, False], {HOLDER: "5"})
    assert not made.take_deletion(lease(HOLDER, 9))


def test_a_list_does_not_bring_back_what_the_watch_has_overtaken() -> None:
    """It was asked for before: the cache knows more."""
    made = cache(lease(HOLDER, 5), lease(MemberId("left"), 6))
    made.take_change(lease(HOLDER, 12), 1)
    assert made.take_deletion(lease(MemberId("left"), 13))
    made.take_list(listed(11, lease(HOLDER, 5), lease(MemberId("left"), 6)), newest=10, asked_at=1, now=2)
    assert (versions(made), made.may_answer((), 6.9, RECENT)) == ({HOLDER: "12"}, True)


def test_our_own_write_is_shown_at_once_and_stays() -> None:
    """A list that left before it does not hide it."""
    made = cache(lease(HOLDER, 5))
    made.take_renewal(lease(ME, 15), newest=10, sent_at=0, now=1)
    made.take_list(listed(12, lease(HOLDER, 5)), newest=10, asked_at=0, now=2)
    assert versions(made) == {HOLDER: "5", ME: "15"}


def test_our_own_release_is_shown_at_once_and_stays() -> None:
    """What the watch still tells of it is old news."""
    made = cache(lease(HOLDER, 5))
    made.take_renewal(lease(ME, 15), newest=10, sent_at=0, now=1)
    made.take_release(ME)
    made.take_change(lease(ME, 15), 2)
    assert versions(made) == {HOLDER: "5"}


def test_a_relist_tells_who_is_gone() -> None:
    """All at once; news only where a member came, went or wants to leave."""
    made = cache(lease(HOLDER, 5), lease(ME, 6), version=6)
    same = made.take_relist([lease(HOLDER, 8), lease(ME, 9)], 1)
    less = made.take_relist([lease(ME, 10)], 2)
    assert (same, less, versions(made)) == (False, True, {ME: "10"})


def test_a_plain_renewal_is_no_news() -> None:
    """N members that renew do not make N x N readings."""
    made = cache(lease(HOLDER, 5))
    changes = [lease(HOLDER, 11), lease(HOLDER, 12, leaving=True), lease(HOLDER, 13, leaving=True)]
    assert [made.take_change(body, 1) for body in changes] == [False, True, False]


def test_a_server_that_went_back_is_heard_anew() -> None:
    """A list older than what we knew, or an answer to our own write: nobody was heard since."""
    made = cache(lease(HOLDER, 5))
    made.take_change(lease(HOLDER, 20), 1)
    made.take_list(listed(12, lease(HOLDER, 11)), newest=made.newest, asked_at=2, now=2)
    assert (versions(made), made.may_answer({HOLDER}, 2, RECENT)) == ({HOLDER: "11"}, False)
    made.take_renewal(lease(ME, 8), newest=made.newest, sent_at=3, now=3)
    assert (versions(made), made.may_answer((), 3, RECENT)) == ({ME: "8"}, False)


@pytest.mark.parametrize("version", [None, "", "x", "1.5"])
def test_a_version_that_does_not_count_is_unavailable(version: str | None) -> None:
    """Such a server cannot be followed."""
    body = lease(HOLDER, 5)
    body["metadata"]["resourceVersion"] = version
    with pytest.raises(Unavailable, match=r"metadata\.resourceVersion is"):
        cache().take_change(body, 0)


# --- the table ---------------------------------------------------------------------------------------------------


def table(version: int) -> Any:
    """A ConfigMap at some version."""
    return {"metadata": {"name": "p-slots", "resourceVersion": str(version)}}


def test_a_table_answers_for_a_while_after_a_sign_of_life() -> None:
    """A reading counts from when it was asked for, an event from when it came."""
    made = TableCache()
    nothing = made.may_answer(0, 3)
    made.take_answer(table(5), newest=-1, asked_at=1)
    read = [made.may_answer(at, 3) for at in (3.9, 4.0)]
    made.take_change(table(6), 5)
    assert (nothing, read, [made.may_answer(at, 3) for at in (7.9, 8.0)]) == (False, [True, False], [True, False])


def test_a_write_without_an_answer_makes_it_ask() -> None:
    """Only the server knows what stands there."""
    made = TableCache()
    made.take_answer(table(5), newest=-1, asked_at=1)
    made.doubt()
    assert not made.may_answer(1, 3)


def test_old_news_of_the_table_is_no_news() -> None:
    """Our own write is shown at once, and the watch's echo of it changes nothing."""
    made = TableCache()
    made.take_answer(table(5), newest=-1, asked_at=1)
    made.take_write(table(8), sent_at=1)
    news = [made.take_change(table(version), 2) for version in (6, 8, 9)]
    assert (news, made.version) == ([False, False, True], 9)


def test_a_reading_that_was_overtaken_is_not_taken() -> None:
    """By our own write, or by an event, while it was under way; nor is an absence."""
    made = TableCache()
    made.take_answer(table(5), newest=-1, asked_at=1)
    made.take_write(table(8), sent_at=1)
    went_back = [made.take_answer(body, newest=5, asked_at=1) for body in (table(6), None)]
    assert (went_back, made.version, made.body) == ([False, False], 8, table(8))


def test_a_table_that_went_back_is_taken_and_told() -> None:
    """What was asked for when we knew more is older than that."""
    made = TableCache()
    made.take_answer(table(9), newest=-1, asked_at=1)
    assert made.take_answer(table(4), newest=9, asked_at=2)
    assert (made.version, made.body) == (4, table(4))


def test_a_deleted_table_is_gone_and_a_later_one_is_taken() -> None:
    """Its deletion has a version of its own."""
    made = TableCache()
    made.take_answer(table(5), newest=-1, asked_at=1)
    gone = made.take_deletion(table(7), 2)
    assert (gone, made.body, made.take_change(table(6), 2), made.take_change(table(8), 3)) == (True, None, False, True)
    assert made.take_answer(None, newest=8, asked_at=4) is False
    assert made.body is None
