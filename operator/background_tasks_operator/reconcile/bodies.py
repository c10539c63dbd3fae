"""Reading bodies that a cluster sent, with care: what is not there, or is no such thing, counts as not said.

Not here: what it means.
"""

import json
from collections.abc import Mapping
from typing import Any

from background_tasks.api import names

type Body = Mapping[str, Any]

ANNOTATION_PREFIX = f"{names.GROUP}/"


def meta(body: Body) -> Body:
    """Return the metadata."""
    found = body.get("metadata")
    return found if isinstance(found, Mapping) else {}


def text(body: Body, field: str) -> str:
    """Return a text of the metadata, such as `name`."""
    found = meta(body).get(field)
    return found if isinstance(found, str) else ""


def version(body: Body) -> int:
    """Return how new the body is: versions of one object grow. 0 where it does not say."""
    found = text(body, "resourceVersion")
    return int(found) if found.isascii() and found.isdecimal() else 0


def generation(body: Body) -> int:
    """Return how often the spec was changed."""
    found = meta(body).get("generation")
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def label(body: Body, name: str) -> str:
    """Return a label's value."""
    labels = meta(body).get("labels")
    found = labels.get(name) if isinstance(labels, Mapping) else None
    return found if isinstance(found, str) else ""


def our_annotations(body: Body) -> tuple[tuple[str, str], ...]:
    """Return what our annotations say, in order; of anybody else's none."""
    found = meta(body).get("annotations")
    pairs = found.items() if isinstance(found, Mapping) else ()
    return tuple(sorted((name, str(value)) for name, value in pairs if str(name).startswith(ANNOTATION_PREFIX)))


def slots_in(config_map: Body) -> tuple[int, int]:
    """Count a slot table's held slots and all its slots; (0, 0) before a worker has filled it, or where it is damaged.

    Its `slots` is JSON, such as `["3:worker-a.f0", "1:"]`: an epoch and a holder per slot.
    """
    data = config_map.get("data")
    raw = data.get("slots") if isinstance(data, Mapping) else None
    try:
        rows = json.loads(raw) if isinstance(raw, str) else []
    except ValueError:
        return 0, 0
    if not isinstance(rows, list) or not all(isinstance(row, str) for row in rows):
        return 0, 0
    return sum(bool(row.partition(":")[2]) for row in rows), len(rows)
