"""Probes and metrics over HTTP, from threads of their own: a loop that is stuck still tells that it is.

`/livez` the loop answers and no inner task is dead; `/readyz` the tasks are known (a standby is ready too) and no
shutdown began; `/metrics`; `/debug/tasks`. Not here: what a task is; the worker hands over plain mappings.
"""

import asyncio
import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

import structlog

from background_tasks.errors import Unavailable

BEAT_S = 1.0
STUCK_AFTER_S = 10.0
"""A loop that did not beat for so long is stuck: ten beats, and far above the 0.1 s that is logged as a block."""
CLIENT_TIMEOUT_S = 5.0
"""A client that says nothing for so long loses its connection, and its thread ends."""
POLL_S = 0.2
"""How soon the server notices that it is to stop."""
SHOWN_TASKS = 1_000
JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; charset=utf-8"
type Answer = tuple[HTTPStatus, bytes, str]

log = structlog.get_logger("background_tasks.probes")


class Health:
    """What a worker knows of its own state. Written on the loop, read from any thread. `now` is seconds, no steps."""

    def __init__(self, now: Callable[[], float], *, stuck_after_s: float = STUCK_AFTER_S) -> None:
        self._now = now
        self._stuck_after_s = stuck_after_s
        self._beat_at = now()
        self._inner: dict[str, Callable[[], bool]] = {}
        self.synced = False
        """All tasks that exist are known."""
        self.draining = False
        """A shutdown began."""

    async def beat(self, every_s: float = BEAT_S) -> None:
        """Show that the loop goes round, until cancelled."""
        while True:
            self._beat_at = self._now()
            await asyncio.sleep(every_s)

    def watch(self, name: str, is_dead: Callable[[], bool]) -> None:
        """Ask `is_dead` (from any thread) about an inner task that must live as long as the worker."""
        self._inner[name] = is_dead

    def unwatch(self, name: str) -> None:
        """The inner task may end now."""
        self._inner.pop(name, None)

    def not_alive(self) -> list[str]:
        """Return why the process should be replaced; empty while it should not."""
        silent = self._now() - self._beat_at
        stuck = [f"the loop has not answered for {silent:.1f} s"] if silent >= self._stuck_after_s else []
        return stuck + [f"{name} is dead" for name, is_dead in list(self._inner.items()) if is_dead()]

    def not_ready(self) -> list[str]:
        """Return why the worker should get no traffic and count as unavailable."""
        reasons = ((not self.synced, "the list of tasks is not complete yet"), (self.draining, "draining"))
        return [reason for holds, reason in reasons if holds] + self.not_alive()


class Probes:
    """The HTTP server. `tasks` is called from a thread and gives one mapping per task; use as a context manager."""

    def __init__(
        self,
        health: Health,
        *,
        metrics: Callable[[str], tuple[bytes, str]],
        tasks: Callable[[], Iterable[Mapping[str, object]]],
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._health = health
        self._metrics = metrics
        self._tasks = tasks
        self._host = host
        self._wanted_port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; 0 while none is."""
        return 0 if self._server is None else int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Where it listens, for people on this machine."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    def start(self) -> Self:
        """Listen. Raises `Unavailable` when the address cannot be had."""
        try:
            self._server = _Server((self._host, self._wanted_port), self._answer)
        except OSError as error:
            raise Unavailable(f"probes cannot listen on {self._host}:{self._wanted_port}: {error.strerror}") from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL_S,), name="probes", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Listen no more; safe to call twice."""
        server, self._server = self._server, None
        if server is None or self._thread is None:
            return
        server.shutdown()
        self._thread.join()
        server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _answer(self, target: str, accept: str) -> Answer:
        parts = urlsplit(target)
        match parts.path:
            case "/livez":
                return _verdict(self._health.not_alive())
            case "/readyz":
                return _verdict(self._health.not_ready())
            case "/metrics":
                return HTTPStatus.OK, *self._metrics(accept)
            case "/debug/tasks":
                return self._list(parse_qs(parts.query))
        return HTTPStatus.NOT_FOUND, b"try /livez /readyz /metrics /debug/tasks\n", TEXT_TYPE

    def _list(self, query: Mapping[str, list[str]]) -> Answer:
        wanted = query.get("name", [""])[0]
        limit = query.get("limit", [str(SHOWN_TASKS)])[0]
        if not limit.isdecimal():
            return HTTPStatus.BAD_REQUEST, b"limit must be a whole number\n", TEXT_TYPE
        found = [task for task in self._tasks() if wanted in str(task.get("name", ""))]
        shown = {"total": len(found), "tasks": found[: int(limit)]}
        return HTTPStatus.OK, json.dumps(shown, default=str).encode() + b"\n", JSON_TYPE


def _verdict(reasons: list[str]) -> Answer:
    if not reasons:
        return HTTPStatus.OK, b"ok\n", TEXT_TYPE
    return HTTPStatus.SERVICE_UNAVAILABLE, "".join(f"{reason}\n" for reason in reasons).encode(), TEXT_TYPE


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], answer: Callable[[str, str], Answer]) -> None:
        self.answer = answer
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind without the look-up of our own name, which may take seconds where there is no DNS."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that broke off is no news."""
        log.debug("probe_client_failed", client=str(client_address), exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = CLIENT_TIMEOUT_S

    def do_GET(self) -> None:
        """Answer with a body."""
        self._send(with_body=True)

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self._send(with_body=False)

    def _send(self, *, with_body: bool) -> None:
        try:
            status, body, content_type = self.server.answer(self.path, self.headers.get("Accept", ""))
        except Exception:
            log.exception("probe_failed", path=self.path)
            status, body, content_type = HTTPStatus.INTERNAL_SERVER_ERROR, b"see the worker's log\n", TEXT_TYPE
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Probes come every second: no line for them."""
