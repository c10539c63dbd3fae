"""An API server made of a script: it answers what a test lines up, in that order, and remembers what it was asked."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Answer:
    """One answer: a status and a body, or chunks of a stream and how it ends."""

    status: int = 200
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: tuple[bytes, ...] | None = None
    end: str = "close"
    """Of a stream: `close` in good order, `cut` the connection, or `hang`. The last two leave a plain answer out."""


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: Any


class ScriptedApi:
    """The server. When its script has ended it says 503."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.url = ""
        self._script: deque[Answer] = deque()
        self._hung = asyncio.Event()

    def answers(self, *bodies: object, status: int = 200, **headers: str) -> None:
        """Line up answers with JSON bodies (text and bytes as they are)."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        self._script += [Answer(status, body, named) for body in bodies]

    def fails(self, status: int, message: str = "no", **fields: object) -> None:
        """Line up a Status, as the API server says that it will not."""
        body = {"kind": "Status", "status": "Failure", "message": message, "code": status, **fields}
        self._script.append(Answer(status, body))

    def streams(self, *chunks: bytes, end: str = "close") -> None:
        """Line up a watch."""
        self._script.append(Answer(chunks=chunks, end=end))

    def cuts(self) -> None:
        """Line up a connection that is cut after the request."""
        self._script.append(Answer(end="cut"))

    def hangs(self) -> None:
        """Line up a request that is never answered."""
        self._script.append(Answer(end="hang"))

    def watches(self) -> list[str]:
        """Name the versions from which watches were begun."""
        return [asked.query["resourceVersion"] for asked in self.asked if "watch" in asked.query]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        raw = await request.read()
        body = json.loads(raw) if raw else None
        self.asked.append(Asked(request.method, request.path, dict(request.query), dict(request.headers), body))
        answer = self._script.popleft() if self._script else Answer(503, {"message": "the script has ended"})
        if answer.chunks is not None:
            return await self._stream(request, answer)
        if answer.end == "close":
            text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
            return web.Response(status=answer.status, text=text, headers=dict(answer.headers))
        await self._end(request, answer.end)
        return web.Response()

    async def _stream(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in answer.chunks or ():
            await response.write(chunk)
            await asyncio.sleep(0)
        await self._end(request, answer.end)
        return response

    async def _end(self, request: web.Request, end: str) -> None:
        if end == "hang":
            await self._hung.wait()
        elif end == "cut" and request.transport is not None:
            request.transport.abort()

    def release(self) -> None:
        """Let what hangs go."""
        self._hung.set()


@asynccontextmanager
async def scripted_api() -> AsyncIterator[ScriptedApi]:
    """Serve a script on the loopback."""
    scripted = ScriptedApi()
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", scripted.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    scripted.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield scripted
    finally:
        scripted.release()
        await runner.cleanup()
