"""A task's `status` as the API server has it: what of it is ours, what the ledger in it says, and what is written next.

Not here: requests (`kubernetes`), the words of a status (`domain.status`). What is read back is believed only as far as
it can be read: people edit resources.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from background_tasks.api import names
from background_tasks.api.status import MAX_HISTORY
from background_tasks.domain.model import Fence, Past, TaskUid
from background_tasks.sinks.codec import dump_past, load_past, read_or_report

OPERATORS = frozenset({"Accepted"})
"""Conditions that the operator writes: read as little as touched."""
COUNTS = ("succeeded", "failed", "skipped")
MOST_RUNS = 2**53
"""More were edited: at a thousand a second it takes 285,000 years. An API server takes no sum beyond 64 bits."""
CLAIMS_KEPT = 32
"""Fire times per task, as in the ledger over Redis."""
REALMS_KEPT = 8
MESSAGE_LENGTH = 1024
"""Characters of a message; what is longer is cut: a status with 20 runs stays far below what an API server takes."""

# Example: 5f2c9a/3/8
_FENCE = re.compile(r"(.+)/(\d{1,9})/(\d{1,15})", re.ASCII)

type Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A resource as it was last read or written. Its status lies here as text: some kilobytes per task."""

    namespace: str
    name: str
    version: str
    fence: Fence | None
    """Of whoever wrote last."""
    past: str | None
    """As text, which `load_past` reads; None: no past, or none that can be read."""
    is_copy: bool = False
    """The past is a copy of what a Redis knows better."""
    claimed: tuple[float, ...] = ()
    """Fire times, oldest first."""
    realms: tuple[str, ...] = ()
    """Realms that wrote, in the order in which they last began to."""
    pool: str = ""
    """Whose workers run it; empty where the reading does not say."""
    shown: str = "{}"
    """The rest of the status, as far as it is the worker's."""


