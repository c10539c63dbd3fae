"""kopf as we use it: it watches and writes nothing. Its parts are pinned where a new version could change them."""

import asyncio
import logging
from itertools import islice
from typing import Any

import kopf
import pytest
from kopf._cogs.aiokits.aiotoggles import ToggleSet
from kopf._cogs.structs.ephemera import AnyMemo, Memo
from kopf._cogs.structs.references import Resource
from kopf._core.actions import lifecycles
from kopf._core.engines.indexing import OperatorIndexers
from kopf._core.reactor.processing import process_resource_event

from background_tasks.testing import VirtualTime
from background_tasks_operator.kube.handlers import registry
from background_tasks_operator.kube.kinds import RESOURCES, selector
from background_tasks_operator.kube.watching import LONGEST_PAUSE_S, Forgetful, Patience, kopf_settings

KINDS = tuple(RESOURCES)
TASKS = Resource(
    group="background-tasks.dev", version="v1alpha1", plural="backgroundtasks", kind="BackgroundTask",
    singular="backgroundtask", namespaced=True, preferred=True, verbs=frozenset({"list", "watch", "patch"}),
)  # fmt: skip
BODY: Any = {
    "apiVersion": "background-tasks.dev/v1alpha1",
    "kind": "BackgroundTask",
    "metadata": {"name": "a", "namespace": "b", "uid": "u", "annotations": {}, "resourceVersion": "5"},
    "spec": {"task": "kg_decay"},
}


@pytest.mark.parametrize(("kind", "told"), [(None, "LISTED"), ("ADDED", "ADDED"), ("DELETED", "DELETED")])
async def test_an_event_is_handed_on_as_it_came(
    kind: Any, told: str, virtual_time: VirtualTime, caplog: pytest.LogCaptureFixture
) -> None:
    """kopf's own processing calls our handler once with the raw body, patches nothing and remembers nothing."""
    heard: list[tuple[str, dict[str, Any]]] = []
    memories = Forgetful()
    with caplog.at_level(logging.WARNING):
        patched = await process_resource_event(
            lifecycle=lifecycles.all_at_once, indexers=OperatorIndexers(),
            registry=registry(lambda event, body: heard.append((event, body)), KINDS),
            settings=kopf_settings(KINDS, virtual_time), memories=memories, memobase=AnyMemo(Memo()),
            resource=TASKS, raw_event={"type": kind, "object": BODY}, event_queue=asyncio.Queue(),
            operator_paused=ToggleSet(any), stream_pressure=asyncio.Event(),
        )  # fmt: skip
    assert heard == [(told, BODY)]
    assert patched is None
    assert list(memories.iter_all_memories()) == []
    assert caplog.records == []


def test_only_events_are_handled() -> None:
    """Nothing is registered that would put finalizers or annotations on objects, or poll them."""
    made = registry(lambda event, body: None, KINDS)
    assert {handler.id for handler in made._watching.get_all_handlers()} == set(KINDS)
    for kind in (made._spawning, made._changing, made._indexing, made._webhooks):
        assert list(kind.get_all_handlers()) == []


def test_every_wait_has_an_end(virtual_time: VirtualTime) -> None:
    """Requests, connections and watches all have a deadline; lists come by pages."""
    made = kopf_settings(KINDS, virtual_time)
    deadlines = [
        made.networking.request_timeout,
        made.networking.connect_timeout,
        made.watching.server_timeout,
        made.watching.client_timeout,
        made.watching.connect_timeout,
        made.watching.inactivity_timeout,
    ]
    assert all(deadline is not None and 0 < deadline <= 600 for deadline in deadlines)
    assert (made.watching.chunk_size or 0) > 0
    assert made.queueing.worker_limit is None
    assert isinstance(made, kopf.OperatorSettings)


def test_other_peoples_objects_are_not_asked_for(virtual_time: VirtualTime) -> None:
    """Of kinds that are not ours, only what we made is listed and watched."""
    made = kopf_settings(KINDS, virtual_time)
    assert selector("BackgroundTask") == selector("WorkerPool") == ""
    assert made.watching.label_selectors.collect(TASKS) == []
    assert len(made.watching.label_selectors) == len(KINDS) - 2


def test_a_server_that_is_away_is_waited_for_without_end() -> None:
    """Pauses grow to a cap and never run out: kopf would give up and end the process."""
    pauses = list(islice(Patience(lambda: 1.0), 100))
    assert pauses[:3] == [0.5, 1.0, 2.0]
    assert pauses[-1] == LONGEST_PAUSE_S
