"""Which instant of a due prompt fires now, and when the prompt is looked at again: one pure decision.

The cost depends on the catch-up limit, never on how long nobody looked. Not here: clocks, storage, sending.
"""

from dataclasses import dataclass

from background_tasks.knowledge.prompt_record import Kind, MissedPolicy, Prompt
from background_tasks.knowledge.recurrence import due_instants, next_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one look at a due prompt decides."""

    fire: float | None
    """The instant to fire, or None: nothing is to be fired."""
    next_at: float | None
    """The next instant to decide about; it may be due already. None: the prompt has ended."""
    left_out: bool = False
    """Instants that were due are passed over by the policy or the limit."""


def turn(prompt: Prompt, now: float, limit: int) -> Turn:
    """Decide about an active prompt at `now`; at most the latest `limit` due instants are considered.

    An instant is on time within `max_lag_s`. Those on time fire each; the policy decides about the missed ones. An
    occurrence that its sink refused before is tried again whatever its age.
    """
    first = prompt.next_at
    if first is None or first > now:
        return Turn(fire=None, next_at=first)
    if prompt.tries:
        return Turn(fire=first, next_at=_after(prompt, first))
    due = _due(prompt, first, now, limit)
    firing = _chosen(prompt, due, now)
    if not firing:
        return Turn(fire=None, next_at=_after(prompt, now), left_out=True)
    upcoming = firing[1] if len(firing) > 1 else _after(prompt, now)
    return Turn(fire=firing[0], next_at=upcoming, left_out=firing[0] != first)


def _chosen(prompt: Prompt, due: tuple[float, ...], now: float) -> tuple[float, ...]:
    on_time = tuple(instant for instant in due if now - instant <= prompt.max_lag_s)
    match prompt.missed_policy:
        case MissedPolicy.ALL:
            return due
        case MissedPolicy.LATEST:
            return on_time or due[-1:]
        case MissedPolicy.SKIP:
            return on_time


def _due(prompt: Prompt, first: float, now: float, limit: int) -> tuple[float, ...]:
    if prompt.kind is Kind.ONCE:
        return (first,)
    return due_instants(prompt.expr, prompt.tz, first, now, limit)


def _after(prompt: Prompt, instant: float) -> float | None:
    return None if prompt.kind is Kind.ONCE else next_after(prompt.expr, prompt.tz, instant)
