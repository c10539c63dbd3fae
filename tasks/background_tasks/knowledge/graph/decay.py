"""How a tie fades: weight x 2^(-days/half-life) since `decayed_at`, as a formula, and the same in Cypher.

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


def live_weight(fade: Fade, edge: str, *keep: str) -> str:
    """Return Cypher clauses that bind `w`, the live weight of `edge` at the parameter `as_of` (`weight_at` in Cypher).

    They stand between a MATCH and a RETURN, and keep `edge` and the variables of `keep`. The edge must not be core.
    Example: `MATCH ()-[r:REL]->() <live_weight(Fade(), "r")> RETURN r.uuid, w`. Step by step, and not one expression:
    the planner takes 0.2 s for the nested form.
    """
    kept = ", ".join((edge, *keep))
    return f"""
WITH {kept}, {edge}.decayed_at AS since,
     CASE WHEN {edge}.invalid_at < $as_of THEN {edge}.invalid_at ELSE $as_of END AS refuted,
     CASE WHEN {edge}.expired_at < $as_of THEN {edge}.expired_at ELSE $as_of END AS expired,
     {fade.half_life_days!r} * (1 + log(1 + coalesce({edge}.uses, 0))) AS days
WITH {kept}, since, CASE WHEN refuted < expired THEN refuted ELSE expired END AS turn,
     CASE WHEN days < {float(fade.max_half_life_days)!r} THEN days ELSE {float(fade.max_half_life_days)!r} END
       * CASE WHEN {edge}.tier >= {int(Tier.GUILD)} THEN {float(fade.guild_stretch)!r} ELSE 1.0 END AS half_life
WITH {kept}, half_life, CASE
       WHEN turn > since THEN (turn - since) + ($as_of - turn) * {float(fade.invalid_divisor)!r}
       WHEN $as_of > since THEN ($as_of - since) * {float(fade.invalid_divisor)!r}
       ELSE 0 END AS faded
WITH {kept}, {edge}.weight * 2.0^(-(faded / {DAY_MS}.0 / half_life)) AS w
"""
