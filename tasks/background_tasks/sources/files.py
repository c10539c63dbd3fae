"""Tasks from YAML and JSON files: what exists, then every change of a file, as the engine's `TaskSource`.

Not here: what a change means (`changes`), what a file holds (`loading`). Editors replace files by renaming, or
truncate them first; so a task is only believed to be gone when two looks, a moment apart, agree.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path

from background_tasks.api import names
from background_tasks.api.pool import WorkerPool
from background_tasks.ports import Refusal, RefusedDocument, Removed, SourceEvent, Synced
from background_tasks.sources.bell import bell
from background_tasks.sources.changes import View, changes
from background_tasks.sources.contents import Contents, combine, look
from background_tasks.sources.loading import check_roots

LOOK_AGAIN_S = 0.25
"""Between the two looks that must agree before a task counts as gone; an editor's rename takes milliseconds."""
LOOKS = 20
"""Looks at files that never come to rest, before the last one is believed."""


class FileSource:
    """Implements `ports.TaskSource` over files and directories, for the tasks of one pool (None: of all pools).

    `now` gives wall seconds. `pools` and `notes` show what the files said last; `on_pools` is called in the loop
    whenever the WorkerPool documents changed. One source is watched once.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        *,
        now: Callable[[], float],
        pool: str | None = names.DEFAULT_POOL,
        on_pools: Callable[[Mapping[str, WorkerPool]], None] | None = None,
    ) -> None:
        """Raise `Refused` for a path that is not there."""
        check_roots(roots)
        self.pools: Mapping[str, WorkerPool] = {}
        """The WorkerPool documents, by name."""
        self.refusals: tuple[Refusal, ...] = ()
        """What is wrong with the files now; a fault that was mended is not here any more."""
        self.notes: tuple[str, ...] = ()
        """Documents that are somebody else's, and where."""
        self._roots = tuple(roots)
        self._folders = frozenset(root for root in self._roots if root.is_dir())
        self._now = now
        self._pool = pool
        self._on_pools = on_pools
        self._contents = Contents()
        self._view = View()

    async def watch(self) -> AsyncGenerator[SourceEvent, None]:
        """Yield what exists, `Synced`, then changes. Raises `Unavailable` when the system has no watch left."""
        watched = {root if root in self._folders else root.parent for root in self._roots}
        with bell(watched, recursive=bool(self._folders)) as ring:
            for event in await self._settled(first=True):
                yield event
            yield Synced()
            while True:
                await ring()
                for event in await self._settled():
                    yield event

    async def _settled(self, *, first: bool = False) -> tuple[SourceEvent, ...]:
        """Look until two looks agree where something would be lost, then take the last one for true."""
        contents = await self._look(self._contents)
        for _ in range(LOOKS):
            loaded = combine(contents, self._pool)
            view, events = changes(self._view, loaded.tasks, self._now())
            if first or not any(isinstance(event, Removed | RefusedDocument) for event in events):
                break
            await asyncio.sleep(LOOK_AGAIN_S)
            again = await self._look(contents)
            if again.stamps == contents.stamps:
                break
            contents = again
        self._contents, self._view = contents, view
        self.notes, self.refusals = loaded.notes, loaded.tasks.refusals
        if loaded.pools != self.pools:
            self.pools = loaded.pools
            if self._on_pools is not None:
                self._on_pools(loaded.pools)
        return events

    async def _look(self, before: Contents) -> Contents:
        return await asyncio.to_thread(look, self._roots, self._folders, before)
