"""A member's Lease and a pool's ConfigMap as raw bodies: written here, and read with every field doubted.

Not here: requests, caches, what follows from a record. A member's Lease is called like the member; whose id cannot be
a name gets one made of it. In the ConfigMap's `data`:

    realm   "5f0c..."              made with the table
    count   "16"                   number of slots
    slots   ["7:w-1.a0b1c2", "8:"] "<epoch>:<holder>" in slot order ("8:" is free)
    uid     "9a1e..."              of the ConfigMap it was written to: a copy, or a restored backup, is known by it
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, isfinite
from typing import Any

from xxhash import xxh64_hexdigest

from background_tasks.api import names
from background_tasks.domain.model import MemberId
from background_tasks.ports import MemberRecord, SlotRow, TableView

type Body = dict[str, Any]

UNREADABLE = MemberId("?unreadable")
"""Holder of a row that could not be read; nobody renews it, so it is waited out."""
LONGEST_NAME = 253
MOST_SECONDS = 2**31 - 1
"""What `leaseDurationSeconds` can hold."""
SHOWN = 80
"""Characters of a wrong value in a sentence."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NOT_OF_A_NAME = re.compile(r"[^a-z0-9]+")
_ROW = re.compile(r"([0-9]{1,15}):(.*)", re.DOTALL)
"""Example: 7:w-1.a0b1c2"""
_COUNT = re.compile(r"[0-9]{1,9}")


# --- a member's Lease --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """The pod that a member lives in; its Lease goes when the pod does."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """What a member writes into its Lease."""

    pool: str
    member: MemberId
    duration: float
    leaving: bool
    at: float
    """Wall seconds, for people: no member believes it."""
    up_since: float
    """Wall seconds: when the pool came up, as this member knows it."""
    realm: str = ""
    """Of the slot table that it knows; empty: none yet."""


def lease_name(member: MemberId) -> str:
    """Return what a member's Lease is called."""
    if len(member) <= LONGEST_NAME and _NAME.fullmatch(member):
        return member
    readable = _NOT_OF_A_NAME.sub("-", member.lower())[:64].strip("-") or "member"
    return f"{readable}-{xxh64_hexdigest(member.encode(errors='surrogatepass'))}"


def pool_selector(pool: str) -> str:
    """Select the Leases of a pool's members."""
    return f"{names.POOL_LABEL}={pool},{names.NAME_LABEL}={names.WORKER_APP}"


def labels(pool: str) -> dict[str, str]:
    """Return the labels of what members make."""
    return {names.NAME_LABEL: names.WORKER_APP, names.POOL_LABEL: pool, names.PART_OF_LABEL: names.PART_OF}


def new_lease(namespace: str, member: MemberId, pod: Pod | None) -> Body:
    """Return a member's Lease before its first renewal."""
    owner = {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid} if pod else None
    metadata: Body = {"name": lease_name(member), "namespace": namespace}
    metadata |= {"ownerReferences": [owner]} if owner else {}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {}}


