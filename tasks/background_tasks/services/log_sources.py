"""Where log lines come from: one interface over journald, a text file and this process's own log.

Not here: what is done with a line, when a source is started again, and secrets: a line is as it was written. The log
of a Kubernetes pod is not a source yet.
"""

import asyncio
import json
import os
import platform
import re
import threading
from collections import deque
from collections.abc import AsyncGenerator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from background_tasks.errors import Unavailable

DEBUG = 7
"""syslog levels: 0 emergency, 1 alert, 2 critical, 3 error, 4 warning, 5 notice, 6 info, 7 debug."""
INFO = 6
LEVELS = {
    "emerg": 0, "panic": 0, "alert": 1, "crit": 2, "critical": 2, "fatal": 2, "err": 3, "error": 3, "exception": 3,
    "warn": 4, "warning": 4, "notice": 5, "info": INFO, "debug": DEBUG, "trace": DEBUG,
}  # fmt: skip
LEVEL_NAMES = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")
_LEVEL_WORD = re.compile(r"\b(" + "|".join(LEVELS) + r")\b", re.IGNORECASE)  # "12:00:01 WARN disk is full" -> warn
_LEVEL_WITHIN = 64
"""Characters of a line in which its level is looked for: later, the word is part of the message."""
CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line, as its source wrote it."""

    position: str
    """Opaque to all but the source: reading after it gives the next line. Empty where the source remembers nothing."""
    message: str
    level: int = INFO
    at: float | None = None
    """Wall seconds, as the source wrote them; None where it did not."""
    unit: str = ""


class SourceMissing(Unavailable):
    """There is no such source here: trying again at once does not help."""


class LogSource(Protocol):
    """One place that lines come from."""

    @property
    def name(self) -> str:
        """Identity across the workers that could read it; names its lease and its position."""
        ...

    @property
    def live(self) -> bool:
        """True: lines come when they come and a slow reader must drop. False: a recording, which can wait."""
        ...

    def lines(self, after: str | None) -> AsyncGenerator[LogLine]:
        """Yield the lines after a position (None: from where the source begins), then new ones, without end.

        Raises `SourceMissing` when it is not there, `Unavailable` when it broke off. Close the generator.
        """
        ...


def this_machine() -> str:
    """Return the name by which sources on this machine are told from those on others."""
    return platform.node() or "localhost"


def cut(text: str, characters: int) -> str:
    """Shorten to so many characters; a word that would be cut goes whole, so that half a secret is never left."""
    if len(text) <= characters:
        return text
    head = text[:characters]
    end = max(head.rfind(" "), head.rfind("\n"), head.rfind("\t"))
    return f"{head if end < 0 else head[:end]} [cut: {len(text)} characters]"


# --- a text file -------------------------------------------------------------------------------------------------


class FileTail:
    """A text file and what replaces it when it is rotated. Position: device, inode, offset.

    After a rotation the rest of the old file is read first, also after a restart while it lies beside the new one
    under a name that begins alike. A file that got shorter is read from its start; one that was cut and grew past the
    old offset before anybody looked cannot be told from one that only grew.
    """

    live = True

    def __init__(
        self, path: Path, *, poll_s: float = 0.25, line_bytes: int = 1 << 20, characters: int = 16_384
    ) -> None:
        self.path = path.absolute()
        self.name = f"file:{this_machine()}:{self.path}"
        self._poll_s = poll_s
        self._line_bytes = line_bytes
        self._characters = characters

    async def lines(self, after: str | None) -> AsyncGenerator[LogLine]:
        """Yield the lines after a position, or from the start of the file."""
        reader = await asyncio.to_thread(self._open, after)
        try:
            while True:
                found = await asyncio.to_thread(reader.read)
                for position, raw in found:
                    yield self._line(position, raw)
                if not found and not await asyncio.to_thread(reader.follow_rotation):
                    await asyncio.sleep(self._poll_s)
        finally:
            reader.close()

    def _open(self, after: str | None) -> "_FileReader":
        try:
            return _FileReader(self.path, after, self._line_bytes)
        except OSError as error:
            raise SourceMissing(f"log file {self.path}: {error.strerror}") from error

    def _line(self, position: str, raw: bytes) -> LogLine:
        text = raw.decode(errors="backslashreplace").rstrip("\r\n")
        message, level = read_text_line(text)
        return LogLine(position=position, message=cut(message, self._characters), level=level, unit=self.path.stem)


def read_text_line(text: str) -> tuple[str, int]:
    """Return message and level of a line: of a JSON log line its `event` or `message`, of others the line itself."""
    if text.startswith("{"):
        try:
            fields = json.loads(text)
        except ValueError:
            fields = None
        if isinstance(fields, dict):
            return message_of(fields)
    word = _LEVEL_WORD.search(text, 0, _LEVEL_WITHIN)
    return text, INFO if word is None else LEVELS[word[1].lower()]


def message_of(fields: Mapping[str, object]) -> tuple[str, int]:
    """Return message and level of a structured line; fields that are not message, level or time follow the message."""
    event = next((fields[key] for key in ("event", "message", "msg") if key in fields), "")
    level = LEVELS.get(str(fields.get("level", "info")).lower(), INFO)
    hidden = {"event", "message", "msg", "level", "timestamp", "time"}
    rest = " ".join(f"{key}={value}" for key, value in fields.items() if key not in hidden)
    return f"{event} {rest}".strip(), level


class _FileReader:
    """One open file; blocking, used from a thread."""

    def __init__(self, path: Path, after: str | None, line_bytes: int) -> None:
        self._path = path
        self._line_bytes = line_bytes
        self._rest = b""
        self._skipping = False
        found = _find(path, after)
        self._file = found[0].open("rb", buffering=0)
        self._offset = found[1]
        self._file.seek(self._offset)
        self._identity = _identity(os.fstat(self._file.fileno()))

    def read(self) -> list[tuple[str, bytes]]:
        """Return the complete lines of the next chunk, each with the position after it."""
        if os.fstat(self._file.fileno()).st_size < self._offset + len(self._rest):
            self._start_over()
        chunk = self._file.read(CHUNK_BYTES) or b""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        found = [line for raw in whole if (line := self._complete(raw)) is not None]
        if len(self._rest) > self._line_bytes:
            found += self._too_long()
        return found

    def follow_rotation(self) -> bool:
        """Move on to the file that took the path, if one did. Call it when nothing is left to read."""
        try:
            fresh = _identity(self._path.stat())
        except FileNotFoundError:
            return False  # between the rename and the new file
        if fresh == self._identity:
            return False
        self._file.close()
        self._file = self._path.open("rb", buffering=0)
        self._identity = _identity(os.fstat(self._file.fileno()))
        self._start_over()
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _start_over(self) -> None:
        self._file.seek(0)
        self._offset, self._rest, self._skipping = 0, b"", False

    def _complete(self, raw: bytes) -> tuple[str, bytes] | None:
        self._offset += len(raw) + 1
        if self._skipping:
            self._skipping = False
            return None  # the end of a line whose head was given
        return self._position(), raw

    def _too_long(self) -> list[tuple[str, bytes]]:
        """Give the head of a line that is too long, once; what follows up to its end is skipped."""
        head, self._rest = self._rest[: self._line_bytes], b""
        self._offset = self._file.tell()
        given, self._skipping = self._skipping, True
        return [] if given else [(self._position(), head)]

    def _position(self) -> str:
        return json.dumps([*self._identity, self._offset])


def _identity(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_dev, stat.st_ino


def _find(path: Path, after: str | None) -> tuple[Path, int]:
    """Return the file to read, and from where: the one that a position names if it still lies beside the path."""
    known = _read_position(after)
    if known is None:
        return path, 0
    *identity, offset = known
    for candidate in (path, *sorted(path.parent.glob(f"{path.name}*"))):
        if candidate.exists() and list(_identity(candidate.stat())) == identity:
            return candidate, offset if candidate.stat().st_size >= offset else 0
    return path, 0


def _read_position(after: str | None) -> list[int] | None:
    try:
        known = json.loads(after or "null")
    except ValueError:
        return None
    fits = isinstance(known, list) and len(known) == 3 and all(isinstance(part, int) and part >= 0 for part in known)
    return known if fits else None


# --- this process's own log ---------------------------------------------------------------------------------------


class ProcessLog:
    """The lines of this process: a structlog processor that keeps the last ones for one reader. Any thread may log.

    Nothing of it outlives the process, so its lines have no position; what a reader missed is gone.
    """

    live = True

    def __init__(self, keep: int = 1_000, *, characters: int = 16_384) -> None:
        self.name = f"process:{this_machine()}:{os.getpid()}"
        self._characters = characters
        self._lines: deque[LogLine] = deque(maxlen=keep)
        self._lock = threading.Lock()
        self._wake: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def __call__(self, logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Keep a line and hand it on unchanged."""
        message, level = message_of({"level": method, **event})
        line = LogLine(position="", message=cut(message, self._characters), level=level, unit="process")
        with self._lock:
            self._lines.append(line)
            if self._wake is not None:
                loop, ready = self._wake
                loop.call_soon_threadsafe(ready.set)
        return event

    async def lines(self, after: str | None) -> AsyncGenerator[LogLine]:
        """Yield the lines that are kept, then new ones. A second reader at the same time would share them."""
        ready = asyncio.Event()
        with self._lock:
            self._wake = asyncio.get_running_loop(), ready
        try:
            while True:
                ready.clear()
                while (line := self._next()) is not None:
                    yield line
                await ready.wait()
        finally:
            with self._lock:
                self._wake = None

    def _next(self) -> LogLine | None:
        with self._lock:
            return self._lines.popleft() if self._lines else None
