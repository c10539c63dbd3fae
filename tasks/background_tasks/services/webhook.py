"""The wire to a webhook: one POST of JSON, told as delivered or not. At least once is the caller's matter.

Written over asyncio's streams because only the status line counts: a cancelled call is gone at once, where a thread
would stay until its time-out, and no library more is needed. Not here: retries, redirects (a moved hook is a failed
one), proxies.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote, urlsplit

from background_tasks.errors import Ambiguous, Refused, Unavailable

TIMEOUT_S = 10.0
"""For the whole call, a slow drip included; shorter than the lease of what is being delivered (60 s)."""
MAX_STATUS_LINE = 1_024
IDEMPOTENCY_HEADER = "Idempotency-Key"
KEY_SAFE = "[]\",:;=@!$&()*+/?' "
"""A key of JSON stays readable; what a header cannot hold is percent-encoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A checked webhook address."""

    host: str
    port: int
    target: str
    secure: bool

    @classmethod
    def parse(cls, url: str) -> "Hook":
        """Read an address. Raises `Refused` for what is not http:// or https:// with a host."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise Refused(f"webhook_url is {url!r}: {error}") from error
        fit = parts.scheme in {"http", "https"} and parts.hostname and url.isascii() and url.isprintable()
        if not fit or " " in url or parts.username is not None:
            raise Refused(f"webhook_url is {url!r}; write https://host/path without user, password or blanks")
        secure = parts.scheme == "https"
        query = f"?{parts.query}" if parts.query else ""
        return cls(
            host=str(parts.hostname),
            port=port or (443 if secure else 80),
            target=f"{parts.path or '/'}{query}",
            secure=secure,
        )


async def post(
    hook: Hook, body: str, *, key: str, headers: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S
) -> None:
    """Deliver JSON with an idempotency key; returns when the answer is a 2xx.

    Raises `Unavailable` when it was not taken, `Ambiguous` when it was sent and no answer came: it may have been.
    """
    sent = False
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_s):
            context = await asyncio.to_thread(_tls) if hook.secure else None
            reader, writer = await asyncio.open_connection(hook.host, hook.port, ssl=context, limit=MAX_STATUS_LINE)
            writer.write(_request(hook, body.encode(), key, headers or {}))
            sent = True
            await writer.drain()
            status = _status_of(await reader.readuntil(b"\r\n"))
    except TimeoutError as error:
        raise (Ambiguous if sent else Unavailable)(f"webhook {hook.host}: no answer in {timeout_s:g} s") from error
    except (OSError, EOFError, asyncio.LimitOverrunError) as error:
        raise (Ambiguous if sent else Unavailable)(f"webhook {hook.host}: {type(error).__name__}: {error}") from error
    finally:
        if writer is not None:
            writer.transport.abort()  # nothing more is read, so nothing is to be flushed or waited for
    if not 200 <= status < 300:
        raise Unavailable(f"webhook {hook.host}: status {status}")


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _request(hook: Hook, body: bytes, key: str, headers: Mapping[str, str]) -> bytes:
    host = f"[{hook.host}]" if ":" in hook.host else hook.host
    lines = {
        "Host": f"{host}:{hook.port}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        IDEMPOTENCY_HEADER: quote(key, safe=KEY_SAFE),
        "Connection": "close",
        **headers,
    }
    for name, value in lines.items():
        if not (name + value).isascii() or not (name + value).isprintable():
            raise Refused(f"webhook header {name!r} is {value!r}: only printable ASCII")
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {hook.target} HTTP/1.1\r\n{head}\r\n".encode("ascii") + body


def _status_of(line: bytes) -> int:
    """Read `HTTP/1.1 204 No Content`; anything else is 0, no status at all."""
    parts = line.split(b" ", 2)
    fit = len(parts) > 1 and parts[0].startswith(b"HTTP/1.") and len(parts[1].strip()) == 3
    return int(parts[1]) if fit and parts[1].strip().isdigit() else 0
