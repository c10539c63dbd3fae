"""Pools and the objects made of them, as the watches told them last. An object that is not here may exist all the same.

Not here: tasks (`tasklist`), deciding (`plan`). There are a dozen objects per pool, so bodies are kept whole.
"""

from collections.abc import Iterator, Mapping
from enum import Enum, auto

from background_tasks.api import names
from background_tasks_operator.reconcile.bodies import Body, label, meta, text, version
from background_tasks_operator.reconcile.keys import ObjectKey, PoolKey


class Existence(Enum):
    """What is known of a pool."""

    UNKNOWN = auto()
    """Nobody told of it, or it was deleted: ask before believing that it is not there."""
    PRESENT = auto()
    ABSENT = auto()
    """It was asked for, and it is not there."""


REMEMBERED = 10_000
"""Deleted objects whose last version is remembered; an older body would have to be older than all these deletions."""
NEVER = float("-inf")


class _Shelf[K]:
    """Bodies by key: the newest stays, and what was deleted does not come back with an older body."""

    def __init__(self) -> None:
        self.bodies: dict[K, Body] = {}
        self.seen_at: dict[K, float] = {}
        self._gone: dict[K, int] = {}

    def put(self, key: K, body: Body, now: float) -> bool:
        """Keep a body; False: something newer is known."""
        before = self.bodies.get(key)
        known = self._gone.get(key, 0) if before is None else version(before)
        if 0 < version(body) < known:
            return False
        self._gone.pop(key, None)
        self.bodies[key], self.seen_at[key] = body, max(now, self.seen_at.get(key, NEVER))
        return True

    def drop(self, key: K, body: Body | None = None) -> bool:
        """Forget a body; `body` is its last one, where that is known. False: another object has the name now."""
        before = self.bodies.get(key)
        if before is not None and body is not None and text(body, "uid") != text(before, "uid"):
            return False
        self._gone.pop(key, None)
        self._gone[key] = version(body or before or {})
        if len(self._gone) > REMEMBERED:
            del self._gone[next(iter(self._gone))]
        self.bodies.pop(key, None)
        self.seen_at.pop(key, None)
        return before is not None


class Objects:
    """All pools, and all objects that belong to one."""

    def __init__(self) -> None:
        self._pools: _Shelf[PoolKey] = _Shelf()
        self._absent: set[PoolKey] = set()
        self._children: _Shelf[ObjectKey] = _Shelf()
        self._pool_of_child: dict[ObjectKey, PoolKey] = {}
        self._families: dict[PoolKey, set[ObjectKey]] = {}

    def __len__(self) -> int:
        return len(self._pools.bodies)

    # --- pools ---

    def pool(self, key: PoolKey) -> Body | None:
        """Return a pool's body; None: see `existence`."""
        return self._pools.bodies.get(key)

    def existence(self, key: PoolKey) -> Existence:
        """Say whether a pool exists, as far as is known."""
        if key in self._pools.bodies:
            return Existence.PRESENT
        return Existence.ABSENT if key in self._absent else Existence.UNKNOWN

    def pool_seen(self, body: Body, now: float) -> tuple[PoolKey, bool]:
        """Take in a pool; say whether it is new to us. `now` NEVER: not from a watch, but as an answer to ourselves."""
        key = PoolKey(text(body, "namespace"), text(body, "name"))
        is_new = key not in self._pools.bodies
        kept = self._pools.put(key, body, now)
        if kept:
            self._absent.discard(key)
        return key, is_new and kept

    def pool_gone(self, key: PoolKey, body: Body | None = None) -> bool:
        """Forget a pool. False: it was not known, or another one has its name now."""
        return self._pools.drop(key, body)

    def pool_absent(self, key: PoolKey) -> None:
        """Note that a pool was asked for and is not there."""
        if key not in self._pools.bodies:
            self._absent.add(key)

    def forget(self, key: PoolKey) -> None:
        """Know nothing of a pool any more: nobody asks for it."""
        self._absent.discard(key)

    # --- their objects ---

    def child(self, key: ObjectKey) -> Body | None:
        """Return an object's body; None: it was not told of."""
        return self._children.bodies.get(key)

    def child_seen(self, body: Body, now: float) -> PoolKey | None:
        """Take in an object; return the pool that it belongs to. None: to no pool, or something newer is known."""
        key = key_of(body)
        before = self._pool_of_child.get(key)
        pool = pool_of(body) or before
        if pool is None or not self._children.put(key, body, now):
            return None
        if before is not None and before != pool:
            self._families[before].discard(key)
        self._pool_of_child[key] = pool
        self._families.setdefault(pool, set()).add(key)
        return pool

    def child_gone(self, key: ObjectKey, body: Body | None = None) -> PoolKey | None:
        """Forget an object; return its pool. None: it was not known."""
        if key not in self._pool_of_child or not self._children.drop(key, body):
            return None
        pool = self._pool_of_child.pop(key)
        family = self._families.get(pool, set())
        family.discard(key)
        if not family:
            self._families.pop(pool, None)
        return pool

    def children(self, pool: PoolKey) -> Iterator[Body]:
        """Yield the objects of a pool."""
        return iter([self._children.bodies[key] for key in self._families.get(pool, ())])

    # --- what was listed anew ---

    def was_seen(self, key: PoolKey | ObjectKey) -> bool:
        """Say whether a watch told of it."""
        seen_at = self._pools.seen_at.get(key) if isinstance(key, PoolKey) else self._children.seen_at.get(key)
        return seen_at is not None and seen_at > NEVER

    def pools_unseen_since(self, instant: float) -> list[PoolKey]:
        """Return the pools of which nothing was told since an instant."""
        return [key for key, at in self._pools.seen_at.items() if at < instant]

    def children_unseen_since(self, kind: str, instant: float) -> list[ObjectKey]:
        """Return the objects of a kind of which nothing was told since an instant."""
        return [key for key, at in self._children.seen_at.items() if key.kind == kind and at < instant]


def key_of(body: Body) -> ObjectKey:
    """Return an object's key."""
    return ObjectKey(str(body.get("kind", "")), text(body, "namespace"), text(body, "name"))


def pool_of(body: Body) -> PoolKey | None:
    """Return the pool that controls an object, else the one that its label names."""
    owners = meta(body).get("ownerReferences")
    named = [
        owner.get("name")
        for owner in (owners if isinstance(owners, list) else [])
        if isinstance(owner, Mapping) and owner.get("kind") == names.POOL_KIND and owner.get("controller") is True
    ]
    name = named[0] if named and isinstance(named[0], str) else label(body, names.POOL_LABEL)
    return PoolKey(text(body, "namespace"), name) if name else None
