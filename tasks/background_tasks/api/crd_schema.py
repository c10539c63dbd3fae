"""From a model's JSON schema to the structural schema that an API server accepts: closed, with defaults, told in full.

Not here: what the fields are (the models), what surrounds a schema (`crd`).
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

type Node = dict[str, Any]
OPEN = "x-kubernetes-preserve-unknown-fields"

_KEPT = (
    "description", "type", "format", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum",
    "minItems", "maxItems", "minProperties", "maxProperties", "required",
)  # fmt: skip
_SEEN = frozenset(
    {"$ref", "$defs", "additionalProperties", "anyOf", "const", "default", "items", "properties", "title"}
)


def structural(model: type[BaseModel]) -> Node:
    """Return the schema of a model, all references resolved. Raises `ValueError` for what no API server would take."""
    schema = model.model_json_schema(by_alias=True)
    return _Translation(schema.get("$defs", {})).node(schema)


class _Translation:
    def __init__(self, parts: Mapping[str, Node]) -> None:
        self._parts = parts

    def node(self, schema: Node) -> Node:
        """Translate one node and all below it."""
        merged = self._merged(schema)
        unknown = [key for key in merged if key not in _KEPT and key not in _SEEN and not key.startswith("x-")]
        if unknown:
            raise ValueError(f"{', '.join(unknown)} cannot be said in a structural schema: {merged}")
        made = {key: merged[key] for key in _KEPT if key in merged}
        if "const" in merged:
            made["enum"] = [merged["const"]]
        default = _default(merged)
        if default is not None:
            made["default"] = default
            made["description"] = made.get("description", "") + default_words(default)
        made |= {key: value for key, value in merged.items() if key.startswith("x-")}
        return made | self._inside(merged)

    def _inside(self, merged: Node) -> Node:
        if "properties" in merged:
            return {"properties": {name: self.node(child) for name, child in merged["properties"].items()}}
        if "items" in merged:
            return {"items": self.node(merged["items"])}
        if isinstance(merged.get("additionalProperties"), dict):
            return {"additionalProperties": self.node(merged["additionalProperties"])}
        if merged.get("type", "object") == "object":  # a shape that others define, or any value at all
            return {OPEN: True}
        return {}

    def _merged(self, schema: Node) -> Node:
        """Follow a reference and the way around null; what stands beside them wins."""
        beside = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf")}
        if "$ref" in schema:
            return self._merged(self._parts[schema["$ref"].rpartition("/")[2]]) | beside
        if "anyOf" in schema:
            (given,) = [branch for branch in schema["anyOf"] if branch.get("type") != "null"]
            return self._merged(given) | beside
        return schema


def _default(merged: Node) -> Any:
    """Return a default worth writing: not null, and of an object only what is there without anybody's doing."""
    return _without_nothing(merged.get("default"))


def _without_nothing(value: Any) -> Any:
    """Leave out nulls, empty texts, lists and mappings: absent means the same, and nobody has to read them."""
    if isinstance(value, dict):
        kept = {key: said for key, inner in value.items() if (said := _without_nothing(inner)) is not None}
        return kept or None
    return None if value in ("", []) else value


def default_words(default: Any) -> str:
    """Tell a default, which `kubectl explain` does not show; the defaults of an object are told at its fields."""
    if isinstance(default, dict | list):
        return ""
    told = str(default).lower() if isinstance(default, bool) else str(default)
    return f" Default: {told}."
