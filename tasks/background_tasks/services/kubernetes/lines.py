"""A watch's byte stream as events: one JSON object per line, however the network cut it. Not here: connections."""

import json
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import aclosing
from typing import Any

from background_tasks.errors import Unavailable
from background_tasks.services.kubernetes.errors import status_error

type Body = dict[str, Any]
type Event = tuple[str, Body]
"""(ADDED, MODIFIED, DELETED or BOOKMARK; the object, which has a `metadata.resourceVersion`)."""

TYPES = frozenset({"ADDED", "MODIFIED", "DELETED", "BOOKMARK"})
LONGEST_LINE = 32 * 2**20
"""Bytes. An object of etcd is 1.5 MiB by default; what is longer is no event, and may not eat our memory."""
SHOWN = 120


async def events(
    chunks: AsyncIterable[bytes], doing: str, malformed: Callable[[str], None] | None
) -> AsyncGenerator[Event, None]:
    """Yield the events. An ERROR of the server is raised (`Gone` for 410); an unreadable line goes to `malformed`.

    A line that the end of the stream cut is dropped: the next watch tells it again.
    """
    async with aclosing(lines(chunks)) as whole:
        async for line in whole:
            event = _read(line, doing, malformed)
            if event is not None:
                yield event


async def lines(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield whole lines; each byte is copied once, however many chunks a line has."""
    parts: list[bytes] = []
    size = 0
    async for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        for end in ended:
            line = b"".join((*parts, end))
            parts, size = [], 0
            if line.strip():
                yield line
        if rest:
            parts.append(rest)
            size += len(rest)
        if size > LONGEST_LINE:
            raise Unavailable(f"kubernetes: a watch sent {size} bytes without an end of line; it is begun again")


def _read(line: bytes, doing: str, malformed: Callable[[str], None] | None) -> Event | None:
    try:
        kind, body = _event(line)
    except ValueError as error:
        told = f"kubernetes: {doing}: an event cannot be read, it is skipped: {error}"
        if malformed is None:
            raise Unavailable(told) from error
        malformed(told)
        return None
    if kind == "ERROR":
        raise status_error(doing, _code(body), body)
    return kind, body


def _event(line: bytes) -> tuple[str, Body]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{line[:SHOWN]!r} is no JSON ({error})") from error
    kind = event.get("type") if isinstance(event, dict) else None
    body = event.get("object") if isinstance(event, dict) else None
    if kind == "ERROR" and isinstance(body, dict):
        return kind, body
    if not isinstance(kind, str) or kind not in TYPES or not isinstance(body, dict) or not _version(body):
        raise ValueError(f"{line[:SHOWN]!r} has no type, object and metadata.resourceVersion")
    return kind, body


def _version(body: Body) -> str:
    metadata = body.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    return version if isinstance(version, str) else ""


def _code(status: Body) -> int:
    code = status.get("code")
    return code if isinstance(code, int) else 0
