"""Leases and slot tables as raw bodies: what is written comes back, and every field is doubted."""

from typing import Any

import pytest

from background_tasks.domain.model import MemberId
from background_tasks.leases.kubernetes_bodies import (
    UNREADABLE,
    Blank,
    CountedOtherwise,
    Damaged,
    Intact,
    Pod,
    Renewal,
    age_of,
    is_of_pod,
    lease_name,
    new_lease,
    new_table,
    pool_selector,
    read_table,
    record_of,
    renewed_lease,
    renewed_rows,
    up_since_of,
    written_table,
)
from background_tasks.ports import MemberRecord, SlotRow, TableView

A = MemberId("w-1.a0b1c2")
FREE = SlotRow(holder=None, epoch=0)
LOST = SlotRow(holder=UNREADABLE, epoch=0)
VIEW = TableView(realm="r", rows=(SlotRow(holder=A, epoch=7), SlotRow(holder=None, epoch=8)))


def held(by: str, epoch: int) -> SlotRow:
    """A row."""
    return SlotRow(holder=MemberId(by), epoch=epoch)


def lease(member: MemberId = A, *, duration: float = 12.5, leaving: bool = False, pod: Pod | None = None) -> Any:
    """A member's Lease as the server keeps it."""
    renewal = Renewal(pool="p", member=member, duration=duration, leaving=leaving, at=1000.25, up_since=900.5)
    body = renewed_lease(new_lease("n", member, pod), renewal)
    body["metadata"] |= {"resourceVersion": "42", "uid": "u"}
    return body


def table(**data: str | None) -> Any:
    """A ConfigMap with a good table of two slots in it, but for some keys."""
    body = new_table("n", "p")
    body["metadata"] |= {"resourceVersion": "42", "uid": "u"}
    body = written_table(body, VIEW)
    body["data"] = {key: value for key, value in (body["data"] | data).items() if value is not None}
    return body


@pytest.mark.parametrize("name", ["w-1.a0b1c2", "a", "0.b", "x" * 253])
def test_a_member_whose_id_can_be_a_name_gives_it_to_its_lease(name: str) -> None:
    """People find it by what they know."""
    assert lease_name(MemberId(name)) == name


@pytest.mark.parametrize("name", ["", "b:2 ü", "UPPER", "-a", "a-", "a..b", "x" * 254, "host_name.1", "\ud800"])
def test_any_other_id_gets_a_name_of_its_own(name: str) -> None:
    """A name that the API takes, the same each time."""
    made = lease_name(MemberId(name))
    assert (lease_name(MemberId(made)), lease_name(MemberId(name))) == (made, made)
    assert made != name


def test_ids_that_look_alike_keep_apart() -> None:
    """The name carries a hash of the whole id."""
    assert len({lease_name(MemberId(name)) for name in ("A", "B", "a_b", "a:b", "A-B")}) == 5


def test_a_lease_shows_what_its_holder_recorded() -> None:
    """The exact duration beside the whole seconds that other tools read."""
    body = lease(leaving=True)
    assert body["spec"] == {
        "holderIdentity": A,
        "leaseDurationSeconds": 13,
        "acquireTime": "1970-01-01T00:16:40.250000Z",
        "renewTime": "1970-01-01T00:16:40.250000Z",
    }
    assert record_of(body) == MemberRecord(
        member=A, version="42 1970-01-01T00:16:40.250000Z", duration=12.5, leaving=True
    )
    assert pool_selector("p") == "background-tasks.dev/pool=p,app.kubernetes.io/name=background-tasks-worker"


def test_a_renewal_keeps_what_others_put_beside_it() -> None:
    """Labels and annotations of people stay; what we no longer say goes."""
    before = lease(leaving=True)
    before["metadata"]["annotations"]["mine"] = before["metadata"]["labels"]["mine"] = "stays"
    after = renewed_lease(before, Renewal(pool="p", member=A, duration=12, leaving=False, at=2000, up_since=900.5))
    assert after["metadata"]["annotations"] == {
        "background-tasks.dev/duration": "12.0",
        "background-tasks.dev/up-since": "900.5",
        "mine": "stays",
    }
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert after["spec"]["acquireTime"] < after["spec"]["renewTime"]
    assert after["metadata"]["resourceVersion"] == "42"


