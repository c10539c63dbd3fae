"""What a watch has told, how recent that surely is, and when it must not be believed. Pure: times are arguments.

A watch shows the past, by milliseconds or, on a broken connection or an API server that lags, by minutes, and does not
say by how much. Whoever takes the past for the present sees a live member's lease unchanged, takes its slots after its
duration, and both act. So two rules stand before every answer from a `LeaseCache`:

1. The cache knows a moment that it surely reaches: a whole list shows all that was so when it was asked for, and a
   watch that is past the version of a renewal of ours shows all that was so when we sent that renewal. When that moment
   is too long ago, the leases are listed. Bookmarks prove nothing: a lagging server sends them too.
2. Silence is never believed. A holder of a slot that has no lease here, whose lease has not changed since we first saw
   it, or not for most of its duration, is looked up by a list. So a lease is judged dead by lists alone, and a pool of
   live members lists next to never.

Rule 2 measures from when this cache first held a version, which is never later than when its reader was first shown
it: so no version comes twice, and none goes back while the server's own count goes forward. A list may be overtaken by
the watch; it then only proves, as the cache is ahead of it. A list that is older than what we knew when we asked for
it, or that shows a Lease as it cannot be by what we know, comes from a server that was put back to a backup: the cache
begins anew, and nobody in it has been heard.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from background_tasks.domain.model import MemberId
from background_tasks.errors import Unavailable
from background_tasks.leases.kubernetes_bodies import Body, lease_name
from background_tasks.ports import MemberRecord

NEVER = float("-inf")
QUIET = 0.75
"""In lease durations: a holder that was not heard for so long is looked up. Members renew at least twice as often."""


def version_of(body: Body) -> int:
    """Return the place of an object, or of a list, in the server's history."""
    version = body["metadata"].get("resourceVersion")
    try:
        return int(version)
    except (TypeError, ValueError) as error:
        raise Unavailable(f"metadata.resourceVersion is {version!r}, where a Kubernetes API counts") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    version: int
    record: MemberRecord | None
    """None: a Lease that cannot be read."""
    seen_at: float
    heard: bool
    """It changed, or came to be, before our eyes."""


