"""A watch's bytes are its events, however the network cuts them."""

import json
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from background_tasks.errors import Unavailable
from background_tasks.services.kubernetes import lines
from background_tasks.services.kubernetes.errors import Gone
from background_tasks.services.kubernetes.lines import Event, events


def event(version: int, kind: str = "MODIFIED", **fields: object) -> bytes:
    """Make one line of a watch."""
    body = {"metadata": {"name": "a", "resourceVersion": str(version)}, **fields}
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


async def chunked(*chunks: bytes) -> AsyncIterator[bytes]:
    """Make a stream."""
    for chunk in chunks:
        yield chunk


async def read(*chunks: bytes, told: list[str] | None = None) -> list[Event]:
    """Read a stream to its end."""
    malformed = None if told is None else told.append
    return [event async for event in events(chunked(*chunks), "watch configmaps", malformed)]


@given(cuts=st.lists(st.integers(0, 400), max_size=12).map(sorted))
async def test_events_do_not_depend_on_where_the_stream_is_cut(cuts: list[int]) -> None:
    """Any division into chunks gives the same events; an unfinished last line is none."""
    stream = event(1, "ADDED") + b"\n" + event(2) + event(3, "BOOKMARK") + event(4, "DELETED") + event(5)[:-9]
    edges = [0, *cuts, len(stream)]

    found = await read(*(stream[begin:end] for begin, end in pairwise(edges)))

    versions = [(kind, body["metadata"]["resourceVersion"]) for kind, body in found]
    assert versions == [("ADDED", "1"), ("MODIFIED", "2"), ("BOOKMARK", "3"), ("DELETED", "4")]


async def test_an_object_of_a_megabyte_is_one_event() -> None:
    """No buffer's size is the limit of an object."""
    data = {"x": "y" * 2**20}
    stream = event(1, data=data) + event(2)
    chunks = [stream[start : start + 4096] for start in range(0, len(stream), 4096)]

    found = await read(*chunks)

    assert [body["metadata"]["resourceVersion"] for _, body in found] == ["1", "2"]
    assert found[0][1]["data"] == data


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"type": "MODIF', id="half a line"),
        pytest.param(b"<html>", id="a proxy's page"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b"[" * 200_000, id="deeper than we can read"),
        pytest.param(b"7", id="no object"),
        pytest.param(b'{"type": "NEWS", "object": {"metadata": {"resourceVersion": "3"}}}', id="an unknown type"),
        pytest.param(b'{"type": "ADDED"}', id="nothing"),
        pytest.param(b'{"type": "ADDED", "object": {"metadata": []}}', id="no metadata"),
        pytest.param(b'{"type": "ADDED", "object": {"metadata": {"resourceVersion": 3}}}', id="no version"),
        pytest.param(b'{"type": ["ADDED"], "object": {"metadata": {"resourceVersion": "3"}}}', id="a list for a type"),
    ],
)
async def test_an_unreadable_event_costs_one_sentence_and_no_neighbour(line: bytes) -> None:
    """It is named and skipped; what stands before and after it is told."""
    told: list[str] = []

    found = await read(event(1) + line + b"\n" + event(2), told=told)

    assert [body["metadata"]["resourceVersion"] for _, body in found] == ["1", "2"]
    (sentence,) = told
    assert sentence.startswith("kubernetes: watch configmaps: an event cannot be read, it is skipped: ")
    assert len(sentence) < 400


async def test_an_unreadable_event_ends_a_watch_that_cannot_tell_of_it() -> None:
    """Nothing is skipped in silence."""
    with pytest.raises(Unavailable, match="cannot be read"):
        await read(b"{\n")


@pytest.mark.parametrize(
    ("status", "error"),
    [({"code": 410, "message": "too old"}, Gone), ({"code": 500}, Unavailable), ({"code": "?"}, Unavailable)],
)
async def test_an_error_of_the_server_ends_the_watch(status: dict[str, object], error: type[Exception]) -> None:
    """A version that is not kept any more is `Gone`; anything else may be tried again."""
    line = json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"

    with pytest.raises(error, match="watch configmaps"):
        await read(line)


async def test_a_line_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may not eat our memory."""
    monkeypatch.setattr(lines, "LONGEST_LINE", 1000)

    with pytest.raises(Unavailable, match="without an end of line"):
        await read(*[b"x" * 100] * 20)
