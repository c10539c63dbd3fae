"""From the bytes of a YAML or JSON file to its documents, each with the line of every field.

Read as `kubectl` reads it: documents are parted by `---`, so that one broken document does not hide its neighbours;
`on`, `off`, `yes` and `no` are truth values; `<<` merges. Refused, with the line: tabs, keys given twice, keys that
are not text, anchors that refer to themselves or blow up, files that are too large or not UTF-8.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from background_tasks.sources.nodes import Builder, Lines, Unsound
from background_tasks.sources.yaml_errors import explain

LARGEST_FILE = 1024 * 1024
"""Bytes, as the API server's own limit for one object is near it; hand-written files are far smaller."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml where there is one: ten times faster, and it limits nesting itself."""
_PART = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f]")
_PAIR = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
r"""As in JSON's `\ud83d\ude00`, which YAML spells `\U0001F600`."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document that could be read."""

    number: int
    """From 1; empty documents are not counted."""
    body: object
    lines: Lines = field(repr=False)

    def line_of(self, path: tuple[str | int, ...]) -> int:
        """Return the line (from 1) of the field, or of the nearest one above it that exists."""
        lines = self.lines
        for part in path:
            below = lines.below.get(part)
            if below is None:
                break
            lines = below
        return lines.line


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A document, or a whole file, that cannot be read."""

    line: int
    message: str
    number: int = 0
    """0: the whole file."""


def read_documents(data: bytes) -> Iterator[Document | Unreadable]:
    """Yield all documents of a file, in order."""
    text = _decoded(data)
    if isinstance(text, Unreadable):
        yield text
        return
    number = 0
    for offset, part in _parts(text):
        for found in _read_part(part, offset):
            number += 1
            yield (
                Unreadable(found.line, str(found), number)
                if isinstance(found, Unsound)
                else Document(number, found.value, found.lines)
            )


@dataclass(frozen=True, slots=True)
class _Built:
    value: object
    lines: Lines


def _read_part(part: str, offset: int) -> Iterator[_Built | Unsound]:
    builder = Builder(offset)
    try:
        for event in yaml.parse(part, Loader=_LOADER):
            builder.take(event)
            if isinstance(event, yaml.DocumentEndEvent) and builder.value is not None:
                yield _Built(builder.value, builder.lines)
    except Unsound as unsound:
        yield unsound
    except yaml.YAMLError as error:
        yield explain(error, part, offset)


def _decoded(data: bytes) -> str | Unreadable:
    if len(data) > LARGEST_FILE:
        return Unreadable(1, f"the file has {len(data)} bytes; split it: at most {LARGEST_FILE} are read")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Unreadable(1, "the file is UTF-16; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return Unreadable(line, f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8")
    control = _CONTROL.search(text)
    if control:
        line = text.count("\n", 0, control.start()) + 1
        return Unreadable(line, f"character {control[0]!r} cannot stand in a text file; remove it")
    return _PAIR.sub(_joined, text)


def _joined(pair: re.Match[str]) -> str:
    high, low = int(pair[1], 16), int(pair[2], 16)
    return f"\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08X}"


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """Part a file at its `---` lines; with each part comes the number of lines before it."""
    starts = [0, *(found.start() for found in _PART.finditer(text) if found.start() > 0)]
    line = 0
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        part = text[start:end]
        if not all(_is_blank(row) for row in part.splitlines()):
            yield line, part
        line += part.count("\n")


def _is_blank(row: str) -> bool:
    stripped = row.strip()
    return stripped in ("", "---") or stripped.startswith(("#", "%", "--- #"))
