"""What people see whose document is not a resource of ours, though it is meant to be one."""

import pytest
import yaml

from background_tasks.api.read import Unfit, read_resource

TASK = "apiVersion: background-tasks.dev/v1alpha1\nkind: BackgroundTask\n"
POOL = "apiVersion: background-tasks.dev/v1alpha1\nkind: WorkerPool\n"
REFUSED = [
    pytest.param(
        "- 1\n- 2\n", ["[1, 2] is not a mapping; write apiVersion, kind, metadata and spec"], id="a list is no resource"
    ),
    pytest.param(
        "hello\n", ['"hello" is not a mapping; write apiVersion, kind, metadata and spec'], id="a word is no resource"
    ),
    pytest.param(
        "kind: BackgroundTask\nmetadata: {name: t}\n",
        ["apiVersion: is missing; write background-tasks.dev/v1alpha1"],
        id="a group and version is needed",
    ),
    pytest.param(
        "apiVersion: background-tasks.dev/v1\nkind: BackgroundTask\n",
        ['apiVersion: "background-tasks.dev/v1" is not known for BackgroundTask; write background-tasks.dev/v1alpha1'],
        id="another version is not known",
    ),
    pytest.param(
        "apiVersion: background-task.dev/v1alpha1\nkind: BackgroundTasks\n",
        ['kind: "BackgroundTasks" is not known; did you mean BackgroundTask?'],
        id="a plural is no kind",
    ),
    pytest.param(
        "apiVersion: background-tasks.dev/v1alpha1\nkind: Backgroundtask\n",
        ['kind: "Backgroundtask" is not known; did you mean BackgroundTask?'],
        id="a misspelled kind has a neighbour",
    ),
    pytest.param(
        "apiVersion: background-tasks.dev/v1alpha1\nmetadata: {name: t}\n",
        ["kind: is missing; write BackgroundTask or WorkerPool"],
        id="a kind is needed in our group",
    ),
    pytest.param(
        "apiVersion: background-tasks.dev/v1alpha1\nkind: Pod\n",
        ['kind: "Pod" is not known; write BackgroundTask or WorkerPool'],
        id="our group has two kinds",
    ),
    pytest.param(
        "apiVersion: v1\nkind: 5\n",
        ["kind: 5 is not a kind; write one word such as BackgroundTask"],
        id="a number is no kind",
    ),
    pytest.param(
        "foo: 1\n",
        ["kind: is missing; write BackgroundTask or WorkerPool"],
        id="a mapping without a kind is no resource",
    ),
    pytest.param(
        POOL,
        ["metadata: is missing; write {name: my-task}"],
        id="a resource needs metadata",
    ),
    pytest.param(
        POOL + "metadata: {name: Kg_Decay}\n",
        ["metadata.name: \"Kg_Decay\" may hold only small letters, digits and inner '-'; write kg-decay"],
        id="a pool's name is a label",
    ),
    pytest.param(
        POOL + "metadata: {name: a, namespace: a.b}\n",
        ["metadata.namespace: \"a.b\" may hold only small letters, digits and inner '-'; write a-b"],
        id="a namespace is a label",
    ),
    pytest.param(
        POOL + "metadata: {name: a, annotations: {background-tasks.dev/paused-until: tomorrow}}\n",
        [
            'metadata.annotations[background-tasks.dev/paused-until]: "tomorrow" is not a time; '
            "write forever or a time with its offset, such as 2026-03-01T09:00:00Z"
        ],
        id="a pause ends at a time",
    ),
    pytest.param(
        POOL + "metadata: {name: a, annotations: {background-tasks.dev/paused-until: '2026-01-01T00:00:00'}}\n",
        [
            'metadata.annotations[background-tasks.dev/paused-until]: "2026-01-01T00:00:00" is not a time; '
            "write forever or a time with its offset, such as 2026-03-01T09:00:00Z"
        ],
        id="a pause ends in some zone",
    ),
    pytest.param(
        POOL + "metadata: {name: a, annotations: {background-tasks.dev/run-now: 5}}\n",
        ['metadata.annotations[background-tasks.dev/run-now]: 5 is a number; write "5"'],
        id="an annotation is text",
    ),
    pytest.param(
        TASK + "metadata: {name: a}\nspec:\n",
        ["spec: is empty; give a value or remove the line"],
        id="an empty spec is a slip",
    ),
    pytest.param(
        TASK + "metadata: {name: a}\n",
        ["spec: is missing; write {task: my_task, schedule: {interval: 30s}}"],
        id="a task needs a spec",
    ),
    pytest.param(
        TASK + "metadata: {name: a}\ntask: x\nspec: {task: x, schedule: {interval: 1m}}\n",
        ["task: is not a field here; did you mean spec.task?"],
        id="a field outside spec is sent there",
    ),
    pytest.param(
        TASK + "metadata: {}\nspec: {task: x, schedule: {interval: 1m}}\n",
        ["metadata.name: is missing; write one such as kg-decay"],
        id="a resource needs a name",
    ),
]


@pytest.mark.parametrize(("document", "messages"), REFUSED)
def test_a_document_that_is_no_resource_is_told_in_one_sentence(document: str, messages: list[str]) -> None:
    """A document that is meant for us is refused with the fix, not passed by."""
    found = read_resource(yaml.safe_load(document), lambda _: "here")

    assert isinstance(found, Unfit)
    assert [refusal.message for refusal in found.refusals] == messages