def test_a_lease_of_a_pod_goes_with_it() -> None:
    """By its owner; without a pod there is none."""
    pod = Pod(name="w-1", uid="pod-uid")
    body = lease(pod=pod)
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "w-1", "uid": "pod-uid"}
    assert body["metadata"]["ownerReferences"] == [owner]
    assert (is_of_pod(body, pod), is_of_pod(body, Pod(name="w-1", uid="later")), is_of_pod(lease(), pod)) == (
        True,
        False,
        False,
    )


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        pytest.param({"holderIdentity": None}, "holderIdentity is missing", id="nobody"),
        pytest.param({"holderIdentity": ""}, "holderIdentity is ''", id="no name"),
        pytest.param({"holderIdentity": "w-2"}, "is 'w-2', which is not whom the Lease is named after", id="another"),
        pytest.param({"leaseDurationSeconds": None}, "leaseDurationSeconds is missing", id="no duration"),
        pytest.param({"leaseDurationSeconds": 0}, "leaseDurationSeconds is 0, not a positive number", id="none"),
        pytest.param({"leaseDurationSeconds": -1}, "leaseDurationSeconds is -1", id="a negative one"),
        pytest.param({"leaseDurationSeconds": "x"}, "leaseDurationSeconds is 'x'", id="words"),
    ],
)
def test_what_is_no_lease_says_why(spec: dict[str, object], says: str) -> None:
    """The field and its value."""
    body = lease()
    body["spec"] = {key: value for key, value in (body["spec"] | spec).items() if value is not None}
    with pytest.raises(ValueError, match=says):
        record_of(body)


@pytest.mark.parametrize("exact", [None, "", "nan", "inf", "-1", "12.0", "1e400", "[]", 12.5])
def test_a_duration_that_does_not_round_to_the_field_is_not_believed(exact: object) -> None:
    """The field is what everybody reads."""
    body = lease()
    body["metadata"]["annotations"]["background-tasks.dev/duration"] = exact
    assert record_of(body).duration == 13


def test_a_lease_with_nothing_in_it_is_none() -> None:
    """Neither spec nor annotations."""
    with pytest.raises(ValueError, match="holderIdentity is missing"):
        record_of({"metadata": {"name": "x", "resourceVersion": "1"}})


@pytest.mark.parametrize(
    ("now", "since"),
    [
        pytest.param(1001, 900.5, id="a lease that lives"),
        pytest.param(1037.75, 900.5, id="one that was renewed three durations ago"),
        pytest.param(1038, None, id="one that was renewed longer ago"),
        pytest.param(900, None, id="a mark of the future"),
    ],
)
def test_when_the_pool_came_up_is_told_by_leases_that_live(now: float, since: float | None) -> None:
    """By the wall clock, as it is but a comfort."""
    assert up_since_of(lease(), now, 3) == since


@pytest.mark.parametrize("mark", [None, "x", "nan", "-5", ""])
def test_a_mark_that_cannot_be_read_is_none(mark: str | None) -> None:
    """Nobody's start is moved by garbage."""
    body = lease()
    body["metadata"]["annotations"]["background-tasks.dev/up-since"] = mark
    assert up_since_of(body, 1001, 3) is None


@pytest.mark.parametrize("renewed", [None, "yesterday", "", 7, "2026-13-01T00:00:00Z"])
def test_a_time_that_cannot_be_read_is_no_age(renewed: object) -> None:
    """Such a lease is neither young nor old."""
    body = lease()
    body["spec"]["renewTime"] = renewed
    assert (age_of(body, 1001), up_since_of(body, 1001, 3)) == (None, None)


