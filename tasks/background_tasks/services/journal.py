"""journald, read through `journalctl` as a child process in a group of its own.

Not here: systemd's library (a build from source that slim images cannot make) and any restart: a child that ends is
`Unavailable`, and the caller knows after which line to ask again.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path

from background_tasks.errors import Unavailable
from background_tasks.services.log_sources import INFO, LogLine, SourceMissing, cut, this_machine

FIELDS = "MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_SYSTEMD_UNIT"
"""Asked for by name: a journal entry has dozens of fields. Cursor and time always come."""
LINE_BYTES = 1 << 20
"""A longer line is cut. asyncio's own limit, 64 KiB, would raise instead."""
STOP_GRACE_S = 3.0
"""From the request to end until the group is killed."""
PROBE_TIMEOUT_S = 5.0
PIPES_TIMEOUT_S = 1.0
"""Passes only if a process that left the group still holds our pipe."""
_CURSOR = re.compile(r"s=[0-9a-f]+;i=[0-9a-f]+;b=[0-9a-f]+;m=[0-9a-f]+;t=[0-9a-f]+;x=[0-9a-f]+")
_TEXT_FIELD = (
    r'"%s"\s*:\s*"((?:[^"\\]|\\.)*)'  # "__CURSOR":"s=1;i=2" -> s=1;i=2, also where the closing quote is cut off
)
_BYTES_FIELD = r'"%s"\s*:\s*\[([\d,\s]*)'  # "MESSAGE":[104,105 -> 104,105
_ERROR_CHARACTERS = 400


class Journal:
    """The journal of this machine (one unit, or all), or a journal file. Position: journald's cursor."""

    def __init__(
        self,
        unit: str = "",
        *,
        file: Path | None = None,
        first_lines: int = 100,
        line_bytes: int = LINE_BYTES,
        characters: int = 16_384,
        stop_grace_s: float = STOP_GRACE_S,
    ) -> None:
        self.live = file is None
        where = f"journald:{this_machine()}" if file is None else f"journal-file:{file.absolute()}"
        self.name = f"{where}:{unit}" if unit else where
        self._file = file
        self._first_lines = first_lines
        self._line_bytes = line_bytes
        self._characters = characters
        self._stop_grace_s = stop_grace_s
        # journalctl cannot follow a file that is named without its folder.
        self._place = [] if file is None else [f"--file={file.absolute()}"]
        self._filter = [f"--unit={unit}"] if unit else []

    async def lines(self, after: str | None) -> AsyncGenerator[LogLine]:
        """Yield the entries after a cursor; without one, a file from its start and a machine's last few.

        Raises `SourceMissing` without journalctl, without the file, or when no journal can be read here;
        `Unavailable` when journalctl ended. A cursor that no journalctl can have written counts as none.
        """
        await self._probe()
        known = after if after and _CURSOR.fullmatch(after) else None
        begin = f"--after-cursor={known}" if known else f"--lines={'all' if self._file else self._first_lines}"
        arguments = [*self._place, *self._filter, "--follow", "--no-tail", "--all", "--output=json"]
        arguments += [f"--output-fields={FIELDS}", begin]
        # Complaints go unread: a pipe that nobody empties would stop the child; the probe has heard the usual ones.
        async with _child(arguments, DEVNULL, self._line_bytes, self._stop_grace_s) as (process, stdout):
            while (raw := await read_line(stdout, self._line_bytes)) is not None:
                line = parse(raw, self._characters)
                if line is not None:
                    yield line
            raise Unavailable(f"journalctl ended with code {await process.wait()}")

    async def _probe(self) -> None:
        """Ask for one entry: a machine without journald follows nothing for ever, and says nothing."""
        arguments = [*self._place, "--quiet", "--lines=1", "--output=json"]
        async with _child(arguments, PIPE, self._line_bytes, self._stop_grace_s) as (process, stdout):
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_S):
                    found = await read_line(stdout, self._line_bytes)
                    complaint = "" if found else await _complaint(process)
                    code = 0 if found else await process.wait()
            except TimeoutError as error:
                raise Unavailable(f"journalctl gave no answer within {PROBE_TIMEOUT_S:g} s") from error
            if code != 0 or (found is None and self.live):
                raise SourceMissing(complaint or "journalctl finds no journal here that it may read")


