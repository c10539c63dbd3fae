"""Steps that repair: ties of a thing to itself, facts that are there twice, vectors, counts, the schema."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import batched, groupby

from background_tasks.errors import Refused
from background_tasks.knowledge.graph.pages import IN_PAGE, TIES_OF_PAGE, node_pages, tie_pages
from background_tasks.knowledge.graph.schema import embedding_size_of, ensure_schema
from background_tasks.knowledge.graph.tombstones import BURY, Fact, burials, facts_of
from background_tasks.knowledge.upkeep.channels import ask_for_vectors
from background_tasks.knowledge.upkeep.sweep import Sweep, Tally

EVIDENCE = """
CALL {
  WITH c UNWIND $kept AS k
  MATCH ()-[r:REL {uuid: k.uuid}]->() WHERE id(r) = k.id
  SET r.episodes = k.episodes
  RETURN count(r) AS kept
}
"""
VECTOR_LABELS = ("Entity", "Topic", "Epoch")
FEW = 64
"""Vectors of so many nodes are read and measured here; of more, halves are tried."""


async def self_loops(sweep: Sweep) -> Tally:
    """Bury facts that tie a thing to itself: what a merge of both ends leaves."""
    found: list[str] = []
    for low, high in await node_pages(sweep.graph, sweep.limits.batch):
        cypher = f"MATCH (n:Entity) WHERE {IN_PAGE} MATCH (n)-[r:REL]->(n) RETURN DISTINCT r.uuid"
        found += [uuid for (uuid,) in await sweep.graph.rows(cypher, low=low, high=high) if uuid is not None]
    facts = [fact for fact in await _facts(sweep, found) if fact.source == fact.target]
    return await _bury(sweep, facts, "self_loop")


async def doubles(sweep: Sweep) -> Tally:
    """Bury all but the best of facts that share a uuid; the one that stays gets the evidence of all.

    Where the constraint works there can be none, and nothing is read.
    """
    rows = await sweep.graph.rows(
        "CALL db.constraints() YIELD label, properties, status RETURN label, properties, status"
    )
    if ["REL", ["uuid"], "OPERATIONAL"] in [[label, list(props), status] for label, props, status in rows]:
        return Tally()
    seen: set[str] = set()
    found: set[str] = set()
    for low, high in await tie_pages(sweep.graph, sweep.limits.batch):
        rows = await sweep.graph.rows(f"{TIES_OF_PAGE} RETURN r.uuid", low=low, high=high)
        uuids = [str(uuid) for (uuid,) in rows if uuid is not None]
        found |= {uuid for uuid, times in Counter(uuids).items() if times > 1 or uuid in seen}
        seen |= set(uuids)
    kept, gone = best_of(await _facts(sweep, sorted(found)))
    return await _bury(sweep, gone, "double", kept)


def best_of(facts: Iterable[Fact]) -> tuple[list[dict[str, object]], list[Fact]]:
    """Choose among facts of one uuid: (the best with its new evidence, where that is new), and all others.

    The best is the newest version, then the most used, then the heaviest, then the first written.
    """
    kept: list[dict[str, object]] = []
    gone: list[Fact] = []
    ordered = sorted(facts, key=lambda fact: (fact.uuid, *_rank(fact)))
    for uuid, same in groupby(ordered, key=lambda fact: fact.uuid):
        best, *others = same
        alike = [fact for fact in others if (fact.source, fact.target) == (best.source, best.target)]
        mine = list(best.properties.get("episodes") or ())
        more = {episode for fact in alike for episode in fact.properties.get("episodes") or ()} - set(mine)
        if more:
            kept.append({"uuid": uuid, "id": best.id, "episodes": mine + sorted(more)})
        gone += others
    return kept, gone


def _rank(fact: Fact) -> tuple[float, float, float, int]:
    get = fact.properties.get
    return -(get("version") or 0), -(get("uses") or 0), -(get("weight") or 0.0), fact.id


async def _bury(sweep: Sweep, facts: Sequence[Fact], kind: str, kept: Sequence[dict[str, object]] = ()) -> Tally:
    tally = Tally(before=len(facts))
    if sweep.dry_run:
        tally.mended = min(len(facts), sweep.mark.edges_left)
        sweep.foresee([], edges=tally.mended)
    for batch in sweep.batches(facts, most=sweep.mark.edges_left):
        uuids = {fact.uuid for fact in batch}
        params = {
            "burials": burials(batch, kind, sweep.now),
            "kept": [one for one in kept if one["uuid"] in uuids],
            "kind": kind,
            "purge_at": sweep.now + sweep.limits.tombstone_kept,
        }
        changed, buried = await sweep.write(EVIDENCE + BURY + "RETURN kept, buried", params, edges=len(batch))
        gone = len(buried)
        tally.add(Tally(mended=gone, edges=gone, buried=gone, changed=changed))
    return tally


async def _facts(sweep: Sweep, uuids: Sequence[str]) -> list[Fact]:
    found: list[Fact] = []
    for batch in batched(sorted(set(uuids) - sweep.foreseen), sweep.limits.check_batch):
        found += await facts_of(sweep.graph, batch)
    return found


async def vectors(sweep: Sweep) -> Tally:
    """Ask for embeddings that are missing, and drop those that no search would ever find: wrong length, no vector."""
    if sweep.redis is None:
        return Tally(skipped="no Redis: the queue of embeddings is there")
    size, tally = await embedding_size_of(sweep.graph), Tally()
    for label in VECTOR_LABELS:
        found = await _bad_vectors(sweep, label, size)
        tally.before += len(found)
        room = sweep.limits.vectors - tally.mended
        if sweep.dry_run:
            tally.mended += min(len(found), room)
        for batch in sweep.batches(found, most=room):
            await ask_for_vectors(sweep, label, batch)
            effect = f"""
