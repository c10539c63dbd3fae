"""How a tie fades: weight x 2^(-days/half-life) since `decayed_at`, as a formula and as the same formula in Cypher.

The law: whoever changes weight, uses, tier or validity settles first (`live_weight` at that instant, `decayed_at` =
that instant), else the new half-life works backwards. Retrieval may compute the live weight without writing.
Not here: queries, batches, pruning. Times are epoch milliseconds.
"""

import math
from dataclasses import dataclass

from background_tasks.knowledge.graph.model import DAY_MS, Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Tie:
    """What of an edge decides how it fades."""

    weight: float
    decayed_at: int
    tier: int
    uses: int = 0
    invalid_at: int | None = None
    """Since when it is contradicted: the earlier of the edge's `invalid_at` and `expired_at`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fade:
    """The numbers of the formula."""

    factor: float = 0.95
    """What a day leaves of an untouched tie."""
    max_half_life_days: float = 180.0
    guild_stretch: float = 2.0
    invalid_divisor: float = 4.0

    @property
    def half_life_days(self) -> float:
        """Half-life of a tie that was never used again: 13.513 days for a factor of 0.95."""
        return math.log(2) / -math.log(self.factor)

    def half_life_of(self, tier: int, uses: int) -> float | None:
        """Return the half-life in days while the tie is valid; None for one that never fades."""
        if tier >= Tier.CORE:
            return None
        days = min(self.max_half_life_days, self.half_life_days * (1 + math.log(1 + uses)))
        return days * self.guild_stretch if tier >= Tier.GUILD else days

    def weight_at(self, tie: Tie, as_of: int) -> float:
        """Return the live weight at `as_of`. Negative elapsed time counts as none.

        A tie that turns invalid on the way fades slowly until then and fast after it, so that any split of the time
        gives the same weight.
        """
        half_life = self.half_life_of(tie.tier, tie.uses)
        if half_life is None:
            return tie.weight
        turn = as_of if tie.invalid_at is None else tie.invalid_at
        valid = max(0, min(as_of, turn) - tie.decayed_at)
        invalid = max(0, as_of - max(tie.decayed_at, turn))
        halvings = (valid + invalid * self.invalid_divisor) / DAY_MS / half_life
        return float(tie.weight * 2.0**-halvings)


def live_weight(fade: Fade, edge: str, as_of: str = "$as_of") -> str:
    """Return the formula as a Cypher expression over one edge that is not core (of `weight_at`, the same value).

    Example: `MATCH ()-[r:REL]->() RETURN r.uuid, <live_weight(Fade(), "r")>` with the parameter `as_of`.
    """
    since = f"{edge}.decayed_at"
    turn = _smaller(f"coalesce({edge}.invalid_at, {as_of})", f"coalesce({edge}.expired_at, {as_of})")
    valid = _positive(f"({_smaller(as_of, turn)} - {since})")
    invalid = _positive(f"({as_of} - {_larger(since, turn)})")
    days = _smaller(
        repr(float(fade.max_half_life_days)),
        f"({fade.half_life_days!r} * (1 + log(1 + coalesce({edge}.uses, 0))))",
    )
    stretch = f"(CASE WHEN {edge}.tier >= {int(Tier.GUILD)} THEN {float(fade.guild_stretch)!r} ELSE 1.0 END)"
    halvings = f"({valid} + {invalid} * {float(fade.invalid_divisor)!r}) / {DAY_MS}.0 / ({days} * {stretch})"
    return f"({edge}.weight * 2.0^(-({halvings})))"


def _smaller(a: str, b: str) -> str:
    return f"(CASE WHEN {a} < {b} THEN {a} ELSE {b} END)"


def _larger(a: str, b: str) -> str:
    return f"(CASE WHEN {a} > {b} THEN {a} ELSE {b} END)"


def _positive(a: str) -> str:
    return f"(CASE WHEN {a} > 0 THEN {a} ELSE 0 END)"
