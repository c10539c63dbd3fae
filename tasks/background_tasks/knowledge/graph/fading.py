"""The queries of the decay: settle a batch, look through all ties page by page, bury the weakest.

Not here: the formula (`decay`), how long a run goes on (the task). A look changes nothing; with ties still due it tells
what settling them would leave, so that a dry run and a real one are told by the same code.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

from background_tasks.knowledge.graph.decay import Fade, live_weight
from background_tasks.knowledge.graph.model import Tier
from background_tasks.knowledge.graph.pages import TIES_OF_PAGE, tie_pages
from background_tasks.knowledge.graph.store import Graph

BINS = 10
MS = 1000
DEFAULT_FADE = Fade()
DUE = f"r.decayed_at < $cut AND r.tier < {int(Tier.CORE)}"
"""Both are indexed: whether anything is due is known without walking what is settled, or core."""
_DUE_IN_PAGE = f"r.decayed_at + 0 < $cut AND r.tier + 0 < {int(Tier.CORE)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is due, and what is weak enough to go."""

    fade: Fade = DEFAULT_FADE
    settled_for_ms: int = 3600 * MS
    """Ties settled for a shorter time are left alone."""
    prune_below: float = 0.05
    prune_uses: int = 3
    """A tie used that often is never pruned."""

    def settle(self) -> str:
        """Return the effect (for `cursors.move`) that settles `$batch` due ties of a page."""
        return self._settling(f"{TIES_OF_PAGE} WHERE {_DUE_IN_PAGE}")

    def settle_rest(self) -> str:
        """Return the effect that settles `$batch` due ties, wherever they are."""
        return self._settling(f"MATCH ()-[r:REL]->() WHERE {DUE}")

    def _settling(self, found: str) -> str:
        return f"""
CALL {{
  WITH c {found}
  WITH r LIMIT $batch
  {live_weight(self.fade, "r")}
  SET r.weight = w, r.decayed_at = $as_of
  RETURN count(r) AS settled
}}
RETURN settled
"""

    @property
    def _looked_at(self) -> str:
        """The query's head: each tie of a page with its weight once it is settled (`w`)."""
        return f"""
{TIES_OF_PAGE}
WITH r, {DUE} AS due
{live_weight(self.fade, "r", "due")}
WITH r, due, CASE WHEN due THEN w ELSE r.weight END AS w
"""

    @property
    def counts(self) -> str:
        """The query that counts a page by bin of weight, with the oldest time of ties that fade."""
        return f"""{self._looked_at}
WITH toInteger(floor(w * {BINS})) AS bin, due, r.tier < {int(Tier.CORE)} AS fades, r.decayed_at AS since
RETURN bin, count(*), sum(CASE WHEN due THEN 1 ELSE 0 END),
       min(CASE WHEN NOT fades THEN null WHEN due THEN $as_of ELSE since END)
"""

    @property
    def weak(self) -> str:
        """The query that names a page's ties that may be pruned."""
        return f"""{self._looked_at}
WHERE w < {float(self.prune_below)!r} AND r.tier < {int(Tier.GUILD)}
  AND coalesce(r.uses, 0) < {self.prune_uses} AND NOT coalesce(r.pinned, false)
RETURN w, r.uuid, r.tier
"""


@dataclass(frozen=True, slots=True, order=True)
class Weak:
    """A tie that may be pruned; the weakest comes first, so that every run chooses alike."""

    weight: float
    uuid: str
    tier: int


@dataclass(slots=True, kw_only=True)
class Look:
    """What a look through all ties found."""

    due: int = 0
    bins: list[int] = field(default_factory=lambda: [0] * BINS)
    oldest: int | None = None
    """The oldest `decayed_at` of ties that fade, once the due ones are settled."""
    weak: int = 0
    weakest: list[Weak] = field(default_factory=list)
    """At most as many as were asked for."""

    def forget(self, gone: Iterable[Weak]) -> None:
        """Take pruned ties out of the histogram."""
        for weak in gone:
            self.bins[_bin(weak.weight)] -= 1


async def any_due(graph: Graph, cut: int) -> bool:
    """Say whether a tie is due that was settled before `cut`."""
    return bool(await graph.rows(f"MATCH ()-[r:REL]->() WHERE {DUE} RETURN 1 LIMIT 1", cut=cut))


async def look(graph: Graph, rules: Rules, *, as_of: int, most: int, size: int) -> Look:
    """Look through all ties, a page a query; `most` is how many of the weakest are named."""
    found = Look()
    for low, high in await tie_pages(graph, size):
        page = {"as_of": as_of, "cut": as_of - rules.settled_for_ms, "low": low, "high": high}
        for bin_, count, due, oldest in await graph.rows(rules.counts, **page):
            _count(found, bin_, count, due, oldest)
        rows = await graph.rows(rules.weak, **page)
        found.weak += len(rows)
        weak = [Weak(float(weight), str(uuid), int(tier)) for weight, uuid, tier in rows if uuid is not None]
        found.weakest = heapq.nsmallest(most, [*found.weakest, *weak])
    return found


def _count(found: Look, bin_: int | None, count: int, due: int, oldest: int | None) -> None:
    found.due += due
    if bin_ is not None:
        found.bins[max(0, min(BINS - 1, bin_))] += count
    if oldest is not None:
        found.oldest = oldest if found.oldest is None else min(found.oldest, oldest)


def _bin(weight: float) -> int:
    return max(0, min(BINS - 1, int(weight * BINS)))
