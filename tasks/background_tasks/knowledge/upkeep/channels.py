"""What the upkeep reads and writes in Redis: channel policies, cursors of dead channels, the queue of embeddings."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from background_tasks.errors import Refused
from background_tasks.knowledge.graph.model import scope
from background_tasks.knowledge.upkeep.sweep import Sweep, Tally
from background_tasks.services.redis import Script, redis_errors

ASKED_TTL_S = 14 * 86_400
SCAN_COUNT = 500
FOR_EVER_DAYS = 36_500
MILLISECONDS_FROM = 1e11
"""A time above it is in milliseconds: in seconds it would be the year 5138."""
TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})

# KEYS: queue, set of what this pass asked for. ARGV: ttl, label, ids. An id goes into the queue once a pass, whatever
# crashes between this and the graph's mark. Example: ("sg:embed:queue", "sg:embed:asked:17") (1209600, "Entity", "u1").
_ASK = Script(
    """
local added = 0
for i = 3, #ARGV do
  if redis.call('SADD', KEYS[2], ARGV[i]) == 1 then
    redis.call('XADD', KEYS[1], '*', 'id', ARGV[i], 'kind', ARGV[2])
    added = added + 1
  end
end
redis.call('EXPIRE', KEYS[2], ARGV[1])
return added
""",
    "ask for embeddings",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a channel's people agreed to, as far as the upkeep needs it; None = not said."""

    platform: str
    channel: str
    extract: bool | None = None
    summarise: bool | None = None
    retention_days: int | None = None

    @property
    def scope(self) -> str:
        """The scope of what was learnt there."""
        return scope("channel", self.platform, self.channel)


async def policies(sweep: Sweep) -> tuple[Mapping[str, Policy], tuple[str, ...]]:
    """Read all channel policies, by scope, and the faults of those that cannot be read; none without Redis.

    Of a channel whose policy cannot be read, everything is kept until somebody mends it.
    """
    if sweep.redis is None:
        return {}, ()
    found: dict[str, Policy] = {}
    faults: list[str] = []
    redis = cast(Any, sweep.redis)
    with redis_errors("read channel policies"):
        async for key in redis.scan_iter(match=f"{sweep.keys.prefix}chan:*:policy", count=SCAN_COUNT):
            channel = sweep.keys.channel_of(_text(key), "policy")
            if channel is None:
                continue
            told = {_text(name): _text(value) for name, value in (await redis.hgetall(_text(key))).items()}
            try:
                policy = parsed(*channel, told)
            except Refused as fault:
                faults.append(str(fault))
                policy = Policy(platform=channel[0], channel=channel[1], retention_days=FOR_EVER_DAYS)
            found[policy.scope] = policy
    return found, tuple(sorted(faults))


def parsed(platform: str, channel: str, told: Mapping[str, str]) -> Policy:
    """Read one policy. Raises `Refused` naming channel, field and value."""
    days = told.get("retention_days") or None
    if days is not None and not days.isdecimal():
        raise Refused(f"policy of {platform} {channel!r}: retention_days is {days!r}; write a whole number of days")
    return Policy(
        platform=platform,
        channel=channel,
        extract=_flag(platform, channel, "extract", told),
        summarise=_flag(platform, channel, "summarise", told),
        retention_days=None if days is None else int(days),
    )


def _flag(platform: str, channel: str, name: str, told: Mapping[str, str]) -> bool | None:
    value = told.get(name, "").strip().casefold()
    if value and value not in TRUE | FALSE:
        raise Refused(f"policy of {platform} {channel!r}: {name} is {value!r}; write true or false")
    return value in TRUE if value else None


async def ask_for_vectors(sweep: Sweep, label: str, uuids: Sequence[str]) -> None:
    """Put nodes into the queue of embeddings, by id and kind: their text is read from the graph when its turn comes."""
    if sweep.redis is not None:
        keys = [sweep.keys.embed_queue, sweep.keys.embed_asked(sweep.now)]
        await _ASK(sweep.redis, keys, [ASKED_TTL_S, label, *uuids])


async def dead_cursors(sweep: Sweep) -> Tally:
    """Remove cursors of channels that were silent for 90 days, in the graph and in Redis.

    Their log is gone by then, so nothing would be read twice. A channel that never was in `chan:active` counts as
    silent once its cursor stood still that long.
    """
    if sweep.redis is None:
        return Tally(skipped="no Redis: it knows which channels are alive")
    limit = sweep.now - sweep.limits.channel_dead
    rows = await sweep.graph.rows("MATCH (n:Cursor) WHERE n.key STARTS WITH 'extract:' RETURN n.key, n.at")
    stale = {key: channel for key, at in rows if (at or 0) < limit and (channel := _channel(key[len("extract:") :]))}
    last = await _last_ingest(sweep)
    dead = sorted(key for key, channel in stale.items() if last.get(channel, 0) < limit)
    fields = await _dead_fields(sweep, frozenset(channel for channel, at in last.items() if at < limit))
    tally = Tally(before=len(dead) + len(fields))
    if sweep.dry_run:
        tally.mended = tally.before
    effect = """
CALL {
  WITH c UNWIND $keys AS k MATCH (n:Cursor {key: k}) WHERE coalesce(n.at, 0) < $limit
  DELETE n RETURN count(k) AS gone
}
RETURN gone
"""
    for batch in sweep.batches(dead):
        gone = (await sweep.write(effect, {"keys": batch, "limit": limit}))[0]
        tally.add(Tally(mended=gone, nodes=gone))
    if not sweep.dry_run:
        for key, name in fields:
            with redis_errors("remove a dead cursor"):
                tally.mended += await cast(Any, sweep.redis.hdel(key, name))
    return tally


async def _last_ingest(sweep: Sweep) -> dict[tuple[str, ...], int]:
    """Return when each channel had its last message (epoch milliseconds; a score may be in seconds)."""
    with redis_errors("read active channels"):
        told = await cast(Any, sweep.redis).zrange(sweep.keys.active_channels, 0, -1, withscores=True)
    found = {_channel(_text(member)): score for member, score in told}
    return {
        channel: int(score if score > MILLISECONDS_FROM else score * 1000)
        for channel, score in found.items()
        if channel is not None
    }


async def _dead_fields(sweep: Sweep, silent: frozenset[tuple[str, ...]]) -> list[tuple[str, str]]:
    """Name the fields of `cur:{task}` whose channel fell silent; one that never had a message may be about to begin."""
    redis, found = cast(Any, sweep.redis), []
    with redis_errors("read cursors"):
        async for key in redis.scan_iter(match=sweep.keys.cursors("*"), count=SCAN_COUNT):
            names = [_text(name) for name in await redis.hkeys(_text(key))]
            found += [(_text(key), name) for name in names if _channel(name) in silent]
    return sorted(found)


def _channel(text: str) -> tuple[str, ...] | None:
    """Read a JSON array of texts; None for anything else."""
    try:
        parts = json.loads(text)
    except ValueError:
        return None
    return tuple(parts) if isinstance(parts, list) and all(isinstance(part, str) for part in parts) else None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
