"""Reads files and directories into resources and refusals, each with its file, document and line.

Not here: watching (`files`), what changed (`changes`).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from background_tasks.api import names
from background_tasks.api.faults import FieldPath
from background_tasks.api.pool import WorkerPool
from background_tasks.api.read import Foreign, Identity, Unfit, identity_of, read_resource
from background_tasks.api.refusals import refusal
from background_tasks.api.task import BackgroundTask
from background_tasks.errors import Refused
from background_tasks.ports import Refusal
from background_tasks.sources.documents import Document, Unreadable, read_documents

_PLACE = re.compile(r"(.+):([0-9]+)(?: \(document ([0-9]+)\))?", re.DOTALL)
"""As in `tasks.yaml:12 (document 3)`."""
SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, as people and editors write it."""

    file: Path
    line: int
    document: int = 0
    """From 1; 0: the whole file."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (f" (document {self.document})" if self.document else "")

    @classmethod
    def read(cls, text: str) -> "Place":
        """Read back what `str` gave, as a `Refusal` carries it. Raises `ValueError` for anything else."""
        parts = _PLACE.fullmatch(text)
        if parts is None:
            raise ValueError(f"{text!r} is not a place in a file")
        return cls(Path(parts[1]), int(parts[2]), int(parts[3] or 0))


@dataclass(frozen=True, slots=True)
class Claim:
    """A resource says who it is, at some place; two resources with one key are one too many."""

    kind: str
    namespace: str
    name: str
    place: Place


@dataclass(frozen=True, slots=True)
class Entry:
    """One document of a file, or one item of its `kind: List`."""

    found: BackgroundTask | WorkerPool | Unfit | Foreign
    identity: Identity | None
    place_of: Callable[[FieldPath], Place]
    """Says where a field of this resource stands."""

    @property
    def place(self) -> Place:
        """Where the document begins."""
        return self.place_of(())

    def claim(self, identity: Identity) -> Claim:
        """Say who the resource is, and where it says so."""
        return Claim(identity.kind, identity.namespace, identity.name, self.place_of(("metadata", "name")))


def find_files(roots: Sequence[Path]) -> tuple[Path, ...]:
    """List the files that hold resources: those named, and all YAML and JSON below directories, sorted.

    Names that begin with a dot are passed by: editors' swap files, and the hidden copies of a mounted ConfigMap.
    Raises `OSError` for what cannot be listed: nothing is there only when it was seen that nothing is there.
    """
    found: dict[Path, None] = {}
    for root in roots:
        if root.is_dir():
            found |= dict.fromkeys(sorted(_below(root)))
        elif root.exists():
            found[root] = None
    return tuple(found)


def check_roots(roots: Sequence[Path]) -> None:
    """Raise `Refused` for a path that is not there."""
    for root in roots:
        if not root.exists():
            raise Refused(f"{root}: no such file or directory; give a YAML or JSON file, or a directory of them")


def read_file(path: Path) -> tuple[Entry, ...]:
    """Read all resources of a file. A file that cannot be read is a refusal; one that is gone raises `OSError`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        return (file_refused(path, f"the file cannot be read: {error.strerror}; check its permissions"),)
    return read_bytes(path, data)


def file_refused(path: Path, message: str) -> Entry:
    """Make the entry for a file of which nothing can be said but that it is unfit."""
    return _unreadable(Place(path, 1), message)


def read_bytes(path: Path, data: bytes) -> tuple[Entry, ...]:
    """Read all resources of a file whose bytes are at hand."""
    return tuple(entry for document in read_documents(data) for entry in _entries(path, document))


def duplicates(claims: Iterable[Claim]) -> Mapping[Claim, Refusal]:
    """Find the claims that were made before, in the order given; each refusal names both places."""
    first: dict[tuple[str, str, str], Claim] = {}
    found: dict[Claim, Refusal] = {}
    for claim in claims:
        earlier = first.setdefault((claim.kind, claim.namespace, claim.name), claim)
        if earlier is not claim:
            whole = f"{claim.kind} {claim.namespace}/{claim.name}"
            message = f"{whole} is declared before, at {earlier.place}; rename or remove one of the two"
            found[claim] = refusal(("metadata", "name"), message, claim.name, _always(claim.place), bare=True)
    return found


def _always(place: Place) -> Callable[[FieldPath], str]:
    return lambda _: str(place)


def _entries(path: Path, document: Document | Unreadable) -> Iterator[Entry]:
    if isinstance(document, Unreadable):
        yield _unreadable(Place(path, document.line, document.number), document.message)
        return
    for body, prefix in _expanded(document.body):
        yield _entry(path, document, body, prefix)


def _entry(path: Path, document: Document, body: object, prefix: FieldPath) -> Entry:
    def place_of(field: FieldPath) -> Place:
        return Place(path, document.line_of(prefix + field), document.number)

    found = read_resource(body, lambda field: str(place_of(field)))
    return Entry(found, identity_of(body), place_of)


def _expanded(body: object) -> Iterator[tuple[object, FieldPath]]:
    """Open a `kind: List`, as `kubectl get -o yaml` prints one."""
    items = body.get("items") if isinstance(body, Mapping) and body.get("kind") in names.LIST_KINDS else None
    if not isinstance(items, list):
        yield body, ()
        return
    for number, item in enumerate(items):
        yield item, ("items", number)


def _unreadable(place: Place, message: str) -> Entry:
    made = Refusal(where=str(place), field="", value="", message=message)
    return Entry(Unfit((made,)), None, lambda _: place)


def _below(root: Path) -> Iterator[Path]:
    for folder, folders, files in root.walk(on_error=_raise, follow_symlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.endswith(SUFFIXES) and not name.startswith("."):
                yield folder / name


def _raise(error: OSError) -> None:
    raise error
