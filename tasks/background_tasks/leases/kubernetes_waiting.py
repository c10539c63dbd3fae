"""Members of another way of counting slots, waited out: as long as one of them may act, nobody counts anew.

Not here: members of our own table; those are the roster's to judge.
"""

from collections.abc import Iterable, Mapping

from background_tasks.domain.model import MemberId
from background_tasks.ports import MemberRecord


class Waiting:
    """What we have watched of them: the version of each one's lease, and since when, by our clock."""

    def __init__(self) -> None:
        self._seen: dict[MemberId, tuple[str | None, float]] = {}

    def alive(
        self, holders: Iterable[MemberId], records: Mapping[MemberId, MemberRecord], now: float, duration: float
    ) -> list[MemberId]:
        """Name those whose lease was not yet seen unchanged for its duration (`duration` where there is none)."""
        alive = []
        for holder in sorted(holders):
            record = records.get(holder)
            version, lasts = (None, duration) if record is None else (record.version, record.duration)
            if self._seen.get(holder, ("", 0.0))[0] != version:
                self._seen[holder] = (version, now)
            if now - self._seen[holder][1] < lasts:
                alive.append(holder)
        return alive
