"""The definitions for a cluster: told in full, bounded, structural, and of one mind with the reader of files."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from background_tasks.api import names
from background_tasks.api.crd import crd
from background_tasks.api.crd_schema import OPEN, structural
from background_tasks.api.cron_shape import CRON_SHAPE, FIVE_FIELDS
from background_tasks.api.read import Unfit, read_resource
from background_tasks.api.rules import VALIDATIONS, quoted
from background_tasks.api.status import PoolStatus, ShownRun, TaskStatus
from background_tasks.domain.cron import check_cron

TABLES = Path(__file__).parents[3] / "fixtures" / "definitions"
DOCUMENTS = [
    (kind, document)
    for kind, file in ((names.TASK_KIND, "tasks.yaml"), (names.POOL_KIND, "pools.yaml"))
    for document in yaml.safe_load((TABLES / file).read_text())
]


def schema_of(kind: str) -> dict[str, Any]:
    """Return the schema that a definition carries."""
    schema = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert isinstance(schema, dict)
    return schema


def nodes(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Walk a schema: each field, item and value with its path."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from nodes(node[key], f"{path}[]")


@pytest.mark.parametrize("kind", names.KINDS)
def test_every_field_is_told(kind: str) -> None:
    """No field lacks a description, however deep, in spec and status; items of lists are told by their list."""
    schema = schema_of(kind)
    fields = [*nodes(schema["properties"]["spec"], "spec"), *nodes(schema["properties"]["status"], "status")]
    silent = [path for path, node in fields if not path.endswith("[]") and len(node.get("description", "")) < 10]

    assert silent == []
    assert len(fields) > 60


@pytest.mark.parametrize("kind", names.KINDS)
def test_everything_that_can_grow_has_a_bound(kind: str) -> None:
    """Without bounds the rules would cost more than an API server allows."""
    bounds = {"string": {"maxLength", "enum"}, "array": {"maxItems"}, "object": {"maxProperties", "properties", OPEN}}
    spec = nodes(schema_of(kind)["properties"]["spec"], "spec")

    assert [path for path, node in spec if not bounds.get(node.get("type", ""), set(node)) & set(node)] == []


@pytest.mark.parametrize("kind", names.KINDS)
def test_every_rule_names_its_fix(kind: str) -> None:
    """A message has two halves: what is wrong, and what to write instead."""
    rules = [rule for _, node in nodes(schema_of(kind), "") for rule in node.get(VALIDATIONS, ())]
    fix = re.compile(r"; (write|give|remove|use|make|see)|^give ")

    assert [rule["message"] for rule in rules if not fix.search(rule["message"])] == []
    assert len(rules) > 20


@pytest.mark.parametrize("kind", names.KINDS)
def test_every_rule_is_seen_refusing(kind: str) -> None:
    """For each rule the table has a document that breaks it; one about a change has a test of its own."""
    rules = [rule for _, node in nodes(schema_of(kind), "") for rule in node.get(VALIDATIONS, ())]
    told = [document.get("told", "") for _, document in DOCUMENTS]
    static = [rule["message"] for rule in rules if "oldSelf" not in rule["rule"]]

    assert [message for message in static if not any(message in text for text in told)] == []


def test_what_no_api_server_takes_is_refused_here() -> None:
    """A model that grew a shape beyond structural schemas is a mistake of ours, found before it is applied."""

    class Odd(BaseModel):
        model_config = ConfigDict(json_schema_extra={"propertyNames": {"pattern": "a"}})

    with pytest.raises(ValueError, match="propertyNames cannot be said in a structural schema"):
        structural(Odd)


def test_a_pool_is_named_by_default() -> None:
    """Workers watch by `spec.poolRef.name`; a task that names no pool has to be found too."""
    spec = schema_of(names.TASK_KIND)["properties"]["spec"]

    assert spec["properties"]["poolRef"]["default"] == {"name": "default"}
    assert crd(names.TASK_KIND)["spec"]["versions"][0]["selectableFields"] == [{"jsonPath": ".spec.poolRef.name"}]


@pytest.mark.parametrize(
    ("kind", "document"), [pytest.param(kind, one, id=f"{kind}: {one['says']}") for kind, one in DOCUMENTS]
)
def test_the_reader_of_files_agrees_with_an_api_server(kind: str, document: Mapping[str, Any]) -> None:
    """What one refuses the other refuses; where they differ, the reader is the stricter, and the table says why."""
    meta = {"name": "one", **document.get("metadata", {})}
    body = {"apiVersion": names.API_VERSION, "kind": kind, "metadata": meta, "spec": document["spec"]}

    refused = isinstance(read_resource(body, lambda path: "here"), Unfit)

    assert refused == ("told" in document or "differs" in document)
    assert not ("told" in document and "differs" in document)


NUMBER = st.integers(0, 65).map(str)
ITEM = st.one_of(
    st.just("*"),
    NUMBER,
    st.tuples(NUMBER, NUMBER).map("-".join),
    st.tuples(st.sampled_from(["*", "5", "1-9", "L"]), NUMBER).map("/".join),
    st.sampled_from(["L", "LW", "5L", "mon", "FRI", "MON-FRI", "jan", "Dec", "SUN#2", "1#6", "?", "", "a", "0L/2"]),
)
FIELD = st.lists(ITEM, min_size=1, max_size=2).map(",".join)


@settings(max_examples=500)
@given(field=FIELD, place=st.integers(0, 4), zeros=st.sampled_from(["", "0"]))
def test_no_cron_that_can_be_read_is_refused_for_its_shape(field: str, place: int, zeros: str) -> None:
    """The pattern may let through what the reader refuses, never the other way round."""
    fields = ["*"] * 5
    fields[place] = re.sub(r"([0-9]+)", rf"{zeros}\1", field)
    cron = " ".join(fields)

    assert check_cron(cron) is not None or re.search(FIVE_FIELDS, cron)
    assert check_cron(cron) is not None or re.search(CRON_SHAPE, cron)


@pytest.mark.parametrize(
    "cron",
    ["60 * * * *", "* 24 * * *", "* * 32 * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *", "a * * * *"],
)
def test_a_number_out_of_range_is_refused_for_its_shape(cron: str) -> None:
    """The pattern knows how far each field goes."""
    assert not re.search(CRON_SHAPE, cron)


def test_cel_strings_are_quoted() -> None:
    """Backslashes and quotes of a pattern survive the way into a rule."""
    assert quoted('\\S+ "x"') == '"\\\\S+ \\"x\\""'


def test_a_status_is_read_as_far_as_it_is_known() -> None:
    """Fields of a later release are passed over; what is absent is None, not a guess."""
    read = TaskStatus.model_validate({"worker": "w1", "lastRun": {"attempt": 2, "new": 1}, "later": True})

    assert (read.worker, read.last_run, read.slot) == ("w1", ShownRun(attempt=2), None)
    assert PoolStatus.model_validate({"slots": {"held": 3}}).tasks is None
