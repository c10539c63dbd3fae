"""The models as a schema: described, bounded, closed; good enough to be published."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from background_tasks.api.pool import PoolSpec, WorkerPool
from background_tasks.api.read import Foreign, Unfit, read_resource
from background_tasks.api.refusals import path_text, value_text
from background_tasks.api.task import TaskSpec

SPECS = [TaskSpec, PoolSpec]


def nodes(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Walk all mappings of a schema."""
    if isinstance(schema, dict):
        yield path, schema
        for key, value in schema.items():
            yield from nodes(value, f"{path}/{key}")
    elif isinstance(schema, list):
        for number, value in enumerate(schema):
            yield from nodes(value, f"{path}/{number}")


@pytest.mark.parametrize("model", SPECS)
def test_every_field_is_described(model: type[BaseModel]) -> None:
    """`kubectl explain` has a sentence for each; a part that says the same of itself says it once."""
    schema = model.model_json_schema()
    properties = [
        (f"{path}/{name}", value)
        for path, node in nodes(schema)
        for name, value in node.get("properties", {}).items()
        if path.rpartition("/")[2] != "properties"
    ]

    assert [name for name, value in properties if not {"description", "$ref"} & set(value)] == []


@pytest.mark.parametrize("model", SPECS)
def test_every_text_and_list_has_a_bound(model: type[BaseModel]) -> None:
    """Without bounds, a cluster refuses the rules that stand in the schema as too costly."""
    typed = [(path, node) for path, node in nodes(model.model_json_schema()) if isinstance(node.get("type"), str)]
    bounds = {"string": {"maxLength", "enum", "const"}, "array": {"maxItems"}}

    assert [path for path, node in typed if not bounds.get(node["type"], set(node)) & set(node)] == []


def test_a_foreign_document_is_left_alone() -> None:
    """A ConfigMap is none of our business, whatever it says."""
    assert read_resource({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": 1}}, lambda _: "here") == Foreign(
        "ConfigMap"
    )


def test_a_pool_of_defaults_can_be_written_in_three_lines() -> None:
    """A pool needs a name and nothing else."""
    pool = read_resource(
        {"apiVersion": "background-tasks.dev/v1alpha1", "kind": "WorkerPool", "metadata": {"name": "default"}},
        lambda _: "here",
    )

    assert isinstance(pool, WorkerPool)
    assert (pool.spec.slots, pool.spec.replicas, pool.spec.lease.duration) == (16, 1, "12s")


def test_a_pool_keeps_its_flags_as_they_were_written() -> None:
    """Flags keep their type: a switch, a number, a name."""
    text = "{apiVersion: background-tasks.dev/v1alpha1, kind: WorkerPool, metadata: {name: p}, spec: {flags: %s}}"
    flags = {"starwiki_enabled": True, "starwiki_lint_interval_minutes": 360, "share": 0.5, "kg_extraction_model": "m"}
    pool = read_resource(yaml.safe_load(text % flags), lambda _: "here")

    assert isinstance(pool, WorkerPool)
    assert repr(pool.spec.flags) == repr(flags)


def test_a_refusal_of_a_task_knows_which_task() -> None:
    """Its uid is told even where the spec cannot be read, so that status can show it."""
    body = {"apiVersion": "background-tasks.dev/v1alpha1", "kind": "BackgroundTask", "metadata": {"name": "t"}}
    found = read_resource(body, lambda path: f"at {path_text(path)}")

    assert isinstance(found, Unfit)
    assert [(refusal.where, refusal.uid) for refusal in found.refusals] == [
        ("at spec", "2cc892ba-bf7d-542c-b036-66643379f758")
    ]


def test_a_long_value_is_cut_to_a_line() -> None:
    """A refusal stays one line, whatever was written."""
    assert value_text("x" * 500) == '"' + "x" * 58 + "…"
    assert path_text(("spec", "blackouts", 0, "a/b")) == "spec.blackouts[0][a/b]"


def test_long_texts_and_lists_are_refused_with_their_bound() -> None:
    """The bound is named, so that nobody has to try."""
    head = {"apiVersion": "background-tasks.dev/v1alpha1", "kind": "WorkerPool", "metadata": {"name": "p" * 53}}
    found = read_resource({**head, "spec": {"taskModules": ["m"] * 65, "image": "i" * 513}}, lambda _: "here")

    assert isinstance(found, Unfit)
    assert [refusal.message.rpartition("; ")[2] for refusal in found.refusals] == [
        "write at most 52 characters",
        "write at most 512 characters",
        "write at most 64",
    ]
