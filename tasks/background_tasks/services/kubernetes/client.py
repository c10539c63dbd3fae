"""Reads, writes and watches of one API server, as raw dicts, each with a deadline and without hidden repeats.

Not here: retries and backoff (`reflector` for watches; who writes decides whether writing again is safe), meaning.
A `Cluster` belongs to the event loop that opened it.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client.rest import RESTClientObject

from background_tasks.services.kubernetes.access import Access, find_access
from background_tasks.services.kubernetes.errors import (
    UNAUTHORIZED,
    Gone,
    NotFound,
    api_error,
    kubernetes_errors,
)
from background_tasks.services.kubernetes.lines import Body, Event, events
from background_tasks.services.kubernetes.resources import Resource

CALL_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 3.0
PAGE = 500
"""Objects per page of a list, as client-go asks: 10,000 tasks in 20 answers, none of which holds the loop for long."""
IDLE_TIMEOUT_S = 70.0
"""A bookmark comes about once a minute; a watch that is silent for longer hangs on a dead connection."""
WATCH_LIFETIME_S = 300.0
LIST_ATTEMPTS = 3
"""Lists by pages begun before one is asked for in a single answer."""
AGENT = "background-tasks"

JSON, MERGE, APPLY = "application/json", "application/merge-patch+json", "application/apply-patch+yaml"


@asynccontextmanager
async def open_cluster(
    *, kubeconfig: Path | None = None, context: str | None = None, timeout_s: float = CALL_TIMEOUT_S
) -> AsyncIterator["Cluster"]:
    """Open connections to a cluster in the calling loop: the pod's own, else a kubeconfig's (`KUBECONFIG`, ~/.kube).

    `timeout_s` is the deadline of each call (and of each page of a list). Nothing is asked before the first call.
    Raises `Refused` when no cluster is configured.
    """
    access = await find_access(kubeconfig, context)
    with kubernetes_errors("read the certificates"):
        rest = _Rest(access.configuration)
    try:
        yield Cluster(access, rest, timeout_s=timeout_s)
    finally:
        await rest.close()


class _Rest(RESTClientObject):
    """The library's connections, which never send a request a second time by themselves."""

    def _create_pool_manager(self) -> aiohttp.ClientSession:
        session: aiohttp.ClientSession = super()._create_pool_manager()
        # aiohttp sends PUT and DELETE again when a kept connection breaks: a renewal done twice is a false conflict.
        session._retry_connection = False  # noqa: SLF001 (it has no public name)
        return session


