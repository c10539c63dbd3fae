"""Member leases and the slot table over one Redis: read, compare-and-set, watch. No policy, and no RedLock.

Keys of a pool, spelled here and nowhere else (`prefix` is `bgt:<pool>`):

    <prefix>:members        set    ids of members that may have a lease
    <prefix>:member:<id>    string {"version": ..., "duration": 12.0, "leaving": false}, expires long after its duration
    <prefix>:slots          hash   realm, server, count, and one field per slot: "<epoch>:<holder>" ("7:" is free)
    <prefix>:changed        channel of hints

An expired record proves nothing and is treated by readers like an unchanged one. What another server process wrote
(a restart, a failover) may lack the last claims, and an unreadable row has lost its epoch: both begin a new realm that
keeps the readable holders, so that nobody's slots are taken before they have been waited out.
"""

import json
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from background_tasks.domain.model import MemberId
from background_tasks.errors import Refused
from background_tasks.leases.redis_scripts import MEMBERS, READ, RELEASE, RENEW, SWAP
from background_tasks.ports import MemberLease, MemberRecord, SlotRow, SlotTable, TableView
from background_tasks.services.redis import connect, connect_like, redis_errors

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

RECORD_LIVES_DURATIONS = 10
"""A lease record stays that many of its durations, so that readers see it long enough to time it themselves."""
SILENCE_S = 30.0
"""After so long without a hint the connection is pinged, so that a dead one is noticed."""
UNREADABLE = MemberId("?unreadable")
"""Holder of a row that could not be read; nobody renews it, so it is waited out."""

_log = logging.getLogger("background_tasks.leases")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderKey:
    """A plain key that shows who holds slot 0, for people and programs that only want to look."""

    key: str
    shows: str
    """What this process writes there."""
    duration: float
    """Seconds after which it goes by itself when its writer does."""


