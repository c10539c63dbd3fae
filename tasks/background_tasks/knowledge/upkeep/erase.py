"""The step that erases what was learnt in a channel whose people took their consent back.

`extract` withdrawn: episodes, facts without other evidence, anchors, epochs, tombstones and unused entities of its
scope. `summarise` withdrawn: summary and notes. Both: the cached messages too. It has no cap, and leaves
neither tombstone nor copy.
Not here: answers cached for 24 h by the digest of their prompt: they cannot be found by channel, and run out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import batched
from typing import Any, cast

from background_tasks.knowledge.upkeep.channels import Policy, policies
from background_tasks.knowledge.upkeep.snapshot import drop_all
from background_tasks.knowledge.upkeep.sweep import Sweep, Tally, remove_nodes
from background_tasks.services.redis import redis_errors

LOG_PAGE = 500

_EPISODES = "MATCH (n:Episode) WHERE n.scope IN $scopes RETURN n.uuid ORDER BY n.uuid"
_CITING = """
UNWIND $uuids AS u
MATCH (:Episode {uuid: u})-[:MENTIONS]->(:Entity)-[r:REL]-(:Entity) WHERE u IN r.episodes
RETURN DISTINCT r.uuid, r.episodes
"""
_BARE = "MATCH ()-[r:REL]->() WHERE r.scope IN $scopes AND coalesce(size(r.episodes), 0) = 0 RETURN r.uuid"
# An effect. A fact that got or lost evidence since it was read is left for the next look.
_FACTS = """
CALL {
  WITH c UNWIND $gone AS g
  MATCH ()-[r:REL {uuid: g.uuid}]->() WHERE coalesce(size(r.episodes), 0) = g.size
  WITH r, g DELETE r
  RETURN count(g) AS gone
}
CALL {
  WITH c UNWIND $kept AS k
  MATCH ()-[r:REL {uuid: k.uuid}]->() WHERE size(r.episodes) = k.size
  SET r.episodes = k.episodes
  RETURN count(k) AS kept
}
RETURN gone, kept
"""
_NODES = {
    "Episode": "n.scope IN $scopes",
    "Anchor": "n.scope IN $scopes",
    "Epoch": "n.scope IN $scopes",
    "Tombstone": "n.scope IN $scopes OR any(e IN n.episodes WHERE e IN $episodes)",
}
_ENTITIES = """
MATCH (n:Entity) WHERE n.scope IN $scopes
OPTIONAL MATCH (e:Episode)-[:MENTIONS]->(n) WHERE NOT e.scope IN $scopes
WITH n, count(e) AS others
OPTIONAL MATCH (n)-[r:REL]-()
RETURN n.uuid, others, collect(r.uuid), coalesce(n.summary, '')
"""
_FREE = "n.scope IN $scopes AND indegree(n) + outdegree(n) = 0"
ROUNDS = 3
"""Looks at the facts: others write meanwhile."""


@dataclass(slots=True, kw_only=True)
class Evidence:
    """What becomes of facts when episodes go."""

    gone: list[dict[str, object]] = field(default_factory=list)
    kept: list[dict[str, object]] = field(default_factory=list)


async def withdrawn(sweep: Sweep) -> Tally:
    """Erase what the channels of withdrawn consent left; a channel without a policy is none of them."""
    if sweep.redis is None:
        return Tally(skipped="no Redis: consent is there")
    told, faults = await policies(sweep)
    tally = Tally(failed="; ".join(faults))
    scopes = sorted(policy.scope for policy in told.values() if policy.extract is False)
    if scopes:
        await _erase_scopes(sweep, scopes, tally)
    for policy in told.values():
        await _erase_keys(sweep, policy, tally)
    return tally


async def _erase_scopes(sweep: Sweep, scopes: list[str], tally: Tally) -> None:
    episodes = [uuid for (uuid,) in await sweep.graph.rows(_EPISODES, scopes=scopes)]
    params = {"scopes": scopes, "episodes": episodes}
    nodes = {label: await _found(sweep, label, where, params) for label, where in _NODES.items()}
    plan = await _evidence(sweep, scopes, frozenset(episodes))
    free, worded = entities_left(await sweep.graph.rows(_ENTITIES, scopes=scopes), plan)
    if any((*nodes.values(), plan.gone, plan.kept, free, worded)) and not sweep.dry_run:
        await drop_all(sweep)  # first: what is erased must not live on in a copy, whatever crashes in between
    for _ in range(ROUNDS):
        tally.add(await _erase_facts(sweep, plan))
        if sweep.dry_run or not (plan.gone or plan.kept):
            break
        plan = await _evidence(sweep, scopes, frozenset(episodes))  # others write meanwhile
    for label, where in _NODES.items():
        tally.add(await remove_nodes(sweep, label, where, nodes[label], params, most=len(nodes[label])))
    tally.add(await remove_nodes(sweep, "Entity", _FREE, free, params, most=len(free)))
    tally.add(await _blank(sweep, worded))


async def _found(sweep: Sweep, label: str, where: str, params: Mapping[str, object]) -> list[str]:
    rows = await sweep.graph.rows(f"MATCH (n:{label}) WHERE {where} RETURN n.uuid ORDER BY n.uuid", **params)
    return [str(uuid) for (uuid,) in rows if uuid is not None]


def entities_left(rows: Iterable[Sequence[Any]], plan: Evidence) -> tuple[list[str], list[str]]:
    """Tell entities that nothing will hold any more from those that stay and still carry the channel's words.

    A row is (uuid, mentions by others, uuids of its facts, summary).
    """
    gone = {str(fact["uuid"]) for fact in plan.gone}
    free: list[str] = []
    worded: list[str] = []
    for uuid, others, facts, summary in rows:
        if not others and gone.issuperset(facts):
            free.append(uuid)
        elif summary:
            worded.append(uuid)
    return sorted(free), sorted(worded)


async def _evidence(sweep: Sweep, scopes: Sequence[str], episodes: frozenset[str]) -> Evidence:
    """Find the facts that cite the episodes, and those of the scopes that cite nothing."""
    citing: dict[str, list[str]] = {}
    for batch in batched(sorted(episodes), sweep.limits.check_batch):
        citing |= dict(await sweep.graph.rows(_CITING, uuids=list(batch)))
    plan = without(citing, episodes)
    plan.gone += [{"uuid": uuid, "size": 0} for (uuid,) in await sweep.graph.rows(_BARE, scopes=list(scopes))]
    return plan


def without(citing: Mapping[str, Sequence[str]], episodes: frozenset[str]) -> Evidence:
    """Decide per fact (uuid -> evidence): gone when nothing is left of its evidence, else kept with the rest."""
    plan = Evidence()
    for uuid, cited in sorted(citing.items()):
        left = [one for one in cited if one not in episodes]
        if left:
            plan.kept.append({"uuid": uuid, "size": len(cited), "episodes": left})
        else:
            plan.gone.append({"uuid": uuid, "size": len(cited)})
    return plan


async def _erase_facts(sweep: Sweep, plan: Evidence) -> Tally:
    tally = Tally(before=len(plan.gone) + len(plan.kept))
    if sweep.dry_run:
        tally.mended = tally.before
        sweep.foresee(str(fact["uuid"]) for fact in plan.gone)
    for name in ("gone", "kept"):
        for batch in sweep.batches(getattr(plan, name)):
            empty: dict[str, object] = {"gone": [], "kept": []}
            gone, kept = await sweep.write(_FACTS, empty | {name: batch})
            tally.add(Tally(mended=gone + kept, edges=gone, changed=kept))
    return tally


async def _blank(sweep: Sweep, worded: Sequence[str]) -> Tally:
    """Take the words out of entities that others' facts still need: only their own scope wrote them."""
    tally = Tally(before=len(worded), mended=len(worded) if sweep.dry_run else 0)
    effect = """
CALL {
  WITH c UNWIND $uuids AS u
  MATCH (n:Entity {uuid: u}) WHERE coalesce(n.summary, '') <> ''
  SET n.summary = '', n.embedding = null, n.dirty = true, n.dirty_at = $at, n.version = coalesce(n.version, 0) + 1
  RETURN count(u) AS blanked
}
RETURN blanked
"""
    for batch in sweep.batches(worded):
        blanked = (await sweep.write(effect, {"uuids": batch, "at": sweep.now}))[0]
        tally.add(Tally(mended=blanked, changed=blanked))
    return tally


