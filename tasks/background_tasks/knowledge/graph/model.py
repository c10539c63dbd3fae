"""What the memory's graph is made of: tiers, scopes, types, and identities that are derived, never drawn.

Derived identities let replays and racing replicas meet in one node. Times in the graph are epoch milliseconds.
"""

import json
import math
import unicodedata
import uuid
from collections.abc import Sequence
from enum import IntEnum, StrEnum

from background_tasks.errors import Refused

NAMESPACE = uuid.UUID("6f6a2f0e-9a3b-5d0c-8d9e-2f4b7c1a5e60")
"""Of every identity below; another one would be another world of ids."""
DAY_MS = 86_400_000
EMBEDDING_SIZE = 768
EMBEDDING_SIZES = (768, 1536)
"""3072 costs four times as much for little."""


class Tier(IntEnum):
    """How much a thing is trusted and how long it stays; text can never raise it."""

    CORE = 100
    GUILD = 80
    CHANNEL = 60
    GENERAL = 40
    USER = 20


class EntityType(StrEnum):
    """The closed list of what an entity can be."""

    PERSON = "person"
    CONCEPT = "concept"
    PREFERENCE = "preference"
    FACT = "fact"
    EVENT = "event"
    LOCATION = "location"
    ORGANIZATION = "organization"
    PROJECT = "project"
    TECHNOLOGY = "technology"
    RULE = "rule"
    DIRECTIVE = "directive"
    ROLE = "role"


def scope(kind: str, *ids: str) -> str:
    """Spell a scope: `core`, `general`, or a kind with ids, as in `channel:["discord","1:2"]` (ids may hold ':')."""
    return kind if not ids else f"{kind}:{json.dumps(list(ids), ensure_ascii=False, separators=(',', ':'))}"


def scope_ids(text: str) -> tuple[str, tuple[str, ...]]:
    """Read a scope back as its kind and its ids. Raises `Refused` for a text that is no scope."""
    kind, separator, ids = text.partition(":")
    if not separator:
        return kind, ()
    try:
        found = json.loads(ids)
    except ValueError as error:
        raise Refused(f"scope is {text!r}: write a kind and a JSON list of ids") from error
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise Refused(f"scope is {text!r}: write a kind and a JSON list of ids")
    return kind, tuple(found)


def norm(text: str) -> str:
    """Return what two spellings of one name have in common: NFKC, case, spaces, outer punctuation.

    Example: `norm("  The Acme\\u00a0 Labs! ") == "the acme labs"`. Symbols stay ("C++", "C#" are not "C"), and a name
    of punctuation alone keeps it.
    """
    caseless = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    folded = " ".join(caseless.split())
    start, end = 0, len(folded)
    while start < end and _is_outer(folded[start]):
        start += 1
    while end > start and _is_outer(folded[end - 1]):
        end -= 1
    return folded[start:end].strip() or folded


def _is_outer(letter: str) -> bool:
    return letter != "#" and (letter.isspace() or unicodedata.category(letter).startswith("P"))


def derived(*parts: str | int) -> str:
    """Return the UUIDv5 of a list of parts; no two lists share a text."""
    return str(uuid.uuid5(NAMESPACE, json.dumps(parts, ensure_ascii=False, separators=(",", ":"))))


def entity_uuid(scope: str, kind: str, norm: str, disambiguator: str = "") -> str:
    """Return an entity's identity. The disambiguator is empty unless "same name, other thing" was judged."""
    return derived("entity", scope, kind, norm, disambiguator)


def fact_uuid(source: str, kind: str, target: str, norm_fact: str, scope: str) -> str:
    """Return a REL's identity; look for a live one of the same resolved pair first (a merge changes the recipe)."""
    return derived("rel", source, kind, target, norm_fact, scope)


def tombstone_uuid(kind: str, buried: str, at: int) -> str:
    """Return a Tombstone's identity: one burial of one thing."""
    return derived("tombstone", kind, buried, at)


def checked_vector(values: Sequence[float], size: int) -> list[float]:
    """Return an embedding that may be stored (wrapped in `vecf32()`). Raises `Refused`: a bad one is never found."""
    if len(values) != size:
        raise Refused(f"embedding has {len(values)} numbers, the graph's have {size}; embed with the graph's model")
    if not all(math.isfinite(value) for value in values):
        raise Refused("embedding holds a number that is not finite; embed the text again")
    return [float(value) for value in values]
