"""Whether an object is already as desired, so that applying it again would write nothing.

Not here: where fingerprints are kept. A fingerprint tells what was last asked for, `holds` what is there.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from background_tasks.api import names
from background_tasks_operator.plan.model import Manifest

LENGTH = 16
"""Hexadecimal digits: 64 bits tell apart what one object ever was."""


def fingerprint(desired: Manifest) -> str:
    """Return the same short text for equal objects, in every process and version of Python."""
    text = json.dumps(desired, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:LENGTH]


def stamped(desired: Manifest) -> dict[str, Any]:
    """Return the object with its fingerprint as an annotation: this is what is applied."""
    meta = dict(desired["metadata"])
    meta["annotations"] = {**meta.get("annotations", {}), names.FINGERPRINT: fingerprint(desired)}
    return {**desired, "metadata": meta}


def is_current(desired: Manifest, live: Manifest) -> bool:
    """Say whether the live object was applied from this very desired one and nobody changed it since.

    A field that we stopped asking for is found by the fingerprint, a field that somebody changed by its value.
    """
    meta = live.get("metadata")
    annotations = meta.get("annotations") if isinstance(meta, Mapping) else None
    told = annotations.get(names.FINGERPRINT) if isinstance(annotations, Mapping) else None
    return told == fingerprint(desired) and holds(live, desired)


def holds(live: object, desired: object) -> bool:
    """Say whether the live value says all that the desired one says. Defaults and other people's fields may be there.

    A list is compared as a whole: in `rules` or `args` an entry too many is as wrong as one too few. Where other people
    may add entries, and where a cluster spells a quantity in its own way (`50m` for `0.05`), that counts as different
    too: it costs one apply that changes nothing (`reconcile.children` remembers it).
    """
    if isinstance(desired, Mapping):
        return isinstance(live, Mapping) and all(key in live and holds(live[key], desired[key]) for key in desired)
    if isinstance(desired, list | tuple):
        if not isinstance(live, list | tuple) or len(live) != len(desired):
            return False
        return all(holds(one, each) for one, each in zip(live, desired, strict=True))
    return live == desired
