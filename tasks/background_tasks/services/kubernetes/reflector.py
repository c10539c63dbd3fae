"""All objects of a resource, and then every change of them, for ever: list, watch, and begin again where it ended.

Not here: a cache. What went away while nobody watched is the difference between two `Listed`; their reader finds it.
The pauses are those of client-go's reflector: doubled after each failure, drawn, and forgotten after a good time.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from background_tasks.errors import BackgroundTaskError, Unavailable
from background_tasks.ports import Clock
from background_tasks.services.kubernetes.client import IDLE_TIMEOUT_S, WATCH_LIFETIME_S, Cluster
from background_tasks.services.kubernetes.errors import LONGEST_RETRY_AFTER_S, Gone, Silent
from background_tasks.services.kubernetes.lines import Body
from background_tasks.services.kubernetes.resources import Resource

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
HEALTHY_S = 30.0
"""A watch that lived so long was a good one: the next failure is a first one again. Longer than a call's deadline: a
server that took the connection and never answered was none."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listed:
    """All that exists, as of one moment: what is not in it is gone."""

    bodies: tuple[Body, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """An object is new or was written; after a broken connection one may be told twice."""

    body: Body


@dataclass(frozen=True, slots=True)
class Deleted:
    """An object is gone, or is not selected any more; the body is its last state."""

    body: Body


type Told = Listed | Changed | Deleted


def without_managed_fields(body: Body) -> Body:
    """Drop who owns which field: often the larger half of an object, and nothing that we read."""
    body["metadata"].pop("managedFields", None)
    return body


class Reflector:
    """Follows one resource over one `Cluster`; one `events()` at a time.

    `trim` makes every object smaller before it is kept or told. Failures are told to `report` in one sentence each.
    """

    def __init__(
        self,
        cluster: Cluster,
        resource: Resource,
        *,
        clock: Clock,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        report: Callable[[str], None] = _log.warning,
        trim: Callable[[Body], Body] = without_managed_fields,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
    ) -> None:
        self._cluster = cluster
        self._resource = resource
        self._clock = clock
        self._namespace = namespace
        self._selectors = {"label_selector": label_selector, "field_selector": field_selector}
        self._report = report
        self._trim = trim
        self._idle_timeout_s = idle_timeout_s
        self._version = ""
        """Where the next watch begins; empty: list first."""
        self._began: float | None = None
        self._error: BackgroundTaskError | None = None
        """When the present watch began (None: it has not), and what ended it."""
        self._doubtful = False
        """An event could not be read, so what we told may be wrong: list again once this watch has ended."""

    async def events(self) -> AsyncGenerator[Told, None]:
        """Yield `Listed`, then changes, and `Listed` again whenever the thread was lost. Never ends, never raises
        what a cluster may do: it reports and tries again."""
        pauses = Pauses(self._clock)
        self._version = ""
        while True:
            self._began, self._error = None, None
            async with aclosing(self._attempt()) as told:
                async for news in told:
                    yield news
            if self._doubtful:
                self._version = ""
            lasted = 0.0 if self._began is None else self._clock.monotonic() - self._began
            await asyncio.sleep(pauses.after(lasted, self._error))

    async def _attempt(self) -> AsyncGenerator[Told, None]:
        """List, where that is needed, and watch until the watch ends."""
        try:
            if not self._version:
                yield await self._list()
            self._began = self._clock.monotonic()
            async with aclosing(self._watch()) as changes:
                async for change in changes:
                    yield change
        except BackgroundTaskError as error:
            self._error = error
            self._failed(error)

    async def _list(self) -> Listed:
        listed = await self._cluster.list(self._resource, namespace=self._namespace, each=self._trim, **self._selectors)
        self._version = listed["metadata"]["resourceVersion"]
        self._doubtful = False
        return Listed(tuple(listed["items"]))

    async def _watch(self) -> AsyncGenerator[Changed | Deleted, None]:
        watch = self._cluster.watch(
            self._resource,
            namespace=self._namespace,
            resource_version=self._version,
            idle_timeout_s=self._idle_timeout_s,
            lifetime_s=WATCH_LIFETIME_S * (1 + self._clock.draw()),  # so that not all watchers come back at once
            malformed=self._unreadable,
            **self._selectors,
        )
        async with aclosing(watch) as told:
            async for kind, body in told:
                self._version = body["metadata"]["resourceVersion"]
                if kind == "DELETED":
                    yield Deleted(self._trim(body))
                elif kind != "BOOKMARK":
                    yield Changed(self._trim(body))

    def _unreadable(self, sentence: str) -> None:
        self._doubtful = True
        self._report(sentence)

    def _failed(self, error: BackgroundTaskError) -> None:
        if isinstance(error, Gone):
            self._version = ""
        elif not isinstance(error, Silent):  # a resource that nobody touches is silent: no news
            self._report(f"{error}; trying again")


class Pauses:
    """How long to wait before the next attempt: never nothing after a failure, however the last one went."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0

    def after(self, lasted: float, error: BackgroundTaskError | None) -> float:
        """Choose the pause, in seconds, after a watch that lived for `lasted` seconds and ended with `error`.

        A watch that ends without an error right after it began counts as a failure: a server that does so for ever
        would else keep us, and itself, busy.
        """
        if lasted >= HEALTHY_S:
            self._failures = 0
            if error is None or isinstance(error, Silent):
                return 0.0
        pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**self._failures)
        if pause < LONGEST_PAUSE_S:
            self._failures += 1
        asked = error.retry_after if isinstance(error, Unavailable) and error.retry_after else 0.0
        asked = min(asked, LONGEST_RETRY_AFTER_S)
        return max(pause * (1 + self._clock.draw()) / 2, asked * (1 + self._clock.draw() / 10))
