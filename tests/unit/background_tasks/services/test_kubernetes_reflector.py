"""A reflector tells all that exists and then every change, whatever its server and its network do."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from background_tasks.engine.clock import SystemClock
from background_tasks.errors import BackgroundTaskError, Unavailable
from background_tasks.services.kubernetes import reflector
from background_tasks.services.kubernetes.client import Cluster
from background_tasks.services.kubernetes.errors import Gone, Silent, unavailable
from background_tasks.services.kubernetes.reflector import Changed, Deleted, Listed, Pauses, Reflector, Told
from background_tasks.services.kubernetes.resources import CONFIG_MAPS
from tests.stubs.scripted_api import ScriptedApi

IDLE_S = 0.2


class Luck(SystemClock):
    """A clock that always draws the same."""

    def __init__(self, drawn: float = 0.0) -> None:
        self.drawn = drawn

    def draw(self) -> float:
        """Give the one number."""
        return self.drawn


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pauses be short; how long they are is tested without a server."""
    monkeypatch.setattr(reflector, "FIRST_PAUSE_S", 0.02)


@pytest.fixture
def told() -> list[str]:
    """Collect the sentences that were reported."""
    return []


@pytest.fixture
async def news(cluster: Cluster, told: list[str]) -> AsyncIterator[AsyncIterator[Told]]:
    """Follow the ConfigMaps of the scripted server."""
    follower = Reflector(cluster, CONFIG_MAPS, clock=Luck(), namespace="n", report=told.append, idle_timeout_s=IDLE_S)
    events = follower.events()
    yield events
    await events.aclose()


async def take(news: AsyncIterator[Told], count: int) -> list[str]:
    """Read so many events, each as a short word: `=a,b` listed, `+a` changed, `-a` deleted."""
    words: list[str] = []
    async with asyncio.timeout(5):
        while len(words) < count:
            match await anext(news):
                case Listed(bodies):
                    words.append("=" + ",".join(sorted(body["metadata"]["name"] for body in bodies)))
                case Changed(body):
                    words.append(f"+{body['metadata']['name']}")
                case Deleted(body):
                    words.append(f"-{body['metadata']['name']}")
    return words


def listing(version: int, *named: str) -> dict[str, object]:
    """Make a list as of a version."""
    return {"metadata": {"resourceVersion": str(version)}, "items": [{"metadata": {"name": name}} for name in named]}


def event(kind: str, name: str, version: int) -> bytes:
    """Make one line of a watch."""
    metadata = {"name": name, "resourceVersion": str(version), "managedFields": [{"manager": "kubectl"}]}
    return json.dumps({"type": kind, "object": {"metadata": metadata}}).encode() + b"\n"


async def test_all_that_exists_is_told_and_then_every_change(news: AsyncIterator[Told], api: ScriptedApi) -> None:
    """A watch begins where the list ended; what we never read is dropped before it is told."""
    api.answers(listing(5, "a", "b"))
    api.streams(event("ADDED", "c", 6), event("MODIFIED", "a", 7), event("DELETED", "b", 8), end="hang")

    assert await take(news, 3) == ["=a,b", "+c", "+a"]
    assert await anext(news) == Deleted({"metadata": {"name": "b", "resourceVersion": "8"}})
    assert api.asked[1].query == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": "5",
        "timeoutSeconds": "300",
    }


async def test_a_watch_that_ended_goes_on_from_its_last_word(
    news: AsyncIterator[Told], api: ScriptedApi, told: list[str]
) -> None:
    """A bookmark counts, and nothing is listed again."""
    api.answers(listing(5))
    api.streams(event("ADDED", "a", 6), event("BOOKMARK", "", 9))
    api.streams(event("ADDED", "b", 10), end="hang")

    assert await take(news, 3) == ["=", "+a", "+b"]
    assert api.watches() == ["5", "9"]
    assert told == []


async def test_a_connection_cut_in_mid_line_loses_nothing(
    news: AsyncIterator[Told], api: ScriptedApi, told: list[str]
) -> None:
    """The half that came is dropped; the next watch tells it whole."""
    api.answers(listing(5))
    api.streams(event("ADDED", "a", 6), event("ADDED", "b", 7)[:30], end="cut")
    api.streams(event("ADDED", "b", 7), end="hang")

    assert await take(news, 3) == ["=", "+a", "+b"]
    assert api.watches() == ["5", "6"]
    assert [sentence.startswith("kubernetes: watch configmaps: the connection broke") for sentence in told] == [True]


@pytest.mark.parametrize("inside", [True, False])
async def test_a_version_that_is_gone_leads_to_a_new_list(
    news: AsyncIterator[Told], api: ScriptedApi, told: list[str], *, inside: bool
) -> None:
    """410, as an answer or inside the watch, costs a list; what vanished meanwhile is not in it."""
    api.answers(listing(5, "a", "b"))
    if inside:
        api.streams(b'{"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}\n')
    else:
        api.fails(410)
    api.answers(listing(50, "b"))
    api.streams(event("ADDED", "c", 51), end="hang")

    assert await take(news, 3) == ["=a,b", "=b", "+c"]
    assert api.watches() == ["5", "50"]
    assert told == []


async def test_a_silent_watch_is_begun_again(news: AsyncIterator[Told], api: ScriptedApi, told: list[str]) -> None:
    """A dead connection looks like a quiet one: after the idle timeout it is asked again, without a fuss."""
    api.answers(listing(5))
    api.streams(event("BOOKMARK", "", 8), end="hang")
    api.streams(event("ADDED", "a", 9), end="hang")

    assert await take(news, 2) == ["=", "+a"]
    assert api.watches() == ["5", "8"]
    assert told == []