async def _erase_keys(sweep: Sweep, policy: Policy, tally: Tally) -> None:
    redis, keys, where = cast(Any, sweep.redis), sweep.keys, (policy.platform, policy.channel)
    names = [keys.summary(*where), keys.awareness(*where)] if policy.summarise is False else []
    if policy.summarise is False and policy.extract is False:
        names += await _messages(sweep, policy)
        names += [keys.channel(*where, part) for part in ("time", "gaps", "log")]  # the log last: it names the messages
    with redis_errors("erase a channel"):
        there = [name for name in names if await redis.exists(name)]
        tally.before += len(there)
        tally.mended += len(there)
        if not sweep.dry_run:
            for batch in batched(there, LOG_PAGE):
                await redis.unlink(*batch)


async def _messages(sweep: Sweep, policy: Policy) -> list[str]:
    """Name the cached messages of a channel, by its log and its display order."""
    redis, keys = cast(Any, sweep.redis), sweep.keys
    with redis_errors("read a channel's log"):
        entries = await redis.xrange(keys.channel(policy.platform, policy.channel, "log"))
        shown = await redis.zrange(keys.channel(policy.platform, policy.channel, "time"), 0, -1)
    ids = [fields.get("id") or fields.get("message_id") for _, fields in entries] + list(shown)
    return sorted({keys.message(policy.platform, str(one)) for one in ids if one})
