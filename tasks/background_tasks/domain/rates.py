"""How often something may be said: a token bucket as a value.

Not here: a clock, or what is done with what may not be said; only how much it was.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """What is left to say, and what was held back since something was said."""

    tokens: float
    at: float
    """Seconds of any clock that does not step."""
    held_back: int = 0


def admit(bucket: Bucket | None, now: float, *, per_second: float, burst: float) -> tuple[Bucket, bool]:
    """Say whether one more may be said now, and return the bucket after it. None is a full bucket.

    An admitted one comes with the `held_back` of the bucket before it; afterwards that is 0.
    """
    tokens = burst if bucket is None else min(burst, bucket.tokens + max(0.0, now - bucket.at) * per_second)
    if tokens >= 1:
        return Bucket(tokens=tokens - 1, at=now), True
    return Bucket(tokens=tokens, at=now, held_back=1 + (bucket.held_back if bucket else 0)), False