async def test_a_server_that_does_not_even_begin_is_left_at_the_deadline(
    cluster: Cluster, api: ScriptedApi, told: list[str]
) -> None:
    """The first word of a watch has the deadline of a call, far below the idle timeout."""
    api.answers(listing(5))
    api.hangs()
    api.streams(event("ADDED", "a", 6), end="hang")
    events = Reflector(cluster, CONFIG_MAPS, clock=Luck(), report=told.append).events()

    assert await take(events, 2) == ["=", "+a"]
    assert told == ["kubernetes: watch configmaps: no answer in time; trying again"]
    await events.aclose()


async def test_an_unreadable_event_costs_one_sentence_and_a_list_later(
    news: AsyncIterator[Told], api: ScriptedApi, told: list[str]
) -> None:
    """Its neighbours are told at once; what it may have said comes with the list after this watch."""
    api.answers(listing(5, "x"))
    api.streams(event("ADDED", "a", 6), b'{"type": "DELETED", "obj\n', event("ADDED", "b", 8))
    api.answers(listing(9, "a", "b"))
    api.streams(event("ADDED", "c", 10), end="hang")

    assert await take(news, 5) == ["=x", "+a", "+b", "=a,b", "+c"]
    assert len(told) == 1
    assert "an event cannot be read, it is skipped" in told[0]


async def test_a_server_in_trouble_is_asked_until_it_answers(
    news: AsyncIterator[Told], api: ScriptedApi, told: list[str]
) -> None:
    """Errors, refusals and nonsense are reported, one sentence each, and end nothing."""
    for code in (500, 403, 429):
        api.fails(code, f"trouble {code}")
    api.cuts()
    api.answers("<html>", listing(5, "a"))
    api.fails(503, "trouble 503")
    api.streams(event("ADDED", "b", 6), end="hang")

    assert await take(news, 2) == ["=a", "+b"]
    assert len(told) == 6
    assert told[0] == "kubernetes: get namespaces/n/configmaps: trouble 500 (500); trying again"


async def test_a_busy_server_is_given_the_time_that_it_asks_for(news: AsyncIterator[Told], api: ScriptedApi) -> None:
    """429 with Retry-After is honoured."""
    api.answers({"message": "busy"}, status=429, Retry_After="0.4")
    api.answers(listing(5))
    began = SystemClock().monotonic()

    assert await take(news, 1) == ["="]
    assert SystemClock().monotonic() - began >= 0.4


async def test_a_second_reader_hears_all_from_the_beginning(cluster: Cluster, api: ScriptedApi) -> None:
    """`events` begins with a list, each time it is called."""
    follower = Reflector(cluster, CONFIG_MAPS, clock=Luck())
    for version in (5, 6):
        api.answers(listing(version, "a"))
        events = follower.events()
        assert await take(events, 1) == ["=a"]
        await events.aclose()


# --- pauses ------------------------------------------------------------------------------------------------------


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pauses be what they are."""
    monkeypatch.setattr(reflector, "FIRST_PAUSE_S", 0.5)


@pytest.mark.usefixtures("unhurried")
def test_pauses_double_up_to_their_cap_and_begin_anew_after_a_good_time() -> None:
    """Half a second to half a minute, and a good watch in between forgives."""
    pauses = Pauses(Luck(drawn=1.0))

    failed = [pauses.after(0.1, Unavailable("x")) for _ in range(9)]

    assert failed == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert pauses.after(60, Unavailable("x")) == 0.5


@pytest.mark.usefixtures("unhurried")
def test_a_drawn_pause_is_at_least_half_of_it() -> None:
    """Watchers spread, and none comes back at once."""
    assert [Pauses(Luck(drawn=drawn)).after(0, Unavailable("x")) for drawn in (0, 0.5, 1)] == [0.25, 0.375, 0.5]


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize(
    ("lasted", "error", "pause"),
    [
        pytest.param(300, None, 0, id="a watch at the end of its life goes on at once"),
        pytest.param(70, Silent("x"), 0, id="and so does a silent one"),
        pytest.param(0.1, None, 0.5, id="one that ends as it begins does not"),
        pytest.param(0.1, Silent("x"), 0.5, id="nor one whose idle timeout is far too short"),
        pytest.param(300, Gone("x"), 0.5, id="a list after 410 is not asked for by all at once"),
        pytest.param(300, unavailable("x", 7), 7.7, id="the server's own wish counts"),
        pytest.param(0.1, unavailable("x", 0.1), 0.5, id="where it is longer than ours"),
        pytest.param(0.1, unavailable("x", 86_400), 132, id="up to two minutes"),
    ],
)
def test_a_pause_depends_on_how_the_watch_ended(lasted: float, error: BackgroundTaskError | None, pause: float) -> None:
    """Nothing makes a busy loop."""
    assert Pauses(Luck(drawn=1.0)).after(lasted, error) == pytest.approx(pause)


@pytest.mark.usefixtures("unhurried")
async def test_a_server_that_ends_every_watch_at_once_is_not_hurried(cluster: Cluster, api: ScriptedApi) -> None:
    """In one second it is asked for two or three watches, not for thousands."""
    api.answers(listing(5))
    for _ in range(100):
        api.streams()
    events = Reflector(cluster, CONFIG_MAPS, clock=Luck()).events()

    assert await anext(events) == Listed(())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(events), timeout=1)

    assert 1 < len(api.watches()) < 4
