"""The folder of things that are built once for all checkouts: `$XDG_CACHE_HOME/kube-testbed`.

A thing appears in it whole or not at all: it is made in a folder beside its place under a lock and renamed into it, so
that two builders do not do the work twice and a killed one leaves no half.
"""

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def root() -> Path:
    """Name the folder, outside every checkout."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kube-testbed"


def made_once(place: Path, make: Callable[[Path], object], told: str) -> Path:
    """Return `place`, filled by `make(folder)` where it does not exist yet; `told` is the one line of progress."""
    if place.exists():
        return place
    with _alone(place):
        if not place.exists():
            print(told, file=sys.stderr, flush=True)
            draft = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
            try:
                make(draft)
                draft.chmod(0o755)
                draft.rename(place)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    return place


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Hold the lock of one place; it ends with the process, however that ends."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / f".{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
