"""A YAML parser's complaints in words that say what to do.

Not here: what we refuse ourselves (`nodes`).
"""

import yaml

from background_tasks.sources.nodes import Unsound

_INDENT = "the line is not in step with those above it; line it up, or put a value with a colon in quotes"
_SENTENCES = (
    ("mapping values are not allowed", _INDENT),
    ("did not find expected key", _INDENT),
    ("did not find expected '-'", _INDENT),
    ("could not find expected ':'", "a key without its colon; write key: value"),
    ("did not find expected ',' or ']'", "the bracket [ of line {begin} is not closed, or a comma is missing"),
    ("did not find expected ',' or '}'", "the brace {{ of line {begin} is not closed, or a comma is missing"),
    ("did not find expected node content", "a value is missing; write one, or close the bracket"),
    ("found unexpected end of stream", "the quote of line {begin} is not closed"),
    ("found unexpected document indicator", "the quote of line {begin} is not closed before ---"),
    ("found unknown escape", "\\ begins an escape in double quotes; write \\\\ or use single quotes"),
    ("exceeded maximum nesting", "nested too deep; write it flatter"),
)


def explain(error: yaml.YAMLError, part: str, offset: int) -> Unsound:
    """Turn a parser's error about `part`, whose first line is line `offset` + 1 of the file, into a sentence."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return Unsound(offset + 1, f"this is no YAML: {str(error).splitlines()[0]}")
    mark, problem = error.problem_mark, error.problem or ""
    if problem.startswith("could not find expected ':'") and error.context_mark is not None:
        mark = error.context_mark  # the parser notices a line late
    rows = part.splitlines() or [""]
    line = min(mark.line, len(rows) - 1)
    row = rows[line]
    begin = (error.context_mark.line if error.context_mark else mark.line) + 1 + offset
    if "\t" in row[: len(row) - len(row.lstrip())] or row[mark.column : mark.column + 1] == "\t":
        return Unsound(line + 1 + offset, "a tab; YAML is indented by spaces")
    if "cannot start any token" in problem:
        first = row[mark.column : mark.column + 1]
        return Unsound(line + 1 + offset, f"{first} cannot begin a value; put it in quotes")
    known = next((sentence for start, sentence in _SENTENCES if problem.startswith(start)), None)
    return Unsound(line + 1 + offset, known.format(begin=begin) if known else f"this is no YAML: {problem}")
