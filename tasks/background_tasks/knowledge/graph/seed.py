"""Facts written by hand, properly: entities, their episode, and the ties between them, as an extractor would.

For demonstrations, tests and imports. Remembering the same twice changes nothing. Not here: extraction, resolving.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from background_tasks.errors import Refused
from background_tasks.knowledge.graph.model import EntityType, Tier, derived, entity_uuid, fact_uuid, norm
from background_tasks.knowledge.graph.store import Graph, Queryable

_REMEMBER = """
MERGE (e:Episode {digest: $digest})
  ON CREATE SET e.uuid = $episode, e.source = $source, e.scope = $scope, e.at = $at, e.run_id = $run_id
WITH e
CALL {
  WITH e UNWIND $entities AS x
  MERGE (n:Entity {uuid: x.uuid})
    ON CREATE SET n += x.fresh
  MERGE (e)-[m:MENTIONS]->(n)
    ON CREATE SET n.mentions = n.mentions + 1, n.last_seen_at = $at
  RETURN count(*) AS entities
}
CALL {
  WITH e UNWIND $facts AS f
  MERGE (a:Entity {uuid: f.source})
  MERGE (b:Entity {uuid: f.target})
  MERGE (a)-[r:REL {uuid: f.uuid}]->(b)
    ON CREATE SET r += f.fresh
  RETURN count(*) AS facts
}
RETURN entities, facts
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """Something that facts are about."""

    name: str
    type: EntityType = EntityType.CONCEPT
    summary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One fact to remember: subject -[kind]-> object. Times are epoch milliseconds."""

    subject: Thing
    kind: str
    object: Thing
    fact: str = ""
    """The sentence; made of the three parts when empty."""
    weight: float = 0.8
    uses: int = 0
    tier: Tier = Tier.CHANNEL
    scope: str = "general"
    pinned: bool = False
    valid_at: int | None = None
    invalid_at: int | None = None

    @property
    def sentence(self) -> str:
        """What is known, in words."""
        return self.fact or f"{self.subject.name} {self.kind.replace('_', ' ')} {self.object.name}"


async def remember(
    kg_manager: Queryable, facts: Iterable[Known], *, at: int, source: str = "chat", run_id: str = "seed"
) -> int:
    """Write facts as seen at `at` (epoch milliseconds), one episode per scope; return how many REL they are.

    `decayed_at` is `at`: facts of last month have faded since, and the next `kg_decay` settles them.
    Raises `Refused` for a weight outside 0 to 1.
    """
    graph = Graph(kg_manager)
    told = 0
    for scope, group in groupby(sorted(facts, key=lambda known: known.scope), key=lambda known: known.scope):
        known = list(group)
        digest = _digest(source, scope, known)
        episode = derived("episode", digest)
        _, count = await graph.one(
            _REMEMBER,
            digest=digest,
            episode=episode,
            source=source,
            scope=scope,
            at=at,
            run_id=run_id,
            entities=_entities(known, at),
            facts=[_fact(one, at, episode) for one in known],
        )
        told += count
    return told


def entity_of(thing: Thing, scope: str) -> str:
    """Return the uuid of the entity that a thing becomes in a scope."""
    return entity_uuid(scope, thing.type, norm(thing.name))


def rel_of(known: Known) -> str:
    """Return the uuid of the REL that a fact becomes."""
    source, target = entity_of(known.subject, known.scope), entity_of(known.object, known.scope)
    return fact_uuid(source, known.kind, target, norm(known.sentence), known.scope)


def _digest(source: str, scope: str, known: list[Known]) -> str:
    text = json.dumps([source, scope, sorted(one.sentence for one in known)], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _entities(known: list[Known], at: int) -> list[dict[str, object]]:
    found = {entity_of(thing, one.scope): (thing, one) for one in known for thing in (one.subject, one.object)}
    return [
        {
            "uuid": uuid,
            "fresh": {
                "norm": norm(thing.name),
                "name": thing.name,
                "type": str(thing.type),
                "tier": int(one.tier),
                "scope": one.scope,
                "summary": thing.summary,
                "aliases": [],
                "mentions": 0,
                "pinned": False,
                "created_at": at,
                "updated_at": at,
                "version": 1,
                "dirty": True,
                "dirty_at": at,
            },
        }
        for uuid, (thing, one) in found.items()
    ]


def _fact(known: Known, at: int, episode: str) -> dict[str, object]:
    if not 0 <= known.weight <= 1:
        raise Refused(f"weight of {known.sentence!r} is {known.weight!r}; give a number from 0 to 1")
    fresh = {
        "kind": known.kind,
        "fact": known.sentence,
        "norm_fact": norm(known.sentence),
        "weight": float(known.weight),
        "decayed_at": at,
        "uses": known.uses,
        "tier": int(known.tier),
        "scope": known.scope,
        "confidence": float(known.weight),
        "pinned": known.pinned,
        "valid_at": known.valid_at,
        "invalid_at": known.invalid_at,
        "created_at": at,
        "episodes": [episode],
        "version": 1,
    }
    return {
        "uuid": rel_of(known),
        "source": entity_of(known.subject, known.scope),
        "target": entity_of(known.object, known.scope),
        "fresh": {key: value for key, value in fresh.items() if value is not None},
    }