CALL {{
  WITH c UNWIND $uuids AS u
  MATCH (n:{label} {{uuid: u}})
  SET n.embedding = null, n.embed_asked_at = $asked
  RETURN count(u) AS asked
}}
RETURN asked
"""
            asked = (await sweep.write(effect, {"uuids": batch, "asked": sweep.now}))[0]
            tally.add(Tally(mended=asked, changed=asked))
    return tally


async def _bad_vectors(sweep: Sweep, label: str, size: int) -> list[str]:
    """Name the nodes whose embedding is none, a plain list, or of another length; once a week each."""
    found: list[str] = []
    for low, high in await node_pages(sweep.graph, sweep.limits.batch):
        params = {"low": low, "high": high}
        none = f"""
MATCH (n:{label}) WHERE {IN_PAGE}
WITH n, typeOf(n.embedding) AS kind, coalesce(n.embed_asked_at, 0) AS asked
WITH n, kind, asked WHERE kind <> 'Vectorf32' AND asked < $since
RETURN n.uuid
"""
        since = sweep.now - sweep.limits.anchors_kept
        found += [uuid for (uuid,) in await sweep.graph.rows(none, since=since, **params) if uuid is not None]
        some = f"MATCH (n:{label}) WHERE {IN_PAGE} AND typeOf(n.embedding) = 'Vectorf32' RETURN n.uuid"
        uuids = [uuid for (uuid,) in await sweep.graph.rows(some, **params) if uuid is not None]
        found += await _wrong_length(sweep, label, uuids, size)
    return sorted(set(found) - sweep.foreseen)


async def _wrong_length(sweep: Sweep, label: str, uuids: list[str], size: int) -> list[str]:
    """Find wrong lengths without reading all vectors: the server refuses to measure against a vector of our size."""
    if not uuids:
        return []
    if len(uuids) <= FEW:
        cypher = f"UNWIND $uuids AS u MATCH (n:{label} {{uuid: u}}) RETURN u, n.embedding"
        return [u for u, vector in await sweep.graph.rows(cypher, uuids=uuids) if len(vector) != size]
    measured = f"""
UNWIND $uuids AS u MATCH (n:{label} {{uuid: u}})
RETURN count(vec.euclideanDistance(n.embedding, vecf32([x IN range(1, {size}) | 0.0])))
"""
    try:
        await sweep.graph.rows(measured, uuids=uuids)
    except Refused as error:
        if "dimension mismatch" not in str(error):
            raise
        half = len(uuids) // 2
        first = await _wrong_length(sweep, label, uuids[:half], size)
        return first + await _wrong_length(sweep, label, uuids[half:], size)
    return []


async def mentions(sweep: Sweep) -> Tally:
    """Count anew how many episodes mention each entity."""
    wrong: list[str] = []
    for low, high in await node_pages(sweep.graph, sweep.limits.batch):
        cypher = f"""
MATCH (n:Entity) WHERE {IN_PAGE}
OPTIONAL MATCH (e:Episode)-[:MENTIONS]->(n) WHERE NOT e.uuid IN $gone
WITH n, count(e) AS counted, coalesce(n.mentions, 0) AS told
WITH n, counted, told WHERE counted <> told
RETURN n.uuid
"""
        rows = await sweep.graph.rows(cypher, low=low, high=high, gone=sorted(sweep.foreseen))
        wrong += [uuid for (uuid,) in rows if uuid is not None and uuid not in sweep.foreseen]
    effect = """
CALL {
  WITH c UNWIND $uuids AS u
  MATCH (n:Entity {uuid: u})
  SET n.mentions = indegree(n, 'MENTIONS')
  RETURN count(u) AS counted
}
RETURN counted
"""
    tally = Tally(before=len(wrong), mended=len(wrong) if sweep.dry_run else 0)
    for batch in sweep.batches(sorted(wrong)):
        counted = (await sweep.write(effect, {"uuids": batch}))[0]
        tally.add(Tally(mended=counted, changed=counted))
    return tally


async def schema(sweep: Sweep) -> Tally:
    """Make missing indexes and constraints again."""
    change = await ensure_schema(sweep.graph, dry_run=sweep.dry_run)
    made = [*change.indexes, *change.constraints]
    skipped = f"this kg_manager cannot make constraints: {', '.join(change.missing)}" if change.missing else ""
    return Tally(before=len(made), mended=len(made), skipped=skipped, extra={"made": made})
