"""One claimable due-queue: an id waits in `due`, flies in `inflight` while somebody holds it, and comes back.

Laws: an id is in at most one of the two; each due instant has one holder at a time; nothing is lost by a crash at any
point; an answer with a token that is not current changes nothing. They hold while Redis keeps its acknowledged writes
(with asynchronous replication a failover may lose the last ones: consumers check the occurrence). Instants are wall
seconds, kept as whole milliseconds; `now` None is the server's `TIME`. Each call is one script, so it is whole or not.

Not here: what an id means, when it is due again, retries of a call that had no answer.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import structlog

from background_tasks.errors import Unavailable
from background_tasks.knowledge.keys import QueueKeys
from background_tasks.services.redis import Script, redis_errors

if TYPE_CHECKING:
    from redis.asyncio import Redis

CLAIM_LIMIT = 100
LEASE_S = 60.0
GIVE_BACK_S = 1.0
"""A cancelled run ends within 5 s, whatever the store does."""
FLAG_LIFE_S = 7 * 86_400.0
"""How long an occurrence is remembered as fired."""


class AddMode(StrEnum):
    """What to do when the id is in the queue already."""

    IF_ABSENT = "if_absent"  # leave it as it is
    EARLIEST = "earliest"  # move it forward; one in flight becomes due again afterwards
    SET = "set"  # move it; one in flight is taken from its holder


class Settled(IntEnum):
    """What became of an answer to a claim."""

    STALE = 0  # somebody else holds it, or it is gone: nothing changed
    APPLIED = 1
    REPEATED = 2  # applied, but the occurrence had been fired before: no second entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One due id in our hands until its lease ends."""

    id: str
    due_at: float
    token: int
    at: float
    """The instant at which it was claimed, by the clock that decided that it is due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A hash that belongs to an id and changes together with the queue."""

    key: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """An occurrence that goes out with the answer: its flag and, unless it went another way, a stream entry."""

    flag: str
    stream: str | None
    entry: Mapping[str, str]
    flag_life_s: float = FLAG_LIFE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The whole answer to one claim."""

    claim: Claim
    next_at: float | None = None
    finished: bool = False
    """File the id under `done` when nothing is due any more."""
    firing: Firing | None = None
    record: Record | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What a record's field must say (or, for `add`, must not say)."""

    field: str
    value: str


