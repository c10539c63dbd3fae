"""Builds one document's value out of YAML events, with the line of each field, and refuses what no resource needs.

Not here: files, encodings, the words for a parser's own errors.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

DEEPEST = 64
"""Nesting; a resource with an affinity has about 15."""
DEEPEST_ALIAS = 4
"""Aliases within aliases: hand-written files have one or two, a bomb has nine."""
MOST_ALIASED = 20_000
"""Values that aliases may add to one document."""

_WORDS: Mapping[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})", re.ASCII)
_OTHER_BASE = re.compile(r"0x[0-9a-fA-F]{1,15}|0o?[0-7]{1,20}", re.ASCII)
_NUMBER = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?", re.ASCII)
_NO_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = {None, "!", f"{_TAG}map", f"{_TAG}seq", f"{_TAG}str"}


class Unsound(Exception):
    """What is wrong with a document, and where."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(slots=True)
class Lines:
    """The line of a value, and those of the fields below it."""

    line: int
    below: dict[str | int, "Lines"] = field(default_factory=dict)


@dataclass(slots=True)
class _Node:
    """A value that is complete, or a container that is being filled."""

    value: Any
    lines: Lines
    size: int = 1
    alias_depth: int = 0
    anchor: str | None = None
    key: str | None = None
    key_line: int = 0
    waits_for_merge: bool = False
    merged: list["_Node"] = field(default_factory=list)


class Builder:
    """Takes the events of a stream; after each document's end, `value` and `lines` hold that document."""

    def __init__(self, offset: int) -> None:
        self.value: object = None
        self.lines = Lines(offset + 1)
        self._offset = offset
        self._open: list[_Node] = []
        self._anchors: dict[str, _Node | None] = {}
        self._aliased = 0

    def take(self, event: yaml.Event) -> None:
        """Take one event. Raises `Unsound`."""
        assert event.start_mark is not None, "a parser's events carry marks"
        line = event.start_mark.line + 1 + self._offset
        match event:
            case yaml.DocumentStartEvent():
                self.value, self._open, self._anchors, self._aliased = None, [], {}, 0
            case yaml.ScalarEvent():
                self._add(_Node(_scalar(event, line), Lines(line), anchor=event.anchor), line, event)
            case yaml.AliasEvent():
                self._add(self._alias(event, line), line, event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._begin(event, line)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                node = self._open.pop()
                _merge(node)
                self._add(node, node.lines.line, event)

    def _begin(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent, line: int) -> None:
        if len(self._open) >= DEEPEST:
            raise Unsound(line, f"nested more than {DEEPEST} deep; write it flatter")
        if event.tag not in _PLAIN_TAGS:
            raise Unsound(line, f"tag {_short(event.tag)} is not used here; remove it")
        above = self._open[-1] if self._open else None
        if above is not None and isinstance(above.value, dict) and above.key is None and not above.waits_for_merge:
            raise Unsound(line, "a list or mapping stands where a key is due; if this is a template, render it first")
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        value: object = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._open.append(_Node(value, Lines(line), anchor=event.anchor))

    def _alias(self, event: yaml.AliasEvent, line: int) -> _Node:
        name = event.anchor
        if name not in self._anchors:
            raise Unsound(line, f"alias *{name} has no anchor before it in this document; add &{name}, or quotes")
        node = self._anchors[name]
        if node is None:
            raise Unsound(line, f"alias *{name} stands inside its own anchor; remove it")
        self._aliased += node.size
        if node.alias_depth >= DEEPEST_ALIAS:
            raise Unsound(line, f"aliases within aliases, more than {DEEPEST_ALIAS} deep; write the values out")
        if self._aliased > MOST_ALIASED:
            raise Unsound(line, f"aliases add more than {MOST_ALIASED} values; write fewer of them")
        return _Node(node.value, Lines(line, node.lines.below), node.size, node.alias_depth + 1)

    def _add(self, node: _Node, line: int, event: yaml.Event) -> None:
        """Put a complete value where it belongs: the document, a list, a key or the value of a key."""
        if node.anchor is not None:
            self._anchors[node.anchor] = node
        if not self._open:
            self.value, self.lines = node.value, node.lines
            return
        above = self._open[-1]
        if isinstance(above.value, list):
            above.lines.below[len(above.value)] = node.lines
            above.value.append(node.value)
        elif above.waits_for_merge:
            above.waits_for_merge = False
            above.merged.append(node)
        elif above.key is None:
            self._add_key(above, node, line, event)
            return
        else:
            above.lines.below[above.key] = Lines(above.key_line, node.lines.below)
            above.value[above.key] = node.value
            above.key = None
        above.size += node.size
        above.alias_depth = max(above.alias_depth, node.alias_depth)

    def _add_key(self, above: _Node, node: _Node, line: int, event: yaml.Event) -> None:
        key = node.value
        if key == "<<" and isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
            above.waits_for_merge = True
            return
        if not isinstance(key, str):
            written = event.value if isinstance(event, yaml.ScalarEvent) else "…"
            raise Unsound(line, f'key {written} is not text to YAML; write "{written}"')
        if key in above.value:
            first = above.lines.below[key].line
            raise Unsound(line, f"{key} is given twice, first at line {first}; remove one of the two")
        above.key, above.key_line = key, line


def _merge(node: _Node) -> None:
    """Fill in what `<<` names, where the mapping itself says nothing."""
    for source in node.merged:
        many = source.value if isinstance(source.value, list) else [source.value]
        for place, mapping in enumerate(many):
            if not isinstance(mapping, dict):
                raise Unsound(source.lines.line, "<< takes a mapping, or a list of them; name an anchor of one")
            lines = source.lines.below[place] if isinstance(source.value, list) else source.lines
            for key in mapping.keys() - node.value.keys():
                node.value[key], node.lines.below[key] = mapping[key], Lines(source.lines.line, lines.below[key].below)


def _scalar(event: yaml.ScalarEvent, line: int) -> object:
    if event.tag not in _PLAIN_TAGS:
        raise Unsound(line, f"tag {_short(event.tag)} is not used here; remove it")
    text: str = event.value
    if not event.implicit[0] or event.tag == f"{_TAG}str":
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OTHER_BASE.fullmatch(text):
        return int(text, 16) if text[1] == "x" else int(text.replace("o", ""), 8)
    if _NO_NUMBER.fullmatch(text):
        raise Unsound(line, f"{text} is no number that JSON has; write a number or put it in quotes")
    if _NUMBER.fullmatch(text):
        return _finite(float(text), text, line)
    return text


def _finite(number: float, text: str, line: int) -> float:
    if number in (float("inf"), float("-inf")):
        raise Unsound(line, f"{text} is too large for a number; put it in quotes")
    return number


def _short(tag: str | None) -> str:
    return (tag or "").replace(_TAG, "!!")
