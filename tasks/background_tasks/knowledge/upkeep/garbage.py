"""Steps that remove what nothing needs any more: old tombstones, episodes, topics, anchors."""

from collections.abc import Mapping, Sequence
from itertools import batched

from background_tasks.knowledge.graph.model import DAY_MS
from background_tasks.knowledge.upkeep.channels import policies
from background_tasks.knowledge.upkeep.sweep import Sweep, Tally, remove_nodes

_OLD_EPISODES = """
MATCH (n:Episode) WHERE n.at < $limit AND indegree(n, 'COVERS') = 0
RETURN n.uuid, n.scope, n.at
"""
# Evidence hangs on the entities that its episode mentions; a tombstone may still bring a fact back.
_SUPPORT = """
UNWIND $uuids AS u
MATCH (n:Episode {uuid: u})
OPTIONAL MATCH (n)-[:MENTIONS]->(:Entity)-[r:REL]-(:Entity) WHERE u IN r.episodes
WITH u, n, count(r) AS facts
OPTIONAL MATCH (t:Tombstone) WHERE u IN t.episodes
WITH u, n, facts, count(t) AS buried
WITH u, n, facts + buried AS support
"""
_UNSUPPORTED = _SUPPORT + "RETURN u, support"
_REMOVE_EPISODES = f"""
CALL {{
  WITH c {_SUPPORT}
  WITH u, n, support WHERE support = 0
  WITH n, u, indegree(n) + outdegree(n) AS ties
  DELETE n
  RETURN count(u) AS nodes, sum(ties) AS edges
}}
RETURN nodes, edges
"""
_TOPICS = """
MATCH (n:Topic)
OPTIONAL MATCH (n)-[:PARENT_OF]->(child:Topic)
RETURN n.uuid, outdegree(n, 'IN_TOPIC'), collect(child.uuid)
"""
_USED = "n.consumed_by IS NOT NULL AND coalesce(n.consumed_at, n.at) < $limit"


async def tombstones(sweep: Sweep) -> Tally:
    """Purge tombstones past their date: what they hold cannot come back after it."""
    where, params = "n.purge_at <= $limit", {"limit": sweep.now}
    found = await _found(sweep, "Tombstone", where, params)
    return await remove_nodes(sweep, "Tombstone", where, found, params, most=sweep.limits.tombstones)


async def episodes(sweep: Sweep) -> Tally:
    """Remove episodes past their channel's retention on which no fact, tombstone or epoch stands."""
    told, faults = await policies(sweep)
    kept = {scope: policy.retention_days for scope, policy in told.items()}
    shortest = min([sweep.limits.retention, *(days * DAY_MS for days in kept.values() if days is not None)])
    rows = await sweep.graph.rows(_OLD_EPISODES, limit=sweep.now - shortest)
    old = sorted(uuid for uuid, scope, at in rows if past_retention(scope, at, sweep, kept))
    unused: list[str] = []
    for part in batched(old, sweep.limits.check_batch):
        unused += [uuid for uuid, support in await sweep.graph.rows(_UNSUPPORTED, uuids=list(part)) if not support]
    allowed = unused[: sweep.mark.nodes_left]
    tally = Tally(before=len(unused), failed="; ".join(faults))
    if sweep.dry_run:
        tally.mended = len(allowed)
        sweep.foresee(allowed, nodes=len(allowed))
        return tally
    for part in batched(allowed, sweep.limits.check_batch):
        nodes, edges = await sweep.write(_REMOVE_EPISODES, {"uuids": list(part)}, nodes=len(part))
        tally.add(Tally(mended=nodes, nodes=nodes, edges=int(edges)))
    return tally


def past_retention(scope: str, at: int, sweep: Sweep, kept: Mapping[str, int | None]) -> bool:
    """Say whether an episode is older than its channel's policy, or the default, allows."""
    days = kept.get(scope)
    return at < sweep.now - (sweep.limits.retention if days is None else days * DAY_MS)


async def topics(sweep: Sweep) -> Tally:
    """Remove topics with no member and no topic below, leaf by leaf."""
    told = {uuid: (members, children) for uuid, members, children in await sweep.graph.rows(_TOPICS)}
    where = "outdegree(n, 'IN_TOPIC') = 0 AND outdegree(n, 'PARENT_OF') = 0"
    total = Tally()
    for level in dangling(told):
        total.add(await remove_nodes(sweep, "Topic", where, level, {}))
    return total


def dangling(topics: Mapping[str, tuple[int, Sequence[str]]]) -> list[list[str]]:
    """Return the topics that hold nothing, in the order in which they can go: those below first.

    `topics` is uuid -> (members, topics below). Topics that are below one another for ever stay.
    """
    levels: list[list[str]] = []
    gone: set[str] = set()
    while True:
        level = sorted(
            uuid
            for uuid, (members, below) in topics.items()
            if uuid not in gone and not members and all(child in gone for child in below)
        )
        if not level:
            return levels
        levels.append(level)
        gone |= set(level)


async def anchors(sweep: Sweep) -> Tally:
    """Remove anchors that an epoch has used a week ago."""
    params = {"limit": sweep.now - sweep.limits.anchors_kept}
    return await remove_nodes(sweep, "Anchor", _USED, await _found(sweep, "Anchor", _USED, params), params)


async def _found(sweep: Sweep, label: str, where: str, params: Mapping[str, object]) -> list[str]:
    rows = await sweep.graph.rows(f"MATCH (n:{label}) WHERE {where} RETURN n.uuid ORDER BY n.uuid", **params)
    return [str(uuid) for (uuid,) in rows if uuid is not None]
