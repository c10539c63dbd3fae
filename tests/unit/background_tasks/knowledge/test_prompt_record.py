"""What a prompt may say, and what becomes of a stored hash that somebody else wrote."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from background_tasks.errors import Refused
from background_tasks.knowledge.prompt_record import Prompt, Status, draft, read_prompt, to_fields

GOOD: dict[str, object] = {
    "owner": "ann", "channel": '["discord","1"]', "text": "tea?", "kind": "cron", "expr": "30 8 * * MON-FRI",
    "tz": "Europe/Berlin",
}  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        pytest.param({"expr": "61 * * * *"}, "61", id="a minute that does not exist"),
        pytest.param({"expr": "* * * *"}, "4 fields", id="four fields"),
        pytest.param({"expr": "* * * * * *"}, "6 fields", id="seconds"),
        pytest.param({"expr": "0 0 30 2 *"}, "0 0 30 2", id="the 30th of February"),
        pytest.param({"tz": "Europe/Berln"}, "Europe/Berlin", id="a zone with a slip names the right one"),
        pytest.param({"kind": "once", "expr": "tomorrow"}, "tomorrow", id="an instant in words"),
        pytest.param({"kind": "once", "expr": "9999-12-31T23:59"}, "9000", id="an instant past every calendar"),
        pytest.param({"kind": "daily"}, "daily", id="a kind that does not exist"),
        pytest.param({"text": ""}, "text", id="nothing to say"),
        pytest.param({"text": "\ud800"}, "text", id="half a character"),
        pytest.param({"owner": "x" * 201}, "owner", id="an owner without end"),
        pytest.param({"max_lag_s": float("nan")}, "max_lag_s", id="a lag that is no number"),
        pytest.param({"id": "fired:x"}, "fired:", id="an id that would be taken for our own flag"),
        pytest.param({"colour": "red"}, "colour", id="a field that does not exist"),
    ],
)
def test_a_draft_that_cannot_run_is_refused_with_its_fault(fault: dict[str, object], told: str) -> None:
    """The message names what is wrong."""
    with pytest.raises(Refused) as refused:
        draft(GOOD | fault)
    assert told in str(refused.value)


def test_all_faults_are_told_at_once() -> None:
    """Nobody has to try three times."""
    with pytest.raises(Refused, match=r"owner.*channel.*text"):
        draft({"kind": "once", "expr": "2026-01-01T00:00"})


def a_prompt(**given: Any) -> Prompt:
    """Build an active prompt."""
    return Prompt.model_validate(
        GOOD | {"id": "tea", "status": "active", "next_at": 1_700_000_000.25, "created_at": 5.0} | given
    )


def test_a_record_reads_back_as_it_was_written() -> None:
    """Instants are whole milliseconds in the store."""
    prompt = a_prompt(id='a:"b"☕', fire_count=3, max_lag_s=12.5)
    assert read_prompt('a:"b"☕', prompt.fields()) == prompt


@pytest.mark.parametrize(
    "broken",
    [
        {"expr": "61 * * * *"}, {"status": "asleep"}, {"next_at": "soon"}, {"next_at": "-5"}, {"next_at": "9" * 30},
        {"next_at": ""}, {"fire_count": "many"}, {"tries": "-1"}, {"max_lag_s": "inf"}, {"tz": "Mars/Base"},
        {"text": ""}, {"created_at": "1e400"}, {"missed_policy": "perhaps"}, {"next_at": "٣"},
    ],
    ids=repr,
)  # fmt: skip
def test_garbage_in_a_record_is_refused(broken: dict[str, str]) -> None:
    """What somebody else wrote below our keys is never believed."""
    with pytest.raises(Refused):
        read_prompt("tea", a_prompt().fields() | broken)


@given(fields=st.dictionaries(st.sampled_from([*Prompt.model_fields, "other"]), st.text(max_size=8)))
def test_reading_any_hash_gives_a_prompt_or_a_refusal(fields: dict[str, str]) -> None:
    """No hash makes the reader fail in another way."""
    with suppress(Refused):
        assert read_prompt("tea", a_prompt().fields() | fields).id == "tea"


def test_unknown_fields_are_left_alone() -> None:
    """A newer version may write more."""
    assert read_prompt("tea", a_prompt().fields() | {"mood": "good"}) == a_prompt()


def test_nothing_is_spelled_as_an_empty_field() -> None:
    """An ended prompt has no next instant."""
    assert to_fields({"status": Status.DONE, "next_at": None, "tries": 2}) == {
        "status": "done", "next_at": "", "tries": "2",
    }  # fmt: skip


def test_ids_that_look_alike_name_different_occurrences() -> None:
    """An id may hold any character, also those that our names are made of."""
    tricky = ["a", "a:1", 'a",1', '["a",1]', "a\\", "á"]
    assert len({a_prompt(id=id).occurrence(1.0) for id in tricky}) == len(tricky)
