"""Identities, scopes and names of the memory's graph, and the choices that its tasks make without it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from background_tasks.catalogue.kg_decay import Pace, Pass, pass_at
from background_tasks.catalogue.kg_decay import Params as DecayParams
from background_tasks.catalogue.limbic_maintenance import STEPS, mark_at
from background_tasks.catalogue.limbic_maintenance import Params as UpkeepParams
from background_tasks.errors import Refused
from background_tasks.knowledge.graph.model import (
    checked_vector,
    derived,
    entity_uuid,
    fact_uuid,
    norm,
    scope,
    scope_ids,
)
from background_tasks.knowledge.graph.pages import pages
from background_tasks.knowledge.graph.store import Graph
from background_tasks.knowledge.graph.tombstones import Fact
from background_tasks.knowledge.upkeep.channels import Policy, parsed
from background_tasks.knowledge.upkeep.erase import without
from background_tasks.knowledge.upkeep.garbage import dangling
from background_tasks.knowledge.upkeep.repairs import best_of
from background_tasks.knowledge.upkeep.sweep import Mark
from background_tasks.testing.runs import FrozenClock

HOUR = 3_600_000
WEEK = 7 * 24 * HOUR


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("  The Acme\u00a0 Labs! ", "the acme labs", id="case, spaces, outer punctuation"),
        pytest.param("\uff21\uff23\uff2d\uff25", "acme", id="wide letters"),
        pytest.param("C++", "c++", id="symbols stay"),
        pytest.param("C#", "c#", id="a number sign stays"),
        pytest.param("o'neill", "o'neill", id="inner punctuation stays"),
        pytest.param("...", "...", id="a name of punctuation alone"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_two_spellings_of_one_name_are_one(text: str, expected: str) -> None:
    """NFKC, casefold, spaces, outer punctuation."""
    assert norm(text) == expected


@given(st.text())
def test_a_norm_of_a_norm_is_itself(text: str) -> None:
    """However odd the text."""
    assert norm(norm(text)) == norm(text)


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_a_scope_can_be_read_back(ids: list[str]) -> None:
    """Ids may hold ':' and anything else."""
    assert scope_ids(scope("channel", *ids)) == ("channel", tuple(ids))


@pytest.mark.parametrize("text", ["channel:", "channel:x", 'channel:{"a":1}', "channel:[1]"])
def test_a_text_that_is_no_scope_is_refused(text: str) -> None:
    """With what to write."""
    with pytest.raises(Refused, match="JSON list"):
        scope_ids(text)


def test_identities_are_the_same_everywhere_and_for_ever() -> None:
    """Another recipe would make strangers of all that is remembered."""
    assert entity_uuid("general", "person", "ada") == "cd0de1d9-50a5-5b67-a6f7-3819ec222a19"
    assert fact_uuid("a", "likes", "b", "a likes b", "general") != fact_uuid("b", "likes", "a", "a likes b", "general")


@given(st.lists(st.text(), max_size=3), st.lists(st.text(), max_size=3))
def test_different_parts_give_different_identities(one: list[str], other: list[str]) -> None:
    """Whatever separators the parts hold."""
    assert (derived(*one) == derived(*other)) == (one == other)


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0, 3.0], [1.0, math.nan], [math.inf, 1.0]])
def test_a_vector_that_no_search_would_find_is_refused(values: list[float]) -> None:
    """Of another length, or not finite."""
    with pytest.raises(Refused, match="embed"):
        checked_vector(values, 2)


@given(st.integers(0, 100_000), st.integers(100, 10_000), st.data())
def test_each_node_is_in_exactly_one_page(last: int, size: int, data: st.DataObject) -> None:
    """Pages leave nothing out and overlap nowhere."""
    node = data.draw(st.integers(0, last))

    assert sum(low <= node < high for low, high in pages(last, size)) == 1


def test_an_empty_graph_has_no_page() -> None:
    """And one node has one."""
    assert (pages(-1, 10), pages(0, 10)) == ([], [(0, 10)])


class Slow(FrozenClock):
    """A clock that moves by itself."""

    def __init__(self, *steps: float) -> None:
        super().__init__(0.0)
        self._steps = list(steps)

    def monotonic(self) -> float:
        """One step further."""
        self.advance(self._steps.pop(0))
        return self.at


def test_a_slow_server_is_asked_for_less_and_a_quick_one_for_more() -> None:
    """Half after half a second and more, twice as much again when it is quick, and never under the least."""
    took = (0.6, 0.6, 0.3, 0.1, 0.1, 0.1)
    pace = Pace(5000, Slow(*(step for seconds in took for step in (0.0, seconds))))
    asked = []

    for _ in took:
        with pace:
            asked.append(pace.size)

    assert (asked, pace.size) == ([5000, 2500, 1250, 1250, 2500, 5000], 5000)


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        pytest.param(None, Pass(as_of=WEEK, prune_left=200), id="the first pass"),
        pytest.param(Pass(as_of=WEEK - HOUR + 1, prune_left=7), Pass(as_of=WEEK - HOUR + 1, prune_left=7), id="young"),
        pytest.param(Pass(as_of=WEEK - HOUR, batch=3), Pass(as_of=WEEK, batch=3, prune_left=200), id="an old one"),
        pytest.param(Pass(as_of=WEEK + 1), Pass(as_of=WEEK, prune_left=200), id="a clock that was set back"),
    ],
)
def test_a_run_serves_the_last_pass_while_it_is_young(last: Pass | None, expected: Pass) -> None:
    """So that neither a crash nor a second run prunes twice the cap."""
    assert pass_at(WEEK, last, 10_000, DecayParams()) == expected


@pytest.mark.parametrize(("ties", "cap"), [(0, 50), (2_500, 50), (2_600, 52), (1_000_000, 20_000)])
def test_the_cap_is_two_in_a_hundred_and_fifty_at_least(ties: int, cap: int) -> None:
    """Of all ties, at the pass's start."""
    assert pass_at(WEEK, None, ties, DecayParams()).prune_left == cap


