"""What a reflector hears of BackgroundTasks, and what the engine is told of it."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import pytest

from background_tasks.api import names
from background_tasks.domain.model import Pause, TaskUid
from background_tasks.engine.clock import SystemClock
from background_tasks.ports import RefusedDocument, Removed, SourceEvent, Synced, Upserted
from background_tasks.services.kubernetes.client import Cluster
from background_tasks.services.kubernetes.reflector import Changed, Deleted, Listed, Reflector, Told
from background_tasks.sources.kubernetes import ClusterSource, lean

type Body = dict[str, Any]


class Heard:
    """A reflector that tells what a test gives it, trimmed as the source asked."""

    def __init__(self, *told: Told) -> None:
        self.told = told

    async def events(self) -> AsyncIterator[Told]:
        """Tell it."""
        for news in self.told:
            yield news


def body(uid: str = "u1", name: str = "a", generation: int = 1, status: Body | None = None, **spec: object) -> Body:
    """Make a task's body as a cluster sends it."""
    metadata = {
        "name": name,
        "namespace": "n",
        "uid": uid,
        "generation": generation,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "resourceVersion": "7",
        "managedFields": [{"manager": "kubectl"}],
    }
    whole = {"task": "t", "schedule": {"interval": "1m"}, "poolRef": {"name": "p"}, **spec}
    made: Body = {"apiVersion": names.API_VERSION, "kind": names.TASK_KIND, "metadata": metadata, "spec": whole}
    return made if status is None else made | {"status": status}


def with_meta(made: Body, **metadata: object) -> Body:
    """Change an object's metadata."""
    return made | {"metadata": made["metadata"] | metadata}


@pytest.fixture
def source() -> ClusterSource:
    """Make a source for the tasks of pool p, whose reflector is replaced by each test."""
    return ClusterSource(cast(Cluster, None), namespace="n", pool="p", clock=SystemClock())


async def told(source: ClusterSource, *news: Told) -> list[SourceEvent]:
    """Let the source hear news, and return what it tells."""
    trimmed: list[Told] = []
    for one in news:
        match one:
            case Listed(bodies):
                trimmed.append(Listed(tuple(lean(body) for body in bodies)))
            case Changed(body) | Deleted(body):
                trimmed.append(type(one)(lean(body)))
    source._reflector = cast(Reflector, Heard(*trimmed))
    async with aclosing(source.watch()) as events:
        return [event async for event in events]


def words(events: list[SourceEvent]) -> list[str]:
    """Say events in short: `u1/2` for generation 2 of u1."""
    said: list[str] = []
    for event in events:
        match event:
            case Upserted(task):
                said.append(f"{task.uid}/{task.generation}")
            case Removed(uid):
                said.append(f"-{uid}")
            case RefusedDocument(refusal):
                said.append(f"!{refusal.uid} {refusal.where} {refusal.field}")
            case Synced():
                said.append("synced")
    return said


async def test_what_exists_is_told_and_then_each_change(source: ClusterSource) -> None:
    """A list, `Synced`, changes, removals."""
    events = await told(
        source,
        Listed((body("u1"), body("u2", "b"))),
        Changed(body("u1", generation=2, suspend=True)),
        Changed(body("u3", "c")),
        Deleted(body("u2", "b")),
    )

    assert words(events) == ["u1/1", "u2/1", "synced", "u1/2", "u3/1", "-u2"]


async def test_a_task_is_what_the_cluster_says(source: ClusterSource) -> None:
    """UID, name, creation and generation are the resource's own; the annotations that we read are its switches."""
    annotations = {names.PAUSED_UNTIL: "forever", names.PAUSED_BY: "me", names.RUN_NOW: "x", "else/where": "y"}

    (event, _) = await told(source, Listed((with_meta(body(), annotations=annotations),)))

    assert isinstance(event, Upserted)
    assert (event.task.uid, event.task.name, event.task.created_at) == ("u1", "n/a", 1767225600.0)
    assert event.task.switches.pause == Pause(until=None, by="me")
    assert event.task.switches.run_now == "x"


@pytest.mark.parametrize(
    "later",
    [
        pytest.param(body(), id="the same again"),
        pytest.param(body(status={"lastRun": {"outcome": "Succeeded"}}), id="a status"),
        pytest.param(with_meta(body(), labels={"a": "b"}), id="labels"),
        pytest.param(with_meta(body(), annotations={"else/where": "y"}), id="somebody else's annotation"),
    ],
)
async def test_what_does_not_change_a_task_is_no_news(source: ClusterSource, later: Body) -> None:
    """Neither the engine's timetable nor a neighbour is touched."""
    assert words(await told(source, Listed((body(),)), Changed(later), Listed((later,)))) == ["u1/1", "synced"]


