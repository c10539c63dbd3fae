"""Rings when something may have changed below some directories, and now and then without being told.

Not here: what changed; who hears it looks for himself. `watchfiles.awatch` would begin to listen only when it is first
awaited, after the first look at the files; what changes in between would be heard late. So this listens first.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from watchfiles._rust_notify import RustNotify

from background_tasks.errors import Unavailable

QUIET_MS = 50
"""Without news for so long, an editor has finished; also how long a closed bell's thread lives on."""
LONGEST_MS = 1000
"""Rings at the latest so long after the first of many changes."""
POLL_MS = 2000
"""Rings without being told: network mounts tell nothing, and the kernel's queue can overflow."""
FILE_POLL_MS = 300
"""Only where the kernel cannot watch; then the library looks itself."""


@contextmanager
def bell(folders: Iterable[Path], *, recursive: bool) -> Iterator[Callable[[], Awaitable[object]]]:
    """Listen from now on; calling what is given waits for the next ring, which may be one of before the call.

    Raises `Unavailable` when the system has no watch left.
    """
    stop = threading.Event()
    paths = [str(folder) for folder in folders]
    try:
        listener = RustNotify(paths, False, False, FILE_POLL_MS, recursive, True)
    except OSError as error:
        raise Unavailable(f"{paths} cannot be watched: {error}; raise fs.inotify.max_user_watches") from error
    try:
        yield partial(asyncio.to_thread, listener.watch, LONGEST_MS, QUIET_MS, POLL_MS, stop)
    finally:
        stop.set()
