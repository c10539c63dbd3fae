"""What one claimed prompt leads to: an envelope, and the one settlement that goes with it. Pure.

Not here: claiming, delivering, settling (`catalogue.scheduled_prompt_tick` obeys), which instant fires (`prompt_turn`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from background_tasks.errors import Refused
from background_tasks.knowledge.due_queue import FLAG_LIFE_S, Claim, Firing, Record, Settlement
from background_tasks.knowledge.keys import Keys
from background_tasks.knowledge.prompt_record import (
    MAX_TOLD,
    Envelope,
    Kind,
    Prompt,
    Status,
    read_prompt,
    to_fields,
)
from background_tasks.knowledge.prompt_turn import Turn, turn

TASK = "scheduled_prompt_tick"


class Step(StrEnum):
    """How one look at a claimed prompt ends."""

    FIRED = "fired"  # an envelope goes out
    SKIPPED = "skipped"  # all that was due is passed over by its policy
    INVALID = "invalid"  # its record cannot be understood; it ends and its owner is told
    FAILED = "failed"  # the webhook refused the occurrence to the last try
    RETRY = "retry"  # the webhook refused; tried again later
    DROPPED = "dropped"  # no record, or one that is not active: it leaves the queue
    EARLY = "early"  # the record says later than the queue: it is filed anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The numbers that the task's params set."""

    catch_up: int = 10
    flag_life_s: float = FLAG_LIFE_S
    to_stream: bool = True
    max_tries: int = 5
    backoff_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One claim's end, as planned."""

    step: Step
    settlement: Settlement
    envelope: Envelope | None = None
    left_out: bool = False
    """Instants that were due were passed over."""
    tries: int = 0
    """Failed tries of this envelope before."""
    reason: str = ""


def plan_claim(claim: Claim, fields: Mapping[str, str] | Exception, rules: Rules, keys: Keys) -> Planned:
    """Decide about one claimed id by its hash: nothing when absent, an error for a key of another type."""
    if isinstance(fields, Exception):
        return Planned(step=Step.INVALID, settlement=Settlement(claim=claim), reason=f"{claim.id!r}: {fields}")
    if not fields:
        return Planned(step=Step.DROPPED, settlement=Settlement(claim=claim))
    if fields.get("status") in _ENDED:
        return Planned(step=Step.DROPPED, settlement=Settlement(claim=claim, finished=True))
    try:
        prompt = read_prompt(claim.id, fields)
        return _planned(claim, prompt, turn(prompt, claim.at, rules.catch_up), rules, keys)
    except Refused as refused:
        return _invalid(claim, fields, str(refused), rules, keys)


def refused(planned: Planned, why: str, at: float, rules: Rules, keys: Keys) -> Planned:
    """Decide anew after a webhook refused an envelope at `at`: later again, or given up as a dead letter."""
    tries = planned.tries + 1
    settlement, error = planned.settlement, why[:MAX_TOLD]
    record = settlement.record
    if record is None or planned.envelope is None:
        return planned
    if tries < rules.max_tries:
        again = Record(key=record.key, fields=to_fields({"tries": tries, "error": error, "updated_at": at}))
        retry = Settlement(claim=settlement.claim, next_at=at + rules.backoff_s * 2.0 ** (tries - 1), record=again)
        return replace(planned, step=Step.RETRY, settlement=retry, reason=error)
    change = {"error": error, **_unfired(record)} if planned.step is Step.FIRED else {}
    if settlement.finished and change:
        change["status"] = Status.FAILED.value
    given_up = replace(
        settlement,
        record=Record(key=record.key, fields={**record.fields, **change}),
        firing=Firing(
            flag=keys.fired(planned.envelope.occurrence),
            stream=keys.dead_letters(TASK),
            entry={**planned.envelope.entry(), "error": error},
            flag_life_s=rules.flag_life_s,
        ),
    )
    return replace(planned, step=Step.FAILED, settlement=given_up, reason=error)


_ENDED = frozenset(status.value for status in Status if status is not Status.ACTIVE)


def _planned(claim: Claim, prompt: Prompt, decided: Turn, rules: Rules, keys: Keys) -> Planned:
    if decided.fire is None and not decided.left_out:
        return Planned(step=Step.EARLY, settlement=Settlement(claim=claim, next_at=decided.next_at))
    ended = decided.next_at is None
    missed = ended and decided.fire is None and prompt.kind is Kind.ONCE
    status = Status.ACTIVE if not ended else Status.MISSED if missed else Status.DONE
    change: dict[str, object] = {
        "status": status, "next_at": decided.next_at, "tries": 0, "error": "", "updated_at": claim.at,
        "fire_count": prompt.fire_count + (decided.fire is not None),
    }  # fmt: skip
    settlement = Settlement(
        claim=claim,
        next_at=decided.next_at,
        finished=ended,
        record=Record(key=keys.prompt(claim.id), fields=to_fields(change)),
    )
    if decided.fire is None:
        return Planned(step=Step.SKIPPED, settlement=settlement, left_out=True)
    envelope = Envelope.of(prompt, decided.fire, claim.at)
    return Planned(
        step=Step.FIRED,
        settlement=replace(settlement, firing=_firing(envelope, rules, keys)),
        envelope=envelope,
        left_out=decided.left_out,
        tries=prompt.tries,
    )


def _invalid(claim: Claim, fields: Mapping[str, str], why: str, rules: Rules, keys: Keys) -> Planned:
    envelope = Envelope.of_invalid(claim.id, fields, why, claim.at)
    change = {"status": Status.INVALID, "error": why, "next_at": None, "tries": 0, "updated_at": claim.at}
    tries = fields.get("tries", "")
    return Planned(
        step=Step.INVALID,
        settlement=Settlement(
            claim=claim,
            finished=True,
            firing=_firing(envelope, rules, keys),
            record=Record(key=keys.prompt(claim.id), fields=to_fields(change)),
        ),
        envelope=envelope,
        tries=int(tries) if tries in _FEW else 0,
        reason=f"{claim.id!r}: {why}",
    )


_FEW = frozenset(str(tries) for tries in range(100))


def _firing(envelope: Envelope, rules: Rules, keys: Keys) -> Firing:
    return Firing(
        flag=keys.fired(envelope.occurrence),
        stream=keys.inbound if rules.to_stream else None,
        entry=envelope.entry(),
        flag_life_s=rules.flag_life_s,
    )


def _unfired(record: Record) -> dict[str, str]:
    """Take back the count of a firing that was given up."""
    return {"fire_count": str(int(record.fields["fire_count"]) - 1)}
