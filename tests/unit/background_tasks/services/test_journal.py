"""What journalctl's JSON means, and how an endless line is cut."""

import asyncio
import json

import pytest

from background_tasks.services.journal import parse, read_line
from background_tasks.services.log_sources import LogLine, cut, read_text_line

CURSOR = "s=1;i=2;b=3;m=4;t=5;x=6"


def entry(**fields: object) -> bytes:
    """Make a line of `journalctl -o json`."""
    return json.dumps({"__CURSOR": CURSOR, "__REALTIME_TIMESTAMP": "1700000000500000", **fields}).encode()


@pytest.mark.parametrize(
    ("message", "text"),
    [
        pytest.param("hello", "hello", id="text"),
        pytest.param([104, 105, 255], "hi\\xff", id="byte values are text as far as they are"),
        pytest.param(None, "", id="null was too large"),
        pytest.param(["a", [98]], "a b", id="a field that was given twice"),
        pytest.param(17, "17", id="anything else as it is written"),
    ],
)
def test_a_message_is_read_in_each_of_its_forms(message: object, text: str) -> None:
    """journald gives text, bytes, null or lists of them."""
    line = parse(entry(MESSAGE=message, PRIORITY="4", _SYSTEMD_UNIT="a.service"), 80)

    assert line == LogLine(position=CURSOR, message=text, level=4, at=1_700_000_000.5, unit="a.service")


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b"nonsense", b'{"MESSAGE": "no cursor"}'])
def test_what_is_no_entry_is_left_out(raw: bytes) -> None:
    """A line without a cursor is no entry, and no error."""
    assert parse(raw, 80) is None


@pytest.mark.parametrize("priority", ["8", "-1", "", "high", None, ["1", "2"]])
def test_an_unreadable_priority_is_info(priority: object) -> None:
    """Levels outside 0 to 7 do not stop a line."""
    line = parse(entry(MESSAGE="x", PRIORITY=priority), 80)

    assert line is not None
    assert line.level == 6


@pytest.mark.parametrize("message", ["x" * 5_000, list(b"x" * 5_000)])
def test_an_entry_that_was_cut_keeps_cursor_and_begin(message: object) -> None:
    """The fields that are whole are read, and the part of the message that is there."""
    line = parse(entry(PRIORITY="3", MESSAGE=message)[:1_000], 16_384)

    assert line is not None
    assert (line.position, line.level, line.message[:50]) == (CURSOR, 3, "x" * 50)


async def test_a_line_beyond_the_limit_is_cut_and_the_next_is_whole() -> None:
    """Reading goes on behind a line of any length; a last line without an end is not given."""
    stream = asyncio.StreamReader(limit=1_000)
    stream.feed_data(b"short\n" + b"y" * 5_000 + b"\nnext\nbroken off")
    stream.feed_eof()

    lines = [await read_line(stream, 1_000) for _ in range(4)]

    assert lines == [b"short", b"y" * 1_000, b"next", None]


def test_a_cut_never_leaves_half_a_word() -> None:
    """Half a token would no longer look like one."""
    assert cut("user 1 token sk-abcdefghijklmnop", 20) == "user 1 token [cut: 32 characters]"


@pytest.mark.parametrize(
    ("text", "message", "level"),
    [
        ("12:00:01 WARN disk is full", "12:00:01 WARN disk is full", 4),
        ("all is well", "all is well", 6),
        ('{"level": "error", "event": "gone", "slot": 3}', "gone slot=3", 3),
        ('{"message": "hi"}', "hi", 6),
        ("{not json", "{not json", 6),
    ],
)
def test_level_and_message_of_a_text_line(text: str, message: str, level: int) -> None:
    """JSON lines say their level; others have it among their first words."""
    assert read_text_line(text) == (message, level)
