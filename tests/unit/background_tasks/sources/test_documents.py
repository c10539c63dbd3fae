"""Files as bytes: what is read, what is refused, and on which line."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from background_tasks.sources.documents import LARGEST_FILE, Document, Unreadable, read_documents

STEP = "the line is not in step with those above it; line it up, or put a value with a colon in quotes"
BAD = [
    pytest.param("a: 1\nb:\n\tc: 2\n", 3, "a tab; YAML is indented by spaces", id="a tab"),
    pytest.param("a: 1\n\tb: 2\n", 2, "a tab; YAML is indented by spaces", id="a tab after a value"),
    pytest.param("a: b: c", 1, STEP, id="two colons"),
    pytest.param("a:\n  b: 1\n c: 2\n", 3, STEP, id="half an indent"),
    pytest.param("- a\nb: c\n", 2, STEP, id="a list that becomes a mapping"),
    pytest.param("a: 1\nb: [1, 2\nc: 3\n", 3, "the bracket [ of line 2 is not closed, or a comma is missing", id="["),
    pytest.param("a: {b: 1", 1, "the brace { of line 1 is not closed, or a comma is missing", id="{"),
    pytest.param("a: 1\nb: 'x", 2, "the quote of line 2 is not closed", id="a quote"),
    pytest.param("a: 1\nkey\nb: 2\n", 2, "a key without its colon; write key: value", id="a key alone"),
    pytest.param("a: @x", 1, "@ cannot begin a value; put it in quotes", id="an at sign"),
    pytest.param("a: `x`", 1, "` cannot begin a value; put it in quotes", id="a backtick"),
    pytest.param(r'a: "\d+"', 1, r"\ begins an escape in double quotes; write \\ or use single quotes", id="an escape"),
    pytest.param("a: 1\nb: 2\na: 3\n", 3, "a is given twice, first at line 1; remove one of the two", id="twice"),
    pytest.param('{"a": 1,\n "a": 2}', 2, "a is given twice, first at line 1; remove one of the two", id="in JSON"),
    pytest.param("a:\n  on: 1\n", 2, 'key on is not text to YAML; write "on"', id="a truth value as key"),
    pytest.param("a: {5: x}", 1, 'key 5 is not text to YAML; write "5"', id="a number as key"),
    pytest.param("a: *x\n", 1, "alias *x has no anchor before it in this document; add &x, or quotes", id="an alias"),
    pytest.param("a: &x [*x]", 1, "alias *x stands inside its own anchor; remove it", id="a circle"),
    pytest.param(
        "a: !!python/object:os.system x", 1, "tag !!python/object:os.system is not used here; remove it", id="!"
    ),
    pytest.param("a: !secret x", 1, "tag !secret is not used here; remove it", id="a tag"),
    pytest.param("a: .inf", 1, ".inf is no number that JSON has; write a number or put it in quotes", id="infinity"),
    pytest.param("a: 1e999", 1, "1e999 is too large for a number; put it in quotes", id="too large"),
    pytest.param("[" * 70, 1, "nested more than 64 deep; write it flatter", id="deep"),
    pytest.param("[" * 5000, 1, "nested too deep; write it flatter", id="very deep"),
    pytest.param(
        "a: {{ .Values.name }}",
        1,
        "a list or mapping stands where a key is due; if this is a template, render it first",
        id="a template",
    ),
    pytest.param(
        "a: 1\nb: {<<: 5}", 2, "<< takes a mapping, or a list of them; name an anchor of one", id="a bad merge"
    ),
]


def bodies(text: str) -> list[Any]:
    """Read a text that must be sound."""
    found = list(read_documents(text.encode()))
    assert all(isinstance(document, Document) for document in found), found
    return [document.body for document in found if isinstance(document, Document)]


@pytest.mark.parametrize(("text", "line", "message"), BAD)
def test_a_document_that_cannot_be_read_is_told_with_its_line(text: str, line: int, message: str) -> None:
    """The line is the one to change, the message says how; below other documents all lines are counted from the top."""
    shifted = re.sub(r"line (\d+)", lambda found: f"line {int(found[1]) + 2}", message)

    assert list(read_documents(text.encode())) == [Unreadable(line, message, 1)]
    assert list(read_documents(f"a: 1\n---\n{text}".encode()))[1:] == [Unreadable(line + 2, shifted, 2)]


def test_one_broken_document_does_not_hide_its_neighbours() -> None:
    """Documents are parted first, then read, as kubectl does it."""
    found = list(read_documents(b"a: 1\n---\nb: [\n---\nc: 3\n---\nd: 'x\n---\ne: 5\n"))

    assert [document.body if isinstance(document, Document) else document.line for document in found] == [
        {"a": 1},
        3,
        {"c": 3},
        7,
        {"e": 5},
    ]


def test_empty_documents_are_passed_by() -> None:
    """Comments, directives, nothing at all: none of them counts."""
    text = "# licence\n---\n---\n# note\n---\n%YAML 1.2\n---\na: 1\n--- # next\n---\nnull\n---\nb: 2\n...\n"

    assert bodies(text) == [{"a": 1}, {"b": 2}]
    assert bodies("") == []
    assert bodies("\n\n# only a comment") == []


def test_values_are_read_as_kubectl_reads_them() -> None:
    """YAML 1.1 for words, JSON for numbers; times and dates stay text."""
    text = (
        'a: [on, Off, yes, "on", 0x1f, 010, 1e3, 1.50, -0, 12:30, 2024-01-01, ~, y, 007x, !!str 5, 9999999999999999999]'
    )

    assert repr(bodies(text)[0]["a"]) == repr(
        [True, False, True, "on", 31, 8, 1e3, 1.5, 0, "12:30", "2024-01-01", None, "y", "007x", "5", 1e19]
    )


def test_anchors_and_merges_work_within_a_document() -> None:
    """What a mapping says itself wins over what it merges; the first merged wins over the next."""
    text = "base: &b {x: 1, y: 2}\none: {<<: *b, y: 3}\nmany:\n  <<: [*b, {y: 9, z: 9}]\nsame: *b\n"

    assert bodies(text) == [
        {"base": {"x": 1, "y": 2}, "one": {"x": 1, "y": 3}, "many": {"x": 1, "y": 2, "z": 9}, "same": {"x": 1, "y": 2}}
    ]


def test_an_alias_bomb_does_not_go_off() -> None:
    """Nine aliases of nine aliases are refused before anything is built."""
    rows = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    rows += [f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)]
    flat = f"a: &a [{'x,' * 1000}]\nb: [{'*a,' * 1000}]\n"

    assert list(read_documents("\n".join(rows).encode())) == [
        Unreadable(5, "aliases add more than 20000 values; write fewer of them", 1)
    ]
    assert list(read_documents(flat.encode())) == [
        Unreadable(2, "aliases add more than 20000 values; write fewer of them", 1)
    ]
    chain = "a: &a [1]\n" + "".join(f"{new}: &{new} [*{old}]\n" for old, new in zip("abcdef", "bcdefg", strict=True))
    assert list(read_documents(chain.encode())) == [
        Unreadable(6, "aliases within aliases, more than 4 deep; write the values out", 1)
    ]


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b"a: 1\nb: \x07\n", 2, r"character '\x07' cannot stand in a text file; remove it"),
        (b"a: 1\nb: \xff\n", 2, "byte 0xff is not UTF-8; save the file as UTF-8"),
        ("a: 1".encode("utf-16"), 1, "the file is UTF-16; save it as UTF-8"),
        (b"x" * (LARGEST_FILE + 1), 1, "the file has 1048577 bytes; split it: at most 1048576 are read"),
    ],
)
def test_a_file_that_is_no_text_is_refused_whole(data: bytes, line: int, message: str) -> None:
    """Nothing of it is used."""
    assert list(read_documents(data)) == [Unreadable(line, message)]


def test_a_byte_order_mark_and_windows_line_ends_are_fine() -> None:
    """Files come from all sorts of editors."""
    found = list(read_documents(b"\xef\xbb\xbfa: 1\r\n---\r\nb:\r\n  c: 2\r\n"))

    assert [document.body for document in found if isinstance(document, Document)] == [{"a": 1}, {"b": {"c": 2}}]
    assert [document.line_of(("b", "c")) for document in found if isinstance(document, Document)] == [1, 4]


TEXT = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Cn", "Zl", "Zp"]) | st.sampled_from('\n\t"\\/'), max_size=20
)
"""What may stand in a YAML file as it is; JSON also has raw control and separator characters, which nobody types."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.floats(-1e9, 1e9, width=32) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(TEXT, JSON, min_size=1, max_size=4), st.booleans(), st.sampled_from([None, 2, "\t"]))
def test_json_is_read_as_json(body: dict[str, Any], ascii_only: bool, indent: int | str | None) -> None:
    """Whatever is written as JSON comes back the same, escapes beyond the basic plane included."""
    text = json.dumps(body, ensure_ascii=ascii_only, indent=indent)

    assert repr(bodies(text)) == repr([json.loads(text)])