@given(st.integers(0, 2**50), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_pass_is_read_back_from_its_cursor(as_of: int, batch: int, left: int) -> None:
    """The cursor's value is the whole state."""
    serving = Pass(as_of=as_of, batch=batch, prune_left=left)

    assert Pass.parse(str(serving)) == serving


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        pytest.param(Mark(), Mark(started=9 * WEEK, nodes_left=50, edges_left=200), id="the first pass"),
        pytest.param(Mark(started=5, step=3), Mark(started=5, step=3), id="a pass that did not end is resumed"),
        pytest.param(Mark(started=1, step=len(STEPS), success_at=8 * WEEK + 1), None, id="not due"),
        pytest.param(
            Mark(started=1, step=len(STEPS), batch=4, success_at=8 * WEEK),
            Mark(started=9 * WEEK, batch=4, nodes_left=50, edges_left=200, success_at=8 * WEEK),
            id="due a week after the last success",
        ),
        pytest.param(
            Mark(started=9 * WEEK - 1, step=len(STEPS), troubles=1),
            Mark(started=9 * WEEK, nodes_left=50, edges_left=200),
            id="due at once after a pass with troubles",
        ),
    ],
)
def test_where_an_upkeep_run_begins(last: Mark, expected: Mark | None) -> None:
    """In a pass that did not end, in a new one when due, or nowhere."""
    assert mark_at(9 * WEEK, last, (100, 10_000), UpkeepParams()) == expected
    assert Mark.parse(str(last)) == last


def test_topics_go_leaf_by_leaf() -> None:
    """One that holds a member, or stands above one that does, stays; so does a ring."""
    topics: dict[str, tuple[int, list[str]]] = {
        "leaf": (0, []),
        "above": (0, ["leaf"]),
        "full": (2, []),
        "over full": (0, ["full", "leaf"]),
        "ring": (0, ["ring"]),
    }

    assert dangling(topics) == [["leaf"], ["above"]]


def fact(id: int, *, target: str = "b", **properties: object) -> Fact:
    """One of several facts with one uuid."""
    return Fact(id=id, uuid="u", source="a", target=target, properties=properties)


def test_the_best_of_doubles_gets_the_evidence_of_those_alike() -> None:
    """Newest version, most used, heaviest, first written; another pair's evidence is not its own."""
    best = fact(2, version=2, episodes=["x"])
    alike = fact(1, version=1, episodes=["y", "x"])
    strange = fact(3, target="c", episodes=["z"])

    assert best_of([alike, strange, best]) == (
        [{"uuid": "u", "id": 2, "episodes": ["x", "y"]}],
        [alike, strange],
    )


def test_a_fact_without_other_evidence_goes_with_its_episodes() -> None:
    """The others keep what is left."""
    plan = without({"alone": ["e"], "shared": ["e", "f"]}, frozenset({"e"}))

    assert plan.gone == [{"uuid": "alone", "size": 1}]
    assert plan.kept == [{"uuid": "shared", "size": 2, "episodes": ["f"]}]


@pytest.mark.parametrize(
    ("told", "policy"),
    [
        pytest.param({}, Policy(platform="p", channel="c"), id="nothing said is no answer"),
        pytest.param({"extract": "False"}, Policy(platform="p", channel="c", extract=False), id="taken back"),
        pytest.param(
            {"extract": "1", "summarise": "on", "retention_days": "30", "tz": "UTC"},
            Policy(platform="p", channel="c", extract=True, summarise=True, retention_days=30),
            id="given",
        ),
    ],
)
def test_a_policy_is_read(told: dict[str, str], policy: Policy) -> None:
    """Fields of other tasks are no concern of this one."""
    assert parsed("p", "c", told) == policy


@pytest.mark.parametrize("told", [{"extract": "maybe"}, {"summarise": "2"}, {"retention_days": "-1"}])
def test_a_policy_that_cannot_be_read_is_refused_by_name(told: dict[str, str]) -> None:
    """Channel, field and value are in the message."""
    [(field, value)] = told.items()
    with pytest.raises(Refused, match=f"'c': {field} is '{value}'"):
        parsed("p", "c", told)


@pytest.mark.parametrize(
    ("answer", "rows"),
    [
        pytest.param([[1, 2]], [[1, 2]], id="rows"),
        pytest.param([(1, 2)], [[1, 2]], id="tuples"),
        pytest.param([{"a": 1, "b": 2}], [[1, 2]], id="records"),
        pytest.param(None, [], id="nothing"),
    ],
)
async def test_a_graphs_answer_may_be_plain(answer: object, rows: list[list[int]]) -> None:
    """A list of rows is as good as a `result_set`."""

    class Plain:
        async def query(self, cypher: str, params: dict[str, object]) -> object:
            """Answer."""
            return answer

    assert await Graph(Plain()).rows("RETURN 1") == rows


async def test_an_answer_that_is_no_list_of_rows_is_refused() -> None:
    """Rather than read as nothing."""

    class Odd:
        async def query(self, cypher: str, params: dict[str, object]) -> object:
            """Answer with something else."""
            return 7

    with pytest.raises(Refused, match="list of rows"):
        await Graph(Odd()).rows("RETURN 1")