class LeaseCache:
    """The Leases of a pool, by name. `read` makes a record of a body, or reports it and gives None."""

    def __init__(self, read: Callable[[Body], MemberRecord | None]) -> None:
        self._read = read
        self._entries: dict[str, _Entry] = {}
        self._told_to = -1
        self._current_at = NEVER
        self._unproven: list[tuple[int, float]] = []
        self._released: dict[str, int] = {}

    @property
    def newest(self) -> int:
        """The newest version that we know of: what is asked for from now on must not be older."""
        return max([self._told_to, *(entry.version for entry in self._entries.values())])

    def records(self) -> Mapping[MemberId, MemberRecord]:
        """Return the leases that can be read."""
        records = [entry.record for entry in self._entries.values()]
        return {record.member: record for record in records if record is not None}

    def may_answer(self, holders: Iterable[MemberId], now: float, within: float) -> bool:
        """Say whether rules 1 and 2 let it answer now, `within` seconds after the moment it surely reaches."""
        return now - self._current_at < within and all(self._was_heard(holder, now) for holder in holders)

    def idle(self, member: MemberId, now: float) -> float | None:
        """Return for how long a member's lease has been unchanged before our eyes; None where it has none."""
        entry = self._entries.get(lease_name(member))
        return None if entry is None else now - entry.seen_at

    # --- what was told ---

    def take_list(self, answer: Body, *, newest: int, asked_at: float, now: float) -> None:
        """A list was asked for when `newest` was the newest version known; here is the answer."""
        version = version_of(answer)
        if version < newest:
            self._begin_anew()
        self._replace(answer["items"], version, now)
        self._current_at = max(self._current_at, asked_at)

    def take_relist(self, bodies: Iterable[Body], now: float) -> bool:
        """The watch begins anew, with all there is. Its version is not told: at least that of its newest object."""
        before, bodies = self._shape(), list(bodies)
        self._replace(bodies, max(map(version_of, bodies), default=-1), now)
        return self._shape() != before

    def take_change(self, body: Body, now: float) -> bool:
        """A Lease is new or changed. True: others should know, as a member came, or wants to leave."""
        name, version = body["metadata"]["name"], version_of(body)
        if version <= max(self._told_to, self._released.get(name, -1)):
            return False  # a list was faster
        self._reach(version)
        return self._put(body, now, heard=True)

    def take_deletion(self, body: Body) -> bool:
        """A Lease is gone. True: it was there."""
        name, version = body["metadata"]["name"], version_of(body)
        if version <= self._told_to:
            return False
        self._reach(version)
        return self._entries.pop(name, None) is not None

    def take_renewal(self, body: Body, *, newest: int, sent_at: float, now: float) -> bool:
        """Our own write was answered: it is shown at once, and proves the watch once that is past it."""
        if version_of(body) <= newest:
            self._begin_anew()
        news = self._put(body, now, heard=True)
        self._unproven.append((version_of(body), sent_at))
        self._reach(self._told_to)
        return news

    def take_release(self, name: str) -> None:
        """We deleted our own Lease: what the watch still has to tell of it is old news."""
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._released = {name: entry.version}

    # --- inside ---

    def _begin_anew(self) -> None:
        self._entries, self._told_to, self._unproven, self._current_at, self._released = {}, -1, [], NEVER, {}

    def _was_heard(self, holder: MemberId, now: float) -> bool:
        entry = self._entries.get(lease_name(holder))
        if entry is None or entry.record is None or not entry.heard:
            return False
        return now - entry.seen_at < QUIET * entry.record.duration

    def _replace(self, bodies: Iterable[Body], version: int, now: float) -> None:
        if version < self._told_to:
            return  # the watch was faster, and has told all of this
        bodies = list(bodies)
        there = {body["metadata"]["name"] for body in bodies}
        if any(self._contradicts(body, version) for body in bodies):
            self._begin_anew()
        self._reach(version)
        gone = [name for name, known in self._entries.items() if known.version <= version and name not in there]
        for name in gone:
            del self._entries[name]
        for body in bodies:
            self._put(body, now, heard=body["metadata"]["name"] in self._entries)

    def _contradicts(self, body: Body, version: int) -> bool:
        """Say whether a list of that version shows a Lease of another past than ours."""
        known, shown = self._entries.get(body["metadata"]["name"]), version_of(body)
        if known is None or known.version > version:
            return False
        return shown < known.version or (shown == known.version and self._read(body) != known.record)

    def _put(self, body: Body, now: float, *, heard: bool) -> bool:
        name, version = body["metadata"]["name"], version_of(body)
        known = self._entries.get(name)
        if known is not None and known.version >= version:
            return False
        record = self._read(body)
        self._entries[name] = _Entry(version=version, record=record, seen_at=now, heard=heard)
        return _shape(known) != _shape(self._entries[name])

    def _reach(self, version: int) -> None:
        self._told_to = version
        proven = [sent_at for reached, sent_at in self._unproven if reached <= version]
        self._unproven = [(reached, sent_at) for reached, sent_at in self._unproven if reached > version]
        self._current_at = max([self._current_at, *proven])

    def _shape(self) -> set[tuple[MemberId, bool] | None]:
        return {_shape(entry) for entry in self._entries.values()}


def _shape(entry: _Entry | None) -> tuple[MemberId, bool] | None:
    record = None if entry is None else entry.record
    return None if record is None else (record.member, record.leaving)


class TableCache:
    """The ConfigMap of a pool, as it was last known."""

    def __init__(self) -> None:
        self.body: Body | None = None
        self.version = -1
        self._current_at = NEVER

    def may_answer(self, now: float, within: float) -> bool:
        """Say whether the table was surely so, or its watch alive, within the last seconds."""
        return self.body is not None and now - self._current_at < within

    def doubt(self) -> None:
        """A write of ours has no answer: only the server knows what stands there."""
        self._current_at = NEVER

    def take_answer(self, body: Body | None, *, newest: int, asked_at: float) -> bool:
        """A reading was asked for when `newest` was known. True: the server went back to an older state."""
        version = self.version if body is None else version_of(body)
        went_back = version < newest
        overtaken = self.version > newest and (body is None or version < self.version)
        if went_back or not overtaken:  # else our own write, or the watch, was faster
            self.body, self.version = body, version
        self._current_at = max(self._current_at, asked_at)
        return went_back

    def take_change(self, body: Body, now: float) -> bool:
        """The watch shows the table. True: it is news."""
        return self._take(body, version_of(body), now)

    def take_deletion(self, body: Body, now: float) -> bool:
        """The table is gone. True: it is news."""
        return self._take(None, version_of(body), now)

    def take_write(self, body: Body, *, sent_at: float) -> None:
        """Our own write was answered: it is shown at once."""
        self._take(body, version_of(body), sent_at)

    def _take(self, body: Body | None, version: int, at: float) -> bool:
        if version < self.version:
            return False  # old news; or all that a server put back to a backup has: the next reading finds out
        news = version > self.version
        self.body, self.version = body, version
        self._current_at = max(self._current_at, at)
        return news
