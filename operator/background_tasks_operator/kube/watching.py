"""kopf as we use it: it watches, and does nothing else. It writes nothing to any object, ever.

Not here: what is watched (`handlers`).
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, override

import kopf
from kopf._cogs.structs.references import Insights  # no public name, like the next; the version is pinned
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory

from background_tasks.api import names
from background_tasks.errors import Unavailable
from background_tasks.ports import Clock
from background_tasks_operator.kube.handlers import Tell, registry
from background_tasks_operator.kube.kinds import RESOURCES, selector

REQUEST_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0
WATCH_S = 300
"""The server ends a watch after so long, and it goes on from where it was: a connection that hangs is found out."""
PAGE = 250
"""Objects in one answer of a list: a list of 10,000 tasks is never in memory as a whole."""
IDLE_S = 0.1
"""An object's asyncio task ends so soon after its last event; kopf's 5 s would keep 10,000 of them, with bodies."""
EXIT_S = 0.5
LONGEST_PAUSE_S = 15.0


class Patience:
    """Pauses between attempts of one request, without end: a server that is away for long is waited for, not died of.

    Each is between half and the whole of a doubling time.
    """

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw

    def __iter__(self) -> Iterator[float]:
        pause = 0.5
        while True:
            yield pause * (0.5 + 0.5 * self._draw())
            pause = min(LONGEST_PAUSE_S, pause * 2)


class Forgetful(ResourceMemories):
    """Remembers no object: kopf's memory of one is some KiB, and of one whose deletion went unseen for ever."""

    @override
    async def recall(self, raw_body: kopf.RawBody, **options: Any) -> ResourceMemory:
        return await super().recall(raw_body, **{**options, "ephemeral": True})


class NoDiffs(kopf.DiffBaseStorage):
    """Keeps no copy of what was handled: an annotation per object and a deep copy per event otherwise."""

    @override
    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    @override
    def fetch(self, **_: Any) -> None:
        return None

    @override
    def store(self, **_: Any) -> None:
        return None


class NoProgress(kopf.ProgressStorage):
    """Keeps no progress of handlers: ours have none."""

    @override
    def fetch(self, **_: Any) -> None:
        return None

    @override
    def store(self, **_: Any) -> None:
        return None

    @override
    def purge(self, **_: Any) -> None:
        return None

    @override
    def touch(self, **_: Any) -> None:
        return None

    @override
    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


def kopf_settings(kinds: Iterable[str], clock: Clock) -> kopf.OperatorSettings:
    """Return kopf's settings, all the ones that matter to us."""
    made = kopf.OperatorSettings()
    made.peering.standalone = True
    made.posting.enabled = False
    made.scanning.disabled = True  # what there is to watch is known before; no rights on definitions and namespaces
    made.process.ultimate_exiting_timeout = None  # the end of this process is `app`'s to see to
    made.persistence.diffbase_storage = NoDiffs()
    made.persistence.progress_storage = NoProgress()
    made.networking.request_timeout = REQUEST_TIMEOUT_S
    made.networking.connect_timeout = CONNECT_TIMEOUT_S
    made.networking.error_backoffs = Patience(clock.draw)
    made.watching.server_timeout = WATCH_S
    made.watching.client_timeout = WATCH_S + REQUEST_TIMEOUT_S
    made.watching.connect_timeout = CONNECT_TIMEOUT_S
    made.watching.chunk_size = PAGE
    made.queueing.idle_timeout = IDLE_S
    made.queueing.exit_timeout = EXIT_S
    for kind in kinds:
        if wanted := selector(kind):
            resource = RESOURCES[kind]
            made.watching.label_selectors[resource.group, resource.version, resource.plural] = wanted
    return made


async def watch(
    tell: Tell,
    *,
    kinds: tuple[str, ...],
    namespaces: tuple[str, ...],
    clock: Clock,
    started: Callable[[], None],
    confirmed: asyncio.Event,
) -> None:
    """Tell of every object of these kinds and of all that happens to them, until cancelled. One at a time a process.

    `started` is called when kopf has set itself up: it takes the signals of the process, which are to be taken back.
    `confirmed` is set once all kinds are watched. Raises `Unavailable` (in a group) when the cluster's own table of
    contents does not show one yet, as in the first second after it was defined: kopf would never look again.
    """
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # two lines for every event otherwise
    before = asyncio.all_tasks()
    insights = Insights()
    where: dict[str, Any] = {"namespaces": namespaces} if namespaces else {"clusterwide": True}
    where["identity"] = names.OPERATOR_APP  # kopf would look for the user's name, which a container has none of
    tasks = await kopf.spawn_tasks(
        registry=registry(tell, kinds),
        settings=kopf_settings(kinds, clock),
        memories=Forgetful(),
        insights=insights,
        **where,
    )
    started()
    async with asyncio.TaskGroup() as group:
        group.create_task(kopf.run_tasks(tasks, ignored=before), name="kopf")
        await insights.ready_resources.wait()
        shown = {resource.plural for resource in insights.watched_resources}
        missing = [kind for kind in kinds if RESOURCES[kind].plural not in shown]
        if missing:
            raise Unavailable(f"the API server does not show {', '.join(missing)} among its resources yet")
        confirmed.set()
    raise RuntimeError("the watches ended by themselves")