def seen(body: Mapping[str, Any], report: Report) -> Seen:
    """Read a resource; what of its status cannot be read is reported and counts as not there."""
    meta, status = body["metadata"], _mapping(body.get("status"))
    ledger, where = _mapping(status.get("ledger")), f"{meta['namespace']}/{meta['name']}: status.ledger"
    conditions = [one for one in _listed(status.get("conditions")) if _kind(one) not in OPERATORS]
    shown = {key: value for key, value in status.items() if key != "ledger"} | {"conditions": conditions}
    return Seen(
        namespace=meta["namespace"],
        name=meta["name"],
        version=meta["resourceVersion"],
        fence=fence_of(status.get("fence")),
        past=_past(ledger.get("past"), f"{where}.past", report),
        is_copy=ledger.get("copy") is True,
        claimed=_claimed(ledger.get("claimed"), f"{where}.claimed", report),
        realms=tuple(realm for realm in _listed(ledger.get("realms")) if isinstance(realm, str))[-REALMS_KEPT:],
        shown=_json(shown),
        pool=str(_mapping(_mapping(body.get("spec")).get("poolRef")).get("name") or ""),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What is to be written of a task."""

    status: Mapping[str, object] | None = None
    """None: what is shown stays."""
    past: Past | None = None
    """None: what is remembered stays."""
    fence: Fence | None = None
    """Whose right it is written by; None: nobody's in particular."""
    history_limit: int = MAX_HISTORY
    """Runs that are shown, those of former holders included."""

    def after(self, older: "News | None") -> "News":
        """Return this with what it does not say taken from what waited before it.

        A past goes by the right under which it came to be: somebody may have held the slot between two tenures of ours,
        and what an earlier one still had to tell must not pass for the later one's.
        """
        if older is None:
            return self
        fence = older.fence if self.fence is None or (self.past is None and older.past is not None) else self.fence
        return News(
            status=older.status if self.status is None else self.status,
            past=older.past if self.past is None else self.past,
            fence=fence or self.fence,
            history_limit=self.history_limit,
        )


def with_claim(before: Seen, fire: float) -> Seen:
    """Return what is there with one more fire time claimed."""
    return replace(before, claimed=(*before.claimed, fire)[-CLAIMS_KEPT:])


def body_of(uid: TaskUid, before: Seen, news: News, *, worker: str, copies: bool) -> dict[str, Any]:
    """Build what is applied: the whole of what the worker owns, over the version that was seen and no other.

    The version stands for the uid as well: a resource made anew under the name has another one. `copies`: a past in the
    news is a copy, kept for a pool that loses its Redis.
    """
    status = _shown(_mapping(json.loads(before.shown)), news)
    fence = news.fence or (before.fence if news.status is None or "slot" in news.status else None)
    if news.fence is not None:
        status |= {"worker": worker, "slot": news.fence.slot}
    if fence is not None:
        status["fence"] = str(fence)
    if kept := _ledger(before, news, fence, copies=copies):
        status["ledger"] = kept
    meta = {"namespace": before.namespace, "name": before.name, "uid": uid, "resourceVersion": before.version}
    return {"apiVersion": names.API_VERSION, "kind": names.TASK_KIND, "metadata": meta, "status": status}


def fence_of(raw: object) -> Fence | None:
    """Read `realm/slot/epoch`; anything else is nobody's."""
    found = _FENCE.fullmatch(raw) if isinstance(raw, str) else None
    return None if found is None else Fence(realm=found[1], slot=int(found[2]), epoch=int(found[3]))


def counts(status: Mapping[str, object]) -> dict[str, int]:
    """Return the runs by how they ended, as far as a status tells."""
    runs = _mapping(status.get("runs"))
    return {name: runs[name] for name in COUNTS if type(runs.get(name)) is int and 0 <= runs[name] <= MOST_RUNS}


def verdicts(status: Mapping[str, object]) -> tuple[tuple[object, ...], ...]:
    """Return what people look for: type and status of each condition, and the reason of what is not as it should be.

    With the generation that was judged: whoever edits a task waits for the verdict on that edit.
    """
    found = [one for one in _listed(status.get("conditions")) if isinstance(one, Mapping)]
    return tuple(
        (
            _kind(one),
            one.get("status"),
            "" if one.get("status") == "True" else one.get("reason"),
            one.get("observedGeneration"),
        )
        for one in found
        if _kind(one) not in OPERATORS
    )


def _shown(before: dict[str, Any], news: News) -> dict[str, Any]:
    """Return what people see: the news, with what another worker told where this one has nothing to tell yet."""
    if news.status is None:
        return before
    old = {_kind(one): one for one in _listed(before.get("conditions")) if isinstance(one, Mapping)}
    conditions = [_cut(_since(one, old.get(_kind(one)))) for one in _listed(news.status.get("conditions"))]
    status = {**news.status, "conditions": conditions}
    last = status.get("lastRun", before.get("lastRun"))
    if last is not None:
        status["lastRun"] = _cut(last)
    runs = _earlier(_listed(status.get("history")), _listed(before.get("history")))
    status["history"] = [_cut(run) for run in runs[: news.history_limit]]
    return status


def _earlier(own: list[Any], others: list[Any]) -> list[Any]:
    """Add the runs of former holders behind our own; latest first."""
    first = str(_mapping(own[-1]).get("startedAt")) if own else "~"
    return own + [run for run in others if str(_mapping(run).get("startedAt")) < first]


def _since(condition: Any, before: Mapping[str, Any] | None) -> Any:
    """Let a condition whose status did not change keep its time, whoever wrote it."""
    if before is None or before.get("status") != condition.get("status") or not before.get("lastTransitionTime"):
        return condition
    return {**condition, "lastTransitionTime": before["lastTransitionTime"]}


def _cut(item: Any) -> Any:
    message = item.get("message") if isinstance(item, Mapping) else None
    if not isinstance(message, str) or len(message) <= MESSAGE_LENGTH:
        return item
    return {**item, "message": f"{message[: MESSAGE_LENGTH - 1]}…"}


def _ledger(before: Seen, news: News, fence: Fence | None, *, copies: bool) -> dict[str, Any]:
    past, is_copy = (before.past, before.is_copy) if news.past is None else (dump_past(news.past), copies)
    realms = before.realms
    if fence is not None and realms[-1:] != (fence.realm,):
        realms = (*(realm for realm in realms if realm != fence.realm), fence.realm)[-REALMS_KEPT:]
    known = {
        "past": None if past is None else json.loads(past),
        "copy": True if past is not None and is_copy else None,
        "claimed": list(before.claimed),
        "realms": list(realms),
    }
    return {name: value for name, value in known.items() if value not in (None, [])}


def _past(raw: object, where: str, report: Report) -> str | None:
    if raw is None:
        return None
    text = _json(raw)
    return text if read_or_report(load_past, text, where, report) is not None else None


def _claimed(raw: object, where: str, report: Report) -> tuple[float, ...]:
    fires = _listed(raw)
    wrong = [fire for fire in fires if not isinstance(fire, int | float) or isinstance(fire, bool)]
    if wrong or (raw is not None and not isinstance(raw, list)):
        report(f"{where} is not a list of instants but {_json(raw)[:80]!r}, and is left out; delete it")
        return ()
    return tuple(float(fire) for fire in fires)[-CLAIMS_KEPT:]


def _kind(condition: object) -> str:
    return str(condition.get("type")) if isinstance(condition, Mapping) else ""


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)
