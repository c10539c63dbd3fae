"""The CustomResourceDefinitions of both resources, made from the models. `make manifests` writes them down.

Not here: the schema of a model (`crd_schema`), the rules (at the fields they check).
"""

import sys
from typing import Any

import yaml

from background_tasks.api import names
from background_tasks.api.crd_schema import Node, structural
from background_tasks.api.pool import POOL_NAME_LENGTH, PoolSpec, WorkerPool
from background_tasks.api.rules import VALIDATIONS, rule
from background_tasks.api.status import PoolStatus, TaskStatus
from background_tasks.api.task import BackgroundTask, TaskSpec

type Body = dict[str, Any]

HEADER = "# Made by `make manifests` from the models in tasks/background_tasks/api; changes belong there.\n"
WIDTH = 120
_READY = '.status.conditions[?(@.type=="Ready")]'


def crd(kind: str) -> Body:
    """Return the definition of a kind."""
    return _task_definition() if kind == names.TASK_KIND else _pool_definition()


def crd_text(kind: str) -> str:
    """Return the definition of a kind as the YAML that is committed."""
    return HEADER + yaml.dump(crd(kind), Dumper=_Dumper, sort_keys=False, width=WIDTH, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Writes each value where it stands, without anchors."""

    def ignore_aliases(self, data: object) -> bool:
        """Repeat what is the same object."""
        return True


def _task_definition() -> Body:
    columns = [
        _column("Task", ".spec.task", "The coroutine."),
        _column("Schedule", ".status.schedule", "When it is due."),
        _column("Ready", f"{_READY}.status", "Whether it runs as declared."),
        _column("Reason", f"{_READY}.reason", "What it is doing, or what is in the way."),
        _column("Last", ".status.lastRun.startedAt", "When the last run began.", type="date"),
        _column("Next", ".status.nextRunTime", "When the next run begins."),  # as a date, a future shows as <invalid>
        _column("Worker", ".status.worker", "Who acts for it."),
        _column("Age", ".metadata.creationTimestamp", "Since when it exists.", type="date"),
        _column("Pool", ".spec.poolRef.name", "Which workers run it.", wide=True),
        _column("Slot", ".status.slot", "Which share of the pool's work it is part of.", type="integer", wide=True),
        _column("Lateness", ".status.lastRun.lateness", "How late the last run began.", wide=True),
        _column("Runs", ".status.runs.succeeded", "Runs that reached their end.", type="integer", wide=True),
    ]
    version = _version(_root(BackgroundTask, TaskSpec, TaskStatus), columns)
    version["selectableFields"] = [{"jsonPath": ".spec.poolRef.name"}]  # so that workers watch their own pool's only
    return _definition(names.TASK_KIND, "bgt", version)


def _pool_definition() -> Body:
    columns = [
        _column("Replicas", ".spec.replicas", "Workers that should run.", type="integer"),
        _column("Ready", ".status.readyReplicas", "Workers that are ready.", type="integer"),
        _column("Slots", ".status.slots.held", "Slots with a live holder.", type="integer"),
        _column("Tasks", ".status.tasks.total", "Tasks that name the pool.", type="integer"),
        _column("Late", ".status.tasks.late", "Tasks that start later than promised.", type="integer"),
        _column("Image", ".spec.image", "The workers' image.", wide=True),
        _column("Age", ".metadata.creationTimestamp", "Since when it exists.", type="date"),
    ]
    root = _root(WorkerPool, PoolSpec, PoolStatus)
    root["properties"]["metadata"]["properties"] = {"name": {"type": "string", "maxLength": POOL_NAME_LENGTH}}
    plain = "has a '.', and the name of a pool becomes a label; write small letters, digits and inner '-'"
    root[VALIDATIONS] = [
        rule('!self.metadata.name.contains(".")', plain, at=".metadata.name", shown="self.metadata.name")
    ]
    version = _version(root, columns)
    version["subresources"]["scale"] = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    return _definition(names.POOL_KIND, "bgp", version)


def _definition(kind: str, short_name: str, version: Body) -> Body:
    singular = kind.lower()
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{singular}s.{names.GROUP}", "labels": {names.PART_OF_LABEL: names.PART_OF}},
        "spec": {
            "group": names.GROUP,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": f"{singular}s",
                "singular": singular,
                "shortNames": [short_name],
                "categories": ["all"],
            },
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def _version(root: Node, columns: list[Body]) -> Body:
    return {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": root},
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
    }


def _root(
    model: type[BackgroundTask] | type[WorkerPool], spec: type[TaskSpec] | type[PoolSpec], status: type[Any]
) -> Node:
    told = structural(model)
    return {
        "type": "object",
        "description": told["description"],
        "required": [field for field in told["required"] if field == "spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{names.API_VERSION}."},
            "kind": {"type": "string", "description": f"{told['properties']['kind']['enum'][0]}."},
            "metadata": {"type": "object"},  # the API server's own words: it lets nobody describe it
            "spec": told["properties"]["spec"],
            "status": structural(status),
        },
    }


def _column(name: str, path: str, description: str, *, type: str = "string", wide: bool = False) -> Body:
    column = {"name": name, "type": type, "jsonPath": path, "description": description}
    return column | {"priority": 1} if wide else column


if __name__ == "__main__":
    sys.stdout.write(crd_text(sys.argv[1]))