class DueQueue:
    """The queue under five keys."""

    def __init__(self, redis: "Redis", keys: QueueKeys) -> None:
        self._redis = redis
        self._keys = keys
        self._five = (keys.due, keys.inflight, keys.claims, keys.seq, keys.done)

    async def add(
        self,
        id: str,
        at: float,
        mode: AddMode = AddMode.IF_ABSENT,
        *,
        record: Record | None = None,
        refuse: Guard | None = None,
    ) -> bool:
        """Make an id due at an instant; False when it was left as it is.

        `record` replaces the id's hash in the same step; `refuse` leaves all alone while the old one says so.
        """
        guard = (refuse.field, refuse.value) if refuse else ("", "")
        args = (id, _ms(at), mode.value, *guard, *_flat(record))
        return bool(await _script("add")(self._redis, self._with(record), args))

    async def claim(
        self, limit: int = CLAIM_LIMIT, lease_s: float = LEASE_S, *, now: float | None = None
    ) -> list[Claim]:
        """Take up to `limit` due ids, oldest first; expired leases come back to due before that."""
        args = (limit, _ms(lease_s), _ms_or_none(now))
        answer = [text(part) for part in await _script("claim")(self._redis, (*self._five, ""), args)]
        at, rest = int(answer[0]) / 1000, answer[1:]
        return [
            Claim(id=id, due_at=int(due_at) / 1000, token=int(token), at=at)
            for id, due_at, token in zip(rest[::3], rest[1::3], rest[2::3], strict=True)
        ]

    async def ack(self, id: str, token: int, next_at: float | None = None) -> bool:
        """Say that a claimed id is served, and when it is due next. False: the token is not current."""
        (outcome,) = await self.settle([Settlement(claim=_claim(id, token), next_at=next_at)])
        return _whole(outcome) is not Settled.STALE

    async def fail(self, id: str, token: int, retry_at: float) -> bool:
        """Give a claimed id back, due again at an instant. False: the token is not current."""
        return await self.ack(id, token, retry_at)

    async def fire(
        self, id: str, token: int, firing: Firing, next_at: float | None = None, *, now: float | None = None
    ) -> Settled:
        """Send an occurrence out and acknowledge, in one step; an occurrence that has its flag is not sent again."""
        (outcome,) = await self.settle([Settlement(claim=_claim(id, token), next_at=next_at, firing=firing)], now=now)
        return _whole(outcome)

    async def settle(self, settlements: Sequence[Settlement], *, now: float | None = None) -> list[Settled | Exception]:
        """Answer many claims in one trip, each whole or not at all; what Redis refused stands as its error.

        Raises `Unavailable` or `Ambiguous` when the trip had no answer: some may have been applied.
        """
        if not settlements:
            return []
        script = _script("settle")
        async with self._redis.pipeline(transaction=False) as pipe:
            for one in settlements:
                await script(pipe, *self._settle_args(one, now))
            with redis_errors("settle claims"):
                answers = await pipe.execute(raise_on_error=False)
        return [answer if isinstance(answer, Exception) else Settled(int(answer)) for answer in answers]

    @asynccontextmanager
    async def hold(
        self, limit: int = CLAIM_LIMIT, lease_s: float = LEASE_S, *, now: float | None = None
    ) -> AsyncIterator[list[Claim]]:
        """Claim for a block; when it fails or is cancelled, what it has not settled is due again at once.

        A claim whose answer is on its way is waited for, else its lease would stay; for a store that is silent only
        `GIVE_BACK_S`, and the leases then end by themselves.
        """
        claiming = asyncio.get_running_loop().create_task(self.claim(limit, lease_s, now=now))
        try:
            yield await asyncio.shield(claiming)
        except (Exception, asyncio.CancelledError):
            giving_back = asyncio.get_running_loop().create_task(self._give_back(claiming))
            try:
                await asyncio.shield(giving_back)
            finally:
                await asyncio.wait([giving_back])
            raise

    async def _give_back(self, claiming: asyncio.Task[list[Claim]]) -> None:
        try:
            async with asyncio.timeout(GIVE_BACK_S):
                await self.release(await _outcome(claiming))
        except (Unavailable, TimeoutError) as error:
            claiming.cancel()
            why = str(error) or f"no answer within {GIVE_BACK_S:g} s"
            structlog.get_logger("background_tasks").warning("leases_left_to_expire", why=why)

    async def release(self, claims: Iterable[Claim]) -> None:
        """Give claims back untouched, due as they were; those settled meanwhile stay settled."""
        await self.settle([Settlement(claim=claim, next_at=claim.due_at) for claim in claims])

    async def remove(
        self, id: str, *, record: Record | None = None, require: Guard | None = None, now: float | None = None
    ) -> bool:
        """Take an id out of the queue, from its holder too; with a record it is filed under `done`.

        False, and nothing is changed, when it is not there or its record does not say what `require` wants.
        """
        guard = (require.field, require.value) if require else ("", "")
        args = (id, _ms_or_none(now), *guard, *_flat(record))
        return bool(await _script("remove")(self._redis, self._with(record), args))

    async def now(self) -> float:
        """Return the server's clock, wall seconds."""
        with redis_errors("read time"):
            seconds, micros = await self._redis.time()
        return float(seconds) + int(micros) / 1e6

    def _with(self, record: Record | None) -> tuple[str, ...]:
        return (*self._five, record.key if record else "")

    def _settle_args(self, one: Settlement, now: float | None) -> tuple[tuple[str, ...], tuple[str | int, ...]]:
        firing = one.firing
        entry = [part for pair in firing.entry.items() for part in pair] if firing else []
        keys = (*self._with(one.record), firing.flag if firing else "", (firing.stream or "") if firing else "")
        args = (
            one.claim.id,
            one.claim.token,
            _ms_or_none(one.next_at),
            "1" if one.finished else "",
            _ms_or_none(now),
            _ms(firing.flag_life_s if firing else FLAG_LIFE_S),
            len(entry),
            *entry,
            *_flat(one.record),
        )
        return keys, args


def text(value: object) -> str:
    """Read an answer of a client that decodes or of one that does not."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


async def _outcome(claiming: asyncio.Task[list[Claim]]) -> list[Claim]:
    """Wait for a claim after a cancellation; one that failed has claimed nothing that we know of."""
    await asyncio.wait([claiming])
    return [] if claiming.cancelled() or claiming.exception() else claiming.result()


@cache
def _script(name: str) -> Script:
    folder = resources.files("background_tasks.knowledge") / "lua"
    common, own = ((folder / f"due_{part}.lua").read_text("utf-8") for part in ("common", name))
    return Script(common + own, f"due-queue {name}")


def _claim(id: str, token: int) -> Claim:
    return Claim(id=id, due_at=0.0, token=token, at=0.0)


def _whole(outcome: Settled | Exception) -> Settled:
    if isinstance(outcome, Exception):
        with redis_errors("settle a claim"):
            raise outcome
    return outcome


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _ms_or_none(seconds: float | None) -> str:
    return "" if seconds is None else str(_ms(seconds))


def _flat(record: Record | None) -> list[Any]:
    return [part for pair in record.fields.items() for part in pair] if record else []
