"""Reads, writes and watches of one API server, as raw dicts, each with a deadline and without hidden repeats.

Not here: retries and backoff (`reflector` for watches; who writes decides whether writing again is safe), meaning.
A `Cluster` belongs to the event loop that opened it.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from background_tasks.services.kubernetes.access import find_access
from background_tasks.services.kubernetes.errors import Gone, NotFound, kubernetes_errors
from background_tasks.services.kubernetes.lines import Body, Event, events
from background_tasks.services.kubernetes.resources import Resource
from background_tasks.services.kubernetes.wire import APPLY, MERGE, Wire, open_wire

CALL_TIMEOUT_S = 10.0
PAGE = 500
"""Objects per page of a list, as client-go asks: 10,000 tasks in 20 answers, none of which holds the loop for long."""
IDLE_TIMEOUT_S = 70.0
"""A bookmark comes about once a minute; a watch that is silent for longer hangs on a dead connection."""
WATCH_LIFETIME_S = 300.0
LIST_ATTEMPTS = 3
"""Lists by pages begun before one is asked for in a single answer."""


@asynccontextmanager
async def open_cluster(
    *,
    kubeconfig: Path | None = None,
    context: str | None = None,
    timeout_s: float = CALL_TIMEOUT_S,
    on_write: Callable[[str], None] = lambda resource: None,
) -> AsyncIterator["Cluster"]:
    """Open connections to a cluster in the calling loop: the pod's own, else a kubeconfig's (`KUBECONFIG`, ~/.kube).

    `timeout_s` is the deadline of each call (and of each page of a list). Nothing is asked before the first call.
    `on_write` hears of each write that is sent, by its resource. Raises `Refused` when no cluster is configured.
    """
    access = await find_access(kubeconfig, context)
    async with open_wire(access, timeout_s=timeout_s, on_write=on_write) as wire:
        yield Cluster(wire, namespace=access.namespace)


class Cluster:
    """One API server. Every call may raise `Refused`, `NotFound`, `Conflict`, `Gone`, `Unavailable`, `Ambiguous`.

    `namespace=None` means the one that the body names (writes), else none: all namespaces, or a cluster's own object.
    """

    def __init__(self, wire: Wire, *, namespace: str) -> None:
        self.namespace = namespace
        """Where this process lives, or what the kubeconfig's context says."""
        self._wire = wire

    async def get(self, resource: Resource, name: str, *, namespace: str | None = None) -> Body:
        """Read one object, as it is now."""
        return await self._wire.call("GET", resource.path(namespace, name))

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        each: Callable[[Body], Body] | None = None,
    ) -> Body:
        """Read all objects by pages, as of one moment; `metadata.resourceVersion` is where a watch begins.

        `each` may make every object smaller as its page comes in.
        """
        query = _selectors(label_selector, field_selector)
        path = resource.path(namespace)
        for _ in range(LIST_ATTEMPTS):
            try:
                return await self._pages(path, query | {"limit": str(PAGE)}, each)
            except Gone:
                continue  # the pages' moment was compacted away while we turned them: begin again
        return await self._pages(path, query, each)

    async def create(self, resource: Resource, body: Mapping[str, Any], *, namespace: str | None = None) -> Body:
        """Make an object. Raises `AlreadyExists` when its name is taken."""
        return await self._wire.call("POST", resource.path(namespace or _namespace(body)), body)

    async def replace(self, resource: Resource, body: Mapping[str, Any], *, namespace: str | None = None) -> Body:
        """Write an object over the version that the body names. Raises `Conflict` when it is not the newest."""
        return await self._wire.call("PUT", resource.path(namespace or _namespace(body), _name(body)), body)

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
        return await self._wire.call("PATCH", path, body, query=query, kind=APPLY)

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
        return await self._wire.call("PATCH", resource.path(namespace, name, subresource), patch, kind=MERGE)

    async def delete(
        self, resource: Resource, name: str, *, namespace: str | None = None, uid: str | None = None
    ) -> None:
        """Delete an object; an absent one is fine. With `uid`, raises `Conflict` when the name is another object's."""
        options: Body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            await self._wire.call("DELETE", resource.path(namespace, name), options)
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

        The server ends it after `lifetime_s`. Raises `Gone` when the version is not kept any more, `Silent` when
        nothing, not even a bookmark, came for `idle_timeout_s`, `Unavailable` when the connection breaks. An event that
        cannot be read is told to `malformed` and skipped; without it, it ends the watch with `Unavailable`.
        """
        query = _selectors(label_selector, field_selector) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(max(1, round(lifetime_s))),
        }
        doing = f"watch {resource.plural}"
        with kubernetes_errors(doing):
            async with (
                self._wire.stream(resource.path(namespace), doing, query, idle_timeout_s=idle_timeout_s) as stream,
                aclosing(events(stream.iter_any(), doing, malformed)) as told,
            ):
                async for event in told:
                    yield event

    async def _pages(self, path: str, query: Mapping[str, str], each: Callable[[Body], Body] | None) -> Body:
        doing = f"list {path}"
        items: list[Body] = []
        first: Body | None = None
        more: dict[str, str] = {}
        while first is None or more:
            page = await self._wire.call("GET", path, query={**query, **more})
            with kubernetes_errors(doing):
                found, token = _page(page)
            items += map(each, found) if each else found
            first = first or page
            more = {"continue": token} if token else {}
        return {**first, "metadata": {"resourceVersion": first["metadata"]["resourceVersion"]}, "items": items}


def _selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    both = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {key: value for key, value in both.items() if value}


def _page(page: Body) -> tuple[list[Body], str]:
    """Take a page's objects and the token of the next; objects of built-in kinds lack what the list says for all."""
    metadata, items = page.get("metadata"), page.get("items")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("resourceVersion"), str):
        raise ValueError("a list without metadata.resourceVersion")
    if not isinstance(items, list | None) or not all(_is_object(item) for item in items or ()):
        raise ValueError("a list whose items are no objects")
    common = {"apiVersion": page.get("apiVersion", ""), "kind": str(page.get("kind", "")).removesuffix("List")}
    return [{**common, **item} for item in items or ()], metadata.get("continue") or ""


def _is_object(item: object) -> bool:
    return isinstance(item, dict) and isinstance(item.get("metadata"), dict)


def _namespace(body: Mapping[str, Any]) -> str | None:
    namespace: str | None = body["metadata"].get("namespace")
    return namespace


def _name(body: Mapping[str, Any]) -> str:
    name: str = body["metadata"]["name"]
    return name