class RedisLeases:
    """The leases and the slot table of one pool; both ports in one object."""

    def __init__(
        self,
        redis: "Redis",
        *,
        prefix: str,
        slots: int,
        leader: LeaderKey | None = None,
        report: Callable[[str], None] = _log.warning,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._slots = slots
        self._leader = leader
        self._report = report
        self._reported: set[str] = set()

    # --- MemberLease ---

    async def renew(self, member: MemberId, duration: float, *, leaving: bool = False) -> None:
        """Write the member's lease; creates it when absent, and replaces whatever lies under its key."""
        record = {"version": uuid.uuid4().hex, "duration": duration, "leaving": leaving}
        lives_ms = round(duration * RECORD_LIVES_DURATIONS * 1000)
        await RENEW(
            self._redis,
            [self._key("members"), self._key(f"member:{member}"), self._key("slots"), *self._leader_keys()],
            [member, json.dumps(record, separators=(",", ":")), lives_ms, self._key("changed"), *self._leader_args()],
        )

    async def release(self, member: MemberId) -> None:
        """Delete the member's lease."""
        keys = [self._key("members"), self._key(f"member:{member}")]
        await RELEASE(self._redis, keys, [member, self._key("changed")])

    async def members(self) -> Mapping[MemberId, MemberRecord]:
        """Read all leases of the pool. A record that cannot be read is reported and left out."""
        answer: Sequence[str] = await MEMBERS(self._redis, [self._key("members")], [self._key("member:")])
        pairs = zip(answer[::2], answer[1::2], strict=True)
        records = [self._record(MemberId(member), text) for member, text in pairs]
        return {record.member: record for record in records if record is not None}

    # --- SlotTable ---

    async def read(self, *, fresh: bool = False) -> TableView:
        """Read the table; makes it, with a new realm, when it is absent, damaged or another server's."""
        answer: tuple[str, str, list[str]] = await READ(
            self._redis, [self._key("slots")], [self._slots, uuid.uuid4().hex, self._key("changed"), UNREADABLE]
        )
        realm, why, rows = answer
        if why:
            self._report(f"slot table {self._key('slots')}: {why}; a new realm begins and slots are claimed anew")
        return TableView(realm=realm, rows=tuple(_row(text) for text in rows))

    async def compare_and_set(self, realm: str, slot: int, expected: SlotRow, new: SlotRow) -> bool:
        """Replace one row if realm and row are still as expected."""
        answer: int = await SWAP(
            self._redis,
            [self._key("slots"), *(self._leader_keys() if slot == 0 else ())],
            [realm, slot, _text(expected), _text(new), self._key("changed"), *self._leader_args()],
        )
        return answer == 1

    async def changes(self) -> AsyncIterator[None]:
        """Yield once it listens, then after every change."""
        async with self._redis.pubsub() as channel:
            with redis_errors("hear changes"):
                await channel.subscribe(self._key("changed"))
            yield
            while True:
                if await _hears(channel):
                    yield

    # --- inside ---

    def _key(self, name: str) -> str:
        return f"{self._prefix}:{name}"

    def _leader_keys(self) -> list[str]:
        return [] if self._leader is None else [self._leader.key]

    def _leader_args(self) -> list[str | int]:
        return [] if self._leader is None else [self._leader.shows, round(self._leader.duration * 1000)]

    def _record(self, member: MemberId, text: str) -> MemberRecord | None:
        try:
            raw: Any = json.loads(text)
            duration = float(raw["duration"])
            if not 0 < duration < float("inf"):
                raise ValueError(duration)
            leaving = raw["leaving"] is True
            return MemberRecord(member=member, version=str(raw["version"]), duration=duration, leaving=leaving)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            self._report_once(
                f"lease {self._key(f'member:{member}')} is not a lease but {text[:80]!r}: left out; "
                "its member writes it anew with its next renewal, or DEL it"
            )
            return None

    def _report_once(self, sentence: str) -> None:
        if sentence not in self._reported:
            self._reported.add(sentence)
            self._report(sentence)


def pool_prefix(pool: str) -> str:
    """Return the prefix of all keys of a pool. Raises `Refused` for a name that would mix with others."""
    if not pool or ":" in pool or any(character.isspace() for character in pool):
        raise Refused(f"pool name is {pool!r}; give one without colons and blanks")
    return f"bgt:{pool}"


@asynccontextmanager
async def open_redis(url: str, pool: str, *, slots: int) -> AsyncIterator[tuple[MemberLease, SlotTable]]:
    """Open connections of one's own to a pool's leases, in the calling loop. Raises `Refused` for a URL or a name."""
    redis = connect(url, connections=8)
    try:
        leases = RedisLeases(redis, prefix=pool_prefix(pool), slots=slots)
        yield leases, leases
    finally:
        await redis.aclose()


@asynccontextmanager
async def open_leader(
    client: "Redis", key: str, node: str, *, duration: float
) -> AsyncIterator[tuple[MemberLease, SlotTable]]:
    """Open a pool of one slot below `key`, which itself shows the holder's `node` for `duration` seconds at a time.

    The connections are its own, made like those of `client`.
    """
    redis = connect_like(client)
    try:
        leader = LeaderKey(key=key, shows=node, duration=duration)
        leases = RedisLeases(redis, prefix=key, slots=1, leader=leader)
        yield leases, leases
    finally:
        await redis.aclose()


async def _hears(channel: "PubSub") -> bool:
    """Wait for a hint. False: something else came, or nothing for so long that the connection was tried."""
    with redis_errors("hear changes"):
        message = await channel.get_message(timeout=SILENCE_S)
        if message is None:  # only after the time-out, as no message is ignored: else pings would answer pings
            await channel.ping()
    return message is not None and message["type"] == "message"


def _row(text: str) -> SlotRow:
    epoch, _, holder = text.partition(":")
    return SlotRow(holder=MemberId(holder) if holder else None, epoch=int(epoch))


def _text(row: SlotRow) -> str:
    return f"{row.epoch}:{row.holder or ''}"