def renewed_lease(before: Body, renewal: Renewal) -> Body:
    """Write a renewal over a Lease; what others put beside our fields stays."""
    at = datetime.fromtimestamp(renewal.at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    metadata, spec = before["metadata"], before.get("spec") or {}
    dropped = (names.LEASE_LEAVING, names.LEASE_REALM)
    kept = {key: value for key, value in (metadata.get("annotations") or {}).items() if key not in dropped}
    ours = {names.LEASE_DURATION: repr(float(renewal.duration)), names.UP_SINCE: repr(float(renewal.up_since))}
    ours |= {names.LEASE_LEAVING: "true"} if renewal.leaving else {}
    ours |= {names.LEASE_REALM: renewal.realm} if renewal.realm else {}
    ours_in_spec = {
        "holderIdentity": renewal.member,
        "leaseDurationSeconds": min(MOST_SECONDS, ceil(renewal.duration)),
        "acquireTime": spec.get("acquireTime") or at,
        "renewTime": at,
    }
    ours_in_metadata = {
        "annotations": kept | ours,
        "labels": {**(metadata.get("labels") or {}), **labels(renewal.pool)},
    }
    return {**before, "metadata": {**metadata, **ours_in_metadata}, "spec": {**spec, **ours_in_spec}}


def record_of(lease: Body) -> MemberRecord:
    """Read a member's Lease. Raises `ValueError` with what is wrong with it."""
    spec = lease.get("spec") or {}
    annotations = lease["metadata"].get("annotations") or {}
    holder = spec.get("holderIdentity")
    if not isinstance(holder, str) or lease["metadata"]["name"] != lease_name(MemberId(holder)):
        raise ValueError(f"spec.holderIdentity is {_shown(holder)}, which is not whom the Lease is named after")
    return MemberRecord(
        member=MemberId(holder),
        # Both: a server that is put back to a backup gives its numbers out a second time.
        version=f"{lease['metadata']['resourceVersion']} {spec.get('renewTime')}",
        duration=_duration(spec.get("leaseDurationSeconds"), annotations.get(names.LEASE_DURATION)),
        leaving=annotations.get(names.LEASE_LEAVING) == "true",
    )


def _duration(whole: object, exact: object) -> float:
    if not isinstance(whole, int) or whole <= 0:
        raise ValueError(f"spec.leaseDurationSeconds is {_shown(whole)}, not a positive number")
    seconds = _seconds(exact)
    # An annotation that does not round to the field was edited apart from it: the field is what everybody reads.
    return seconds if seconds is not None and seconds > 0 and ceil(seconds) == whole else float(whole)


def up_since_of(lease: Body, now: float, lives_durations: float) -> float | None:
    """Return when the pool came up, as a Lease says that was renewed at most so many of its durations ago; else None.

    It compares another machine's wall clock with ours, which is good enough for a comfort and for nothing else.
    """
    try:
        duration = record_of(lease).duration
    except ValueError:
        return None
    since, age = _seconds((lease["metadata"].get("annotations") or {}).get(names.UP_SINCE)), age_of(lease, now)
    lives = age is not None and age <= duration * lives_durations
    return since if lives and since is not None and 0 < since <= now else None


def age_of(lease: Body, now: float) -> float | None:
    """Return how many seconds ago a Lease was renewed, by the wall clocks; None where it does not say."""
    try:
        return now - datetime.fromisoformat((lease.get("spec") or {})["renewTime"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def knows_a_table(lease: Body) -> bool:
    """Say whether the member has read a slot table, so that it may hold slots."""
    return bool((lease["metadata"].get("annotations") or {}).get(names.LEASE_REALM))


def is_of_pod(lease: Body, pod: Pod) -> bool:
    """Say whether a Lease is that of a process in this pod."""
    return any(owner.get("uid") == pod.uid for owner in lease["metadata"].get("ownerReferences") or ())


def _seconds(text: object) -> float | None:
    try:
        value = float(text) if isinstance(text, str) else float("nan")
    except ValueError:
        return None
    return value if isfinite(value) else None


# --- the slot table ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Intact:
    """The table, as it stands."""

    view: TableView


@dataclass(frozen=True, slots=True)
class Blank:
    """Nothing of ours is written yet, or all of it was lost."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """The table cannot be gone on with; rows that could not be read are held by `UNREADABLE`."""

    why: str
    rows: tuple[SlotRow, ...]


@dataclass(frozen=True, slots=True)
class CountedOtherwise:
    """A table of another number of slots, and who holds any of them."""

    count: int
    holders: frozenset[MemberId]


type Reading = Intact | Blank | Damaged | CountedOtherwise


def new_table(namespace: str, pool: str) -> Body:
    """Return the ConfigMap before anything is written to it."""
    metadata = {"name": names.slot_table_name(pool), "namespace": namespace, "labels": labels(pool)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def written_table(before: Body, view: TableView) -> Body:
    """Write a table into its ConfigMap; what others put beside our keys stays."""
    rows = json.dumps([f"{row.epoch}:{row.holder or ''}" for row in view.rows], separators=(",", ":"))
    ours = {"realm": view.realm, "count": str(len(view.rows)), "slots": rows, "uid": before["metadata"]["uid"]}
    return {**before, "data": {**(before.get("data") or {}), **ours}}


def read_table(body: Body, slots: int) -> Reading:
    """Read a pool's ConfigMap, which should have so many slots."""
    data = body.get("data") or {}
    if not any(key in data for key in ("realm", "count", "slots")):
        return Blank()
    rows, faults = _rows(data.get("slots"))
    count = data.get("count", "")
    if not _COUNT.fullmatch(count):
        faults.append(f"data.count is {_shown(data.get('count'))}, not a number")
    elif int(count) != slots:
        return CountedOtherwise(int(count), frozenset(row.holder for row in rows if row.holder is not None))
    if len(rows) != slots and not faults:
        faults.append(f"data.slots has {len(rows)} rows, not {slots}")
    if not data.get("realm"):
        faults.append("data.realm is missing")
    if data.get("uid") != body["metadata"]["uid"]:
        faults.append(f"data.uid is {_shown(data.get('uid'))}: it was written to another ConfigMap and copied here")
    if faults:
        lost = (SlotRow(holder=UNREADABLE, epoch=0),) * (slots - len(rows))
        return Damaged(faults[0], (*rows[:slots], *lost))
    return Intact(TableView(realm=data["realm"], rows=tuple(rows)))


def renewed_rows(read: Iterable[SlotRow], known: Iterable[SlotRow]) -> tuple[SlotRow, ...]:
    """Choose the rows of a new realm: of what was read and what we knew, whichever was claimed later."""
    return tuple(
        row if row.epoch >= ours.epoch or row.holder == UNREADABLE else ours
        for row, ours in zip(read, known, strict=True)
    )


def _rows(text: object) -> tuple[list[SlotRow], list[str]]:
    try:
        told: Any = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, list):
        return [], [f"data.slots is {_shown(text)}, not a JSON list"]
    matches = [_ROW.fullmatch(row) if isinstance(row, str) else None for row in told]
    faults = [
        f"data.slots[{slot}] is not <epoch>:<holder> but {_shown(row)}"
        for slot, (row, match) in enumerate(zip(told, matches, strict=True))
        if match is None
    ]
    return [_row(match) for match in matches], faults


def _row(match: re.Match[str] | None) -> SlotRow:
    if match is None:
        return SlotRow(holder=UNREADABLE, epoch=0)
    epoch, holder = match.groups()
    return SlotRow(holder=MemberId(holder) if holder else None, epoch=int(epoch))


def _shown(value: object) -> str:
    return "missing" if value is None else repr(value)[:SHOWN]
