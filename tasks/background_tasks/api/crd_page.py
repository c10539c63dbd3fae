"""The reference page of both resources, docs/resources.md, made from their schemas. `make manifests` writes it down.

Not here: what the fields mean (the models say it); pages that explain, such as docs/schedules.md.
"""

import sys
from collections.abc import Iterator
from typing import Any

from background_tasks.api import names
from background_tasks.api.crd import crd
from background_tasks.api.crd_schema import OPEN, Node, default_words
from background_tasks.api.duration import PATTERN as DURATION
from background_tasks.api.rules import VALIDATIONS

_HEAD = """# Resources
Every field of `BackgroundTask` and `WorkerPool`, group `background-tasks.dev`, version `v1alpha1`; `kubectl explain`
tells the same, and files on a laptop have the same fields. Made by `make manifests` from the models: change those.

```sh
kubectl apply --server-side -f manifests/crd         # once per cluster; the chart does it too
kubectl explain bgt.spec.schedule                    # short names: bgt, bgp
kubectl get bgt -o wide                              # what runs, what is in the way, when next
kubectl get bgt --field-selector spec.poolRef.name=default
kubectl scale bgp default --replicas=3
```
A *duration* is written `500ms`, `30s`, `1h30m`, `1.5d`: from one millisecond (where zero makes sense: from `0s`) to
`3650d`. A field that is not listed is refused by `kubectl` and by `bgtasks lint`, except below fields that are *open*.
"""
_ANNOTATIONS = f"""
## Annotations of a BackgroundTask
They stand beside the spec, so that GitOps does not revert them. An API server does not check them: a value that cannot
be read is told in the task's conditions.

| annotation | meaning |
| --- | --- |
| `{names.RUN_NOW}` | Any new value asks for one extra run, even while suspended; the schedule does not move. |
| `{names.PAUSED_UNTIL}` | Nothing is due until this time (`2026-03-01T09:00:00Z`), or `{names.FOREVER}`. |
| `{names.PAUSED_BY}` | Who paused it; told in the condition Ready. |
"""
_SPEC_COLUMNS = "| field | type | meaning | default |\n| --- | --- | --- | --- |"
_STATUS_COLUMNS = "| field | type | meaning |\n| --- | --- | --- |"


def page() -> str:
    """Return the whole page."""
    return "\n".join([_HEAD, *_section(names.TASK_KIND), _ANNOTATIONS, *_section(names.POOL_KIND)]) + "\n"


def _section(kind: str) -> Iterator[str]:
    root = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    yield f"## {kind}: `spec`\n{root['description']}\n\n{_SPEC_COLUMNS}"
    for field, child, needed in _fields(root["properties"]["spec"], "spec"):
        default = child.get("default")
        told = child["description"].removesuffix(default_words(default))
        shown = "" if isinstance(default, dict | list) or default is None else f"`{_text(default)}`"
        yield f"| `{field}` | {_type(child)} | {_cell(told)} | {shown or ('required' if needed else '')} |"
    yield f"\n### Refused when it is applied\n{''.join(_rules(root, ''))}"
    yield f"## {kind}: `status`\n{root['properties']['status']['description']}\n\n{_STATUS_COLUMNS}"
    for field, child, _ in _fields(root["properties"]["status"], "status"):
        yield f"| `{field}` | {_type(child)} | {_cell(child['description'])} |"


def _fields(node: Node, path: str) -> Iterator[tuple[str, Node, bool]]:
    """Walk an object: each field and whether it is required, those of a part right after it."""
    for name, child in node.get("properties", {}).items():
        field = f"{path}.{name}"
        yield field, child, name in node.get("required", ())
        yield from _fields(child, field)
        yield from _fields(child.get("items", {}), f"{field}[]")


def _type(node: Node) -> str:
    """Say what a field holds, with its bounds."""
    if "enum" in node:
        return " \\| ".join(f"`{word}`" for word in node["enum"])
    if node.get("pattern") == DURATION:
        return "duration"
    if "items" in node:
        return f"list of {_type(node['items'])}, at most {node['maxItems']}"
    if "additionalProperties" in node:
        return f"map to {_type(node['additionalProperties'])}, at most {node['maxProperties']}"
    if node.get(OPEN):
        return "open object" if "type" in node else "any value"
    bounds = [node.get("minimum"), node.get("maximum")]
    if bounds[1] is not None:
        return f"{node['type']}, {bounds[0]} to {bounds[1]}"
    return "time" if node.get("format") == "date-time" else str(node["type"])


def _rules(node: Node, path: str) -> Iterator[str]:
    """List what is checked between fields; checks of one text say themselves what they want, when they refuse it."""
    if node.get("type") == "object":
        for rule in node.get(VALIDATIONS, ()):
            yield f"- `{(path + rule.get('fieldPath', '')).lstrip('.')}` {_cell(rule['message'])}\n"
    elif any("oldSelf" in rule["rule"] for rule in node.get(VALIDATIONS, ())):
        yield f"- `{path.lstrip('.')}` {_cell(node[VALIDATIONS][0]['message'])}\n"
    for name, child in node.get("properties", {}).items():
        yield from _rules(child, f"{path}.{name}")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
