"""What a run tells of its effects, as ledger and status can keep it: a copy, in what JSON knows, not too long.

Not here: what a report means for the outcome (`executor`).
"""

import json
from collections.abc import Mapping

from background_tasks.domain.model import EMPTY

REPORT_CHARS = 16 * 1024
"""Longer reports are cut: they travel in status and ledger."""


class Unwritable(Exception):
    """A report that JSON cannot hold."""


def kept(report: Mapping[str, object], task: str) -> Mapping[str, object]:
    """Copy a report; what JSON does not know is kept in its words. Raises `Unwritable` where even that fails."""
    if not report:
        return EMPTY
    try:
        text = json.dumps(report, default=str)
    except Exception as error:  # a `__str__` may raise anything
        raise Unwritable(f"{task} reported what JSON cannot hold: {type(error).__name__}") from error
    if len(text) > REPORT_CHARS:
        return {"cut": f"{len(text):,} characters, cut after {REPORT_CHARS:,}", "begin": text[:REPORT_CHARS]}
    copy: Mapping[str, object] = json.loads(text, parse_constant=str)
    return copy
