"""One HTTP request to the API server: who we are, a deadline, and never a second time by itself. Not here: verbs."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp.client_proto import ResponseHandler
from kubernetes.aio.client.rest import RESTClientObject

from background_tasks.services.kubernetes.access import Access, usable
from background_tasks.services.kubernetes.errors import UNAUTHORIZED, api_error, kubernetes_errors
from background_tasks.services.kubernetes.lines import Body

CONNECT_TIMEOUT_S = 3.0
AGENT = "background-tasks"
"""Also the field manager of what we write other than by apply."""

JSON, MERGE, APPLY = "application/json", "application/merge-patch+json", "application/apply-patch+yaml"


class Connections(RESTClientObject):
    """The library's connections, which never send a request a second time by themselves."""

    def _create_pool_manager(self) -> aiohttp.ClientSession:
        session: aiohttp.ClientSession = super()._create_pool_manager()
        # aiohttp sends PUT and DELETE again when a kept connection breaks: a renewal done twice is a false conflict.
        session._retry_connection = False  # noqa: SLF001 (it has no public name)
        assert session.connector is not None
        session.connector._factory = partial(_Abrupt, loop=asyncio.get_running_loop())  # type: ignore[assignment]  # noqa: SLF001 (nor has this)
        return session


class _Abrupt(ResponseHandler):
    """A connection that is closed at once: a server that hangs would not say farewell, and the loop may end before."""

    def close(self) -> None:
        """Close it without a word."""
        self.abort()


@asynccontextmanager
async def open_wire(
    access: Access, *, timeout_s: float, on_write: Callable[[str], None] = lambda resource: None
) -> AsyncIterator["Wire"]:
    """Open connections in the calling loop; the first request makes the first of them.

    `on_write` hears of each write that is sent, by its resource, such as `leases`.
    """
    with usable("the certificates of the kubeconfig or the pod"):
        connections = Connections(access.configuration)
    try:
        yield Wire(access, connections, timeout_s=timeout_s, on_write=on_write)
    finally:
        await connections.close()


class Wire:
    """Requests to one API server. Raises what `errors` draws."""

    def __init__(
        self,
        access: Access,
        connections: Connections,
        *,
        timeout_s: float,
        on_write: Callable[[str], None] = lambda resource: None,
    ) -> None:
        self._on_write = on_write
        self._access = access
        self._connections = connections
        self._total_s = timeout_s
        self._connect_s = min(CONNECT_TIMEOUT_S, timeout_s)

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        kind: str = JSON,
    ) -> Body:
        """Send a request and read its answer, an object."""
        doing, write = f"{method.lower()} {_short(path)}", method != "GET"
        timeout = aiohttp.ClientTimeout(total=self._total_s, connect=self._connect_s)
        if write:
            self._on_write(_resource(path))
        with kubernetes_errors(doing, write=write):
            async with self._answer(method, path, body, query=query, kind=kind, timeout=timeout) as answer:
                await _check(answer, doing, write=write)
                told = json.loads(await answer.read())
            if not isinstance(told, dict):
                raise ValueError(f"a {type(told).__name__} where an object was expected")
        return told

    @asynccontextmanager
    async def stream(
        self, path: str, doing: str, query: Mapping[str, str], *, idle_timeout_s: float
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """Send a GET whose answer goes on; its reader raises a timeout after `idle_timeout_s` without a byte.

        The deadline of a call holds for the first word of the answer.
        """
        timeout = aiohttp.ClientTimeout(connect=self._connect_s, sock_read=idle_timeout_s)
        async with self._answer("GET", path, query=query, kind=JSON, timeout=timeout) as answer:
            await _check(answer, doing)
            yield answer.content

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None,
        kind: str,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 (the client keeps it)
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = f"{self._access.configuration.host.rstrip('/')}{path}" + (f"?{urlencode(query)}" if query else "")
        async with asyncio.timeout(self._total_s):
            answer = await self._send(method, url, body, kind, timeout)
            if answer.status == UNAUTHORIZED:
                # Nothing was done, so asking again is safe. Once: the credentials were rotated, or they are wrong.
                answer.close()
                await self._access.renew()
                answer = await self._send(method, url, body, kind, timeout)
        try:
            yield answer
        finally:
            answer.release()

    async def _send(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any] | None,
        kind: str,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 (the client keeps it)
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": JSON, "Content-Type": kind, "User-Agent": AGENT}
        token = await self._access.configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            headers["Authorization"] = token
        answer = await self._connections.request(  # type: ignore[no-untyped-call]
            method, url, headers=headers, body=body, _request_timeout=timeout
        )
        response: aiohttp.ClientResponse = answer.response
        return response


async def _check(answer: aiohttp.ClientResponse, doing: str, *, write: bool = False) -> None:
    if not 200 <= answer.status < 300:
        retry_after = answer.headers.get("Retry-After")
        raise api_error(doing, answer.status, await answer.read(), write=write, retry_after=retry_after)


def _short(path: str) -> str:
    """Drop what every path begins with: `/apis/apps/v1/namespaces/n/deployments/d` is `namespaces/n/deployments/d`."""
    return path.split("/", 3 if path.startswith("/api/") else 4)[-1]


def _resource(path: str) -> str:
    """Name the resource that a path leads to: `/apis/apps/v1/namespaces/n/deployments/d` is `deployments`."""
    parts = _short(path).split("/")
    return parts[2] if parts[0] == "namespaces" and len(parts) > 2 else parts[0]