async def read_line(stream: asyncio.StreamReader, line_bytes: int) -> bytes | None:
    """Return the next line without its end, cut when longer than `line_bytes`; None when the stream has ended.

    A last line without its end is not given: its writer broke off in the middle.
    """
    head = b""
    cut_off = False
    while True:
        try:
            tail = await stream.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return None
        except asyncio.LimitOverrunError as error:
            part = await stream.readexactly(error.consumed)
            head = head or part[:line_bytes]
            cut_off = True
            continue
        return head if cut_off else tail[:-1]


def parse(raw: bytes, characters: int) -> LogLine | None:
    """Read one line of `journalctl -o json`; None for a line without a cursor, which is no entry."""
    text = raw.decode(errors="replace")
    try:
        entry = json.loads(text)
    except ValueError:
        entry = _salvage(text)
    if not isinstance(entry, Mapping) or not isinstance(entry.get("__CURSOR"), str):
        return None
    priority, micros = str(entry.get("PRIORITY")), str(entry.get("__REALTIME_TIMESTAMP"))
    return LogLine(
        position=entry["__CURSOR"],
        message=cut(_text(entry.get("MESSAGE")), characters),
        level=int(priority) if priority in "01234567" and len(priority) == 1 else INFO,
        at=int(micros) / 1e6 if micros.isdecimal() else None,
        unit=_text(entry.get("_SYSTEMD_UNIT") or entry.get("SYSLOG_IDENTIFIER")),
    )


def _text(value: object) -> str:
    """A field is text, null when it was too large, a list of byte values when it is no UTF-8, or a list of these."""
    if isinstance(value, list) and all(isinstance(part, int) and 0 <= part < 256 for part in value):
        return bytes(value).decode(errors="backslashreplace")
    if isinstance(value, list):
        return " ".join(_text(part) for part in value)
    return "" if value is None else str(value)


def _salvage(text: str) -> dict[str, object]:
    """Read what is left of a line that was cut: its fields stand in any order."""
    found: dict[str, object] = {}
    for name in ("__CURSOR", "__REALTIME_TIMESTAMP", "PRIORITY", "_SYSTEMD_UNIT", "SYSLOG_IDENTIFIER", "MESSAGE"):
        if match := re.search(_TEXT_FIELD % name, text):
            found[name] = json.loads(f'"{match[1]}"')
        elif match := re.search(_BYTES_FIELD % name, text):
            found[name] = [int(part) for part in match[1].split(",") if part.strip() and int(part) < 256]
    return found


# --- the child -----------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _child(
    arguments: list[str], stderr: int, limit: int, grace_s: float
) -> AsyncIterator[tuple[Process, asyncio.StreamReader]]:
    try:
        process = await asyncio.create_subprocess_exec(
            "journalctl", *arguments, stdin=DEVNULL, stdout=PIPE, stderr=stderr, limit=limit, start_new_session=True
        )
    except OSError as error:
        raise SourceMissing(f"journalctl cannot be started: {error.strerror}") from error
    try:
        assert process.stdout is not None  # PIPE was asked for
        yield process, process.stdout
    finally:
        await _end(process, grace_s)


async def _end(process: Process, grace_s: float) -> None:
    """Ask the group to end, wait, kill what is left of it, take its exit code and empty its pipes."""
    _signal_group(process, signal.SIGTERM)
    try:
        async with asyncio.timeout(grace_s):
            await process.wait()
    except TimeoutError:
        pass  # the kill below is the answer
    finally:
        _signal_group(process, signal.SIGKILL)
        # A pipe that the reader had paused never tells its end, and its transport would stay open.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PIPES_TIMEOUT_S):
                await process.communicate()


def _signal_group(process: Process, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # all of it has ended
        os.killpg(process.pid, signum)


async def _complaint(process: Process) -> str:
    assert process.stderr is not None  # PIPE was asked for
    said = await process.stderr.read(_ERROR_CHARACTERS)
    return " ".join(said.decode(errors="replace").split())