def test_a_table_comes_back_as_written() -> None:
    """Beside what others keep in the ConfigMap."""
    body = table()
    body["data"]["theirs"] = "stays"
    assert read_table(body, 2) == Intact(VIEW)
    assert body["data"] == {"realm": "r", "count": "2", "slots": '["7:w-1.a0b1c2","8:"]', "uid": "u", "theirs": "stays"}
    assert written_table(body, VIEW) == body


@pytest.mark.parametrize("data", [None, {}, {"theirs": "1"}])
def test_a_config_map_without_our_keys_is_blank(data: dict[str, str] | None) -> None:
    """As the operator makes it."""
    assert read_table(new_table("n", "p") | {"data": data}, 2) == Blank()


def test_another_number_of_slots_is_told_with_its_holders() -> None:
    """They may be acting by it."""
    assert read_table(table(), 4) == CountedOtherwise(2, frozenset({A}))


@pytest.mark.parametrize(
    ("data", "why", "rows"),
    [
        pytest.param({"realm": None}, "data.realm is missing", VIEW.rows, id="a lost realm"),
        pytest.param({"realm": ""}, "data.realm is missing", VIEW.rows, id="an empty realm"),
        pytest.param({"count": "many"}, "data.count is 'many', not a number", VIEW.rows, id="no count"),
        pytest.param({"count": None}, "data.count is missing, not a number", VIEW.rows, id="a lost count"),
        pytest.param({"slots": None}, "data.slots is missing, not a JSON list", (LOST, LOST), id="lost rows"),
        pytest.param({"slots": "{}"}, "data.slots is '{}', not a JSON list", (LOST, LOST), id="no list"),
        pytest.param({"slots": "["}, "data.slots is '[', not a JSON list", (LOST, LOST), id="no JSON"),
        pytest.param({"slots": "[" * 100_000}, "data.slots is '[[", (LOST, LOST), id="a deep one"),
        pytest.param({"slots": "[" + "9" * 5000 + "]"}, "data.slots is '[99", (LOST, LOST), id="a long number"),
        pytest.param({"slots": '["7:a"]'}, "data.slots has 1 rows, not 2", (held("a", 7), LOST), id="too few"),
        pytest.param({"slots": '["7:a","8:","9:"]'}, "has 3 rows, not 2", (held("a", 7), VIEW.rows[1]), id="too many"),
        pytest.param({"slots": '["x","8:"]'}, r"data.slots[0] is not <epoch>:<holder> but 'x'", None, id="no row"),
        pytest.param({"slots": '[7,"8:"]'}, r"data.slots[0] is not <epoch>:<holder> but 7", None, id="a number"),
        pytest.param({"slots": '["-1:a","8:"]'}, r"data.slots[0] is not", None, id="a negative epoch"),
        pytest.param({"slots": f'["{"9" * 16}:a","8:"]'}, r"data.slots[0] is not", None, id="beyond counting"),
        pytest.param({"uid": "v"}, "data.uid is 'v': it was written to another ConfigMap", VIEW.rows, id="a copy"),
        pytest.param({"uid": None}, "data.uid is missing: it was written to another", VIEW.rows, id="by hand"),
    ],
)
def test_damage_is_named_and_readable_rows_are_kept(
    data: dict[str, str | None], why: str, rows: tuple[SlotRow, ...] | None
) -> None:
    """A row that is lost is held by nobody known, so that it is waited out."""
    reading = read_table(table(**data), 2)
    assert isinstance(reading, Damaged)
    assert (why in reading.why, reading.rows) == (True, rows or (LOST, VIEW.rows[1]))


def test_a_new_realm_keeps_the_later_claim_of_each_slot() -> None:
    """Of what stands there and what is remembered; a lost row stays lost, whatever is remembered of it."""
    read = (held("a", 5), held("a", 5), SlotRow(holder=None, epoch=5), LOST)
    known = (held("b", 6), held("b", 4), held("a", 5), held("b", 9))
    assert renewed_rows(read, known) == (held("b", 6), held("a", 5), SlotRow(holder=None, epoch=5), LOST)
