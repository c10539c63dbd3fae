"""JSON schemas for kubeconform, made from what a real API server says of itself (`/openapi/v2`): no download."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DEFINITIONS = "_definitions.json"


def write(folder: Path, openapi: Mapping[str, Any]) -> None:
    """Write one file per kind, under the names that kubeconform asks for, and one that they all refer to."""
    definitions = {name: _closed(schema) for name, schema in openapi["definitions"].items()}
    text = json.dumps({"definitions": definitions})
    (folder / DEFINITIONS).write_text(text.replace('"#/definitions/', f'"{DEFINITIONS}#/definitions/'))
    for name, schema in definitions.items():
        for kind in schema.get("x-kubernetes-group-version-kind", ()):
            group = kind["group"].partition(".")[0]
            file = "-".join(part for part in (kind["kind"].lower(), group, kind["version"]) if part)
            (folder / f"{file}.json").write_text(json.dumps({"$ref": f"{DEFINITIONS}#/definitions/{name}"}))


def _closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse what is not named, as the server does for strict callers; a quantity may be a number as well."""
    if schema.get("format") == "int-or-string" or "Quantity" in str(schema.get("description", ""))[:12]:
        return {"type": ["string", "number"]}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        return {**schema, "additionalProperties": False}
    return dict(schema)
