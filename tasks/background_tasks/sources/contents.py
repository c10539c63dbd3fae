"""What files hold, read again only where a file changed, and put together to one list of tasks and pools.

Not here: watching (`files`), reading one file (`loading`), what a difference means (`changes`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from background_tasks.api import names
from background_tasks.api.convert import task_of
from background_tasks.api.pool import WorkerPool
from background_tasks.api.read import Foreign, Unfit
from background_tasks.api.task import BackgroundTask
from background_tasks.ports import Refusal
from background_tasks.sources.changes import UNSEEN, Declared, Loaded
from background_tasks.sources.loading import Claim, Entry, check_roots, duplicates, file_refused, find_files, read_file

type Stamp = tuple[int, ...]
"""Differs after every change of a file: times of content and of permissions, size, inode."""


@dataclass(frozen=True, slots=True)
class FileContent:
    """One file as it was read last; only what is needed afterwards, for there may be thousands."""

    stamp: Stamp
    tasks: tuple[tuple[Claim, str, Declared], ...] = ()
    """With the name of the pool."""
    pools: tuple[tuple[Claim, WorkerPool], ...] = ()
    refusals: tuple[tuple[str | None, Refusal], ...] = ()
    """With the name of the pool, where it can be read."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Contents:
    """All files as they were read last."""

    files: Mapping[Path, FileContent] = field(default_factory=dict)
    trouble: tuple[Refusal, ...] = ()
    """Why the files could not be listed; then `files` are those of the look before."""

    @property
    def stamps(self) -> Mapping[Path, Stamp]:
        """Equal for two looks between which nothing changed."""
        return {path: content.stamp for path, content in self.files.items()}


@dataclass(frozen=True, slots=True)
class Survey:
    """What the files say together."""

    tasks: Loaded
    pools: Mapping[str, WorkerPool]
    notes: tuple[str, ...]


def survey(roots: Sequence[Path], pool: str | None = None) -> Survey:
    """Read everything once. Raises `Refused` for a path that is not there."""
    check_roots(roots)
    return combine(look(roots, frozenset(root for root in roots if root.is_dir()), Contents()), pool)


def look(roots: Sequence[Path], folders: frozenset[Path], before: Contents) -> Contents:
    """Read what changed since `before`. A directory that cannot be listed is a failed look, not an empty one."""
    try:
        missing = next((folder for folder in folders if not folder.is_dir()), None)
        if missing is not None:
            raise FileNotFoundError(2, "the directory is not there any more", str(missing))
        paths = find_files(roots)
    except OSError as error:
        path = Path(str(error.filename))
        entry = file_refused(path, f"cannot be listed: {error.strerror}; its tasks stay as they were")
        return Contents(before.files, _refusals_of(entry))
    read = ((path, _read(path, before.files.get(path))) for path in paths)
    return Contents({path: content for path, content in read if content is not None})


def combine(contents: Contents, pool: str | None) -> Survey:
    """Put all files together: the tasks of one pool (None: of all), the first of each name, and every refusal."""
    files = contents.files.values()
    twice = duplicates(claim for content in files for claim in _claims(content))
    tasks = {
        declared.task.uid: declared
        for content in files
        for claim, wanted, declared in content.tasks
        if claim not in twice and pool in (None, wanted)
    }
    refusals = [
        refusal
        for content in files
        for wanted, refusal in content.refusals
        if pool is None or wanted is None or wanted == pool
    ]
    pools: dict[str, WorkerPool] = {}
    for content in files:
        for claim, found in content.pools:
            if claim not in twice:
                pools.setdefault(claim.name, found)
    unsound = {path for path, content in contents.files.items() if content.refusals}
    loaded = Loaded(
        tasks=tasks,
        refusals=(*contents.trouble, *refusals, *twice.values()),
        unsound=frozenset(unsound),
    )
    return Survey(loaded, pools, tuple(note for content in files for note in content.notes))


def _claims(content: FileContent) -> list[Claim]:
    return [*(claim for claim, _, _ in content.tasks), *(claim for claim, _ in content.pools)]


def _read(path: Path, before: FileContent | None) -> FileContent | None:
    """Read a file again if it changed; None when it went away meanwhile."""
    try:
        state = path.stat()
        stamp = (state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino)
        if before is not None and before.stamp == stamp:
            return before
        return _content(path, stamp, read_file(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        return _content(
            path, (), (file_refused(path, f"the file cannot be read: {error.strerror}; correct or remove it"),)
        )


def _content(path: Path, stamp: Stamp, entries: Sequence[Entry]) -> FileContent:
    tasks: list[tuple[Claim, str, Declared]] = []
    pools: list[tuple[Claim, WorkerPool]] = []
    refusals: list[tuple[str | None, Refusal]] = []
    notes: list[str] = []
    for entry in entries:
        found, identity = entry.found, entry.identity
        if isinstance(found, Unfit):
            pool = identity.pool if identity is not None and identity.kind == names.TASK_KIND else None
            refusals.extend((pool, refusal) for refusal in found.refusals)
        elif isinstance(found, Foreign):
            notes.append(f"{entry.place}: {found.kind} is left alone")
        elif identity is not None and isinstance(found, BackgroundTask):
            task = task_of(found, seen_at=float(UNSEEN), generation=UNSEEN)
            tasks.append((entry.claim(identity), identity.pool, Declared(task, path)))
        elif identity is not None and isinstance(found, WorkerPool):
            pools.append((entry.claim(identity), found))
    return FileContent(stamp, tuple(tasks), tuple(pools), tuple(refusals), tuple(notes))


def _refusals_of(entry: Entry) -> tuple[Refusal, ...]:
    return entry.found.refusals if isinstance(entry.found, Unfit) else ()