class Cluster:
    """One API server. Every call may raise `Refused`, `NotFound`, `Conflict`, `Gone`, `Unavailable`, `Ambiguous`.

    `namespace=None` means the one that the body names (writes), else none: all namespaces, or a cluster's own object.
    """

    def __init__(self, access: Access, rest: RESTClientObject, *, timeout_s: float = CALL_TIMEOUT_S) -> None:
        self.namespace = access.namespace
        """Where this process lives, or what the kubeconfig's context says."""
        self._access = access
        self._rest = rest
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(CONNECT_TIMEOUT_S, timeout_s))

    async def get(self, resource: Resource, name: str, *, namespace: str | None = None) -> Body:
        """Read one object, as it is now."""
        return await self._call("GET", resource, resource.path(namespace, name))

    async def list(
        self, resource: Resource, *, namespace: str | None = None, label_selector: str = "", field_selector: str = ""
    ) -> Body:
        """Read all objects by pages, as of one moment; `metadata.resourceVersion` is where a watch begins."""
        query = _selectors(label_selector, field_selector)
        path = resource.path(namespace)
        for _ in range(LIST_ATTEMPTS):
            try:
                return await self._pages(resource, path, query | {"limit": str(PAGE)})
            except Gone:
                continue  # the pages' moment was compacted away while we turned them: begin again
        return await self._pages(resource, path, query)

    async def create(self, resource: Resource, body: Mapping[str, Any], *, namespace: str | None = None) -> Body:
        """Make an object. Raises `AlreadyExists` when its name is taken."""
        return await self._call("POST", resource, resource.path(namespace or _namespace(body)), body)

    async def replace(self, resource: Resource, body: Mapping[str, Any], *, namespace: str | None = None) -> Body:
        """Write an object over the version that the body names. Raises `Conflict` when it is not the newest."""
        return await self._call("PUT", resource, resource.path(namespace or _namespace(body), _name(body)), body)

    async def apply(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        manager: str,
        namespace: str | None = None,
        subresource: str = "",
        force: bool = True,
    ) -> Body:
        """Server-side apply: the fields of `body` become `manager`'s; what it no longer names of its own goes away."""
        path = resource.path(namespace or _namespace(body), _name(body), subresource)
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        return await self._call("PATCH", resource, path, body, query=query, kind=APPLY)

    async def merge(
        self,
        resource: Resource,
        name: str,
        patch: Mapping[str, Any],
        *,
        namespace: str | None = None,
        subresource: str = "",
    ) -> Body:
        """Merge `patch` into an object (RFC 7396): null removes. A resourceVersion in it makes it a condition."""
        return await self._call("PATCH", resource, resource.path(namespace, name, subresource), patch, kind=MERGE)

    async def delete(
        self, resource: Resource, name: str, *, namespace: str | None = None, uid: str | None = None
    ) -> None:
        """Delete an object; an absent one is fine. With `uid`, raises `Conflict` when the name is another object's."""
        options: Body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            await self._call("DELETE", resource, resource.path(namespace, name), options)
        except NotFound:
            return

    async def watch(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        lifetime_s: float = WATCH_LIFETIME_S,
        malformed: Callable[[str], None] | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Yield (ADDED, MODIFIED, DELETED or BOOKMARK; object) since a version, until the server ends the watch.

        The server ends it after `lifetime_s`. Raises `Gone` when the version is not kept any more, `Unavailable` when
        the connection breaks or nothing, not even a bookmark, came for `idle_timeout_s`. An event that cannot be read
        is told to `malformed` and skipped; without it, it ends the watch with `Unavailable`.
        """
        query = _selectors(label_selector, field_selector) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(max(1, round(lifetime_s))),
        }
        doing = f"watch {resource.plural}"
        timeout = aiohttp.ClientTimeout(
            total=None, connect=self._timeout.total, sock_connect=self._timeout.sock_connect, sock_read=idle_timeout_s
        )
        with kubernetes_errors(doing):
            async with self._request("GET", resource.path(namespace), query=query, timeout=timeout) as answer:
                await _check(answer, doing)
                async with aclosing(events(answer.content.iter_any(), doing, malformed)) as told:
                    async for event in told:
                        yield event

    async def _pages(self, resource: Resource, path: str, query: Mapping[str, str]) -> Body:
        whole = page = await self._call("GET", resource, path, query=query)
        items = _items(whole)
        while token := page["metadata"].get("continue"):
            page = await self._call("GET", resource, path, query={**query, "continue": token})
            items += _items(page)
        return {**whole, "metadata": {"resourceVersion": whole["metadata"].get("resourceVersion", "")}, "items": items}

    async def _call(
        self,
        method: str,
        resource: Resource,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        kind: str = JSON,
    ) -> Body:
        doing = f"{method.lower()} {path.partition(f'/{resource.version}/')[2]}"
        write = method != "GET"
        with kubernetes_errors(doing, write=write):
            async with self._request(method, path, body, query=query, kind=kind, timeout=self._timeout) as answer:
                await _check(answer, doing, write=write)
                told = json.loads(await answer.read())
        if not isinstance(told, dict):
            with kubernetes_errors(doing, write=write):
                raise ValueError(f"a {type(told).__name__} where an object was expected")
        return told

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        kind: str = JSON,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 (the client keeps it)
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        answer = await self._send(method, path, body, query=query, kind=kind, timeout=timeout)
        try:
            if answer.status == UNAUTHORIZED:
                # Nothing was done, so asking again is safe. Once: the credentials were rotated, or they are wrong.
                answer.close()
                await self._access.renew()
                answer = await self._send(method, path, body, query=query, kind=kind, timeout=timeout)
            yield answer
        finally:
            answer.release()

    async def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        kind: str = JSON,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 (the client keeps it)
    ) -> aiohttp.ClientResponse:
        configuration = self._access.configuration
        headers = {"Accept": JSON, "Content-Type": kind, "User-Agent": AGENT}
        token = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            headers["Authorization"] = token
        url = f"{configuration.host.rstrip('/')}{path}" + (f"?{urlencode(query)}" if query else "")
        answer = await self._rest.request(  # type: ignore[no-untyped-call]
            method, url, headers=headers, body=body, _request_timeout=timeout
        )
        response: aiohttp.ClientResponse = answer.response
        return response


async def _check(answer: aiohttp.ClientResponse, doing: str, *, write: bool = False) -> None:
    if not 200 <= answer.status < 300:
        retry_after = answer.headers.get("Retry-After")
        raise api_error(doing, answer.status, await answer.read(), write=write, retry_after=retry_after)


def _selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    both = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {key: value for key, value in both.items() if value}


def _items(page: Body) -> list[Body]:
    """Take a page's objects; those of built-in kinds lack what the list says once for all."""
    kind, version = str(page.get("kind", "")).removesuffix("List"), page.get("apiVersion", "")
    return [{"apiVersion": version, "kind": kind, **item} for item in page.get("items") or ()]


def _namespace(body: Mapping[str, Any]) -> str | None:
    namespace: str | None = body["metadata"].get("namespace")
    return namespace


def _name(body: Mapping[str, Any]) -> str:
    name: str = body["metadata"]["name"]
    return name