async def test_status_and_address_are_those_seen_last(source: ClusterSource) -> None:
    """The writer of statuses finds where a task is and what it shows, as long as it is there."""
    uid, gone = TaskUid("u1"), TaskUid("u2")
    later = with_meta(body(status={"nextRun": "x"}), resourceVersion="9")

    await told(source, Listed((body(status={"nextRun": "w"}), body("u2", "b"))), Changed(later), Deleted(body("u2")))

    assert (source.address(uid), source.status_of(uid), source.version_of(uid)) == (("n", "a"), {"nextRun": "x"}, "9")
    assert (source.address(gone), source.status_of(gone), source.version_of(gone)) == (None, None, None)


@pytest.mark.parametrize(
    "news",
    [
        pytest.param((Deleted(body("u1")), Changed(body("u9"))), id="told as it happened"),
        pytest.param((Changed(body("u9")),), id="its deletion was not told"),
        pytest.param((Listed((body("u9"),)),), id="both between two lists"),
        pytest.param((Changed(body("u9")), Deleted(body("u1"))), id="its deletion came late"),
    ],
)
async def test_a_task_made_again_under_its_name_is_another_one(source: ClusterSource, news: tuple[Told, ...]) -> None:
    """The old one is gone first; only the UID decides who is who."""
    assert words(await told(source, Listed((body("u1"),)), *news)) == ["u1/1", "synced", "-u1", "u9/1"]


async def test_what_is_in_no_later_list_is_gone(source: ClusterSource) -> None:
    """A deletion that nobody watched is found by the next list."""
    news = Listed((body("u1"), body("u2", "b"))), Listed((body("u2", "b"),))

    assert words(await told(source, *news)) == ["u1/1", "u2/1", "synced", "-u1"]


@pytest.mark.parametrize(
    "left",
    [
        pytest.param(with_meta(body(), deletionTimestamp="2026-01-01T00:00:01Z"), id="held by a finalizer"),
        pytest.param(body(generation=2, poolRef={"name": "other"}), id="given to another pool"),
    ],
)
async def test_a_task_that_left_is_removed_once(source: ClusterSource, left: Body) -> None:
    """To people it is gone, whatever still holds it."""
    assert words(await told(source, Listed((body(),)), Changed(left), Changed(left), Deleted(left))) == [
        "u1/1",
        "synced",
        "-u1",
    ]


async def test_a_document_that_is_no_task_is_refused_and_its_good_version_stays(source: ClusterSource) -> None:
    """The refusal names the task, once; the same version after a mistake is told again, for it heals."""
    bad = body(generation=2, timeout="soon")

    events = await told(
        source,
        Listed((body(), body("u2", "b"))),
        Changed(bad),
        Changed(with_meta(bad, labels={"a": "b"})),
        Listed((bad, body("u2", "b"))),
        Changed(body(generation=3)),
        Changed(bad),
        Deleted(bad),
    )

    refused = "!u1 n/a spec.timeout"
    assert words(events) == ["u1/1", "u2/1", "synced", refused, "u1/3", refused, "-u1"]


async def test_a_mistake_that_is_undone_is_told(source: ClusterSource) -> None:
    """The task is what it was, and is told all the same: whoever shows the refusal may drop it."""
    wrong = with_meta(body(), annotations={names.PAUSED_UNTIL: "noon"})

    events = await told(source, Listed((body(),)), Changed(wrong), Changed(body()))

    assert [word[:4] for word in words(events)] == ["u1/1", "sync", "!u1 ", "u1/1"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        pytest.param(body(newField=1), "spec.newField", id="a field of a newer definition"),
        pytest.param(body() | {"spec": None}, "spec", id="no spec"),
        pytest.param(body() | {"spec": [1]}, "spec", id="a list for a spec"),
        pytest.param(body() | {"apiVersion": "background-tasks.dev/v9"}, "apiVersion", id="another version"),
        pytest.param(body() | {"kind": "WorkerPool", "spec": {}}, "kind", id="another kind"),
        pytest.param(body() | {"kind": 7}, "kind", id="no kind"),
        pytest.param(with_meta(body(), annotations={names.PAUSED_UNTIL: "noon"}), "", id="a pause that is no time"),
        pytest.param(with_meta(body(), annotations=[1]), "metadata.annotations", id="a list for annotations"),
        pytest.param(with_meta(body(), uid=None), "metadata.uid", id="no UID"),
        pytest.param(with_meta(body(), uid=7), "metadata.uid", id="a number for a UID"),
        pytest.param(with_meta(body(), name=[1]), "metadata.name", id="a list for a name"),
    ],
)
async def test_what_a_broken_schema_let_through_takes_no_neighbour_down(
    source: ClusterSource, wrong: Body, field: str
) -> None:
    """Each is refused in a sentence; the tasks beside it are told."""
    events = await told(source, Listed((wrong, body("u2", "b"))), Changed(wrong), Changed(body("u3", "c")))

    refusals = [event.refusal for event in events if isinstance(event, RefusedDocument)]
    assert [word for word in words(events) if word[0] != "!"] == ["u2/1", "synced", "u3/1"]
    assert refusals
    assert refusals[0].field.startswith(field)
    assert refusals[0].where.startswith("n/")
