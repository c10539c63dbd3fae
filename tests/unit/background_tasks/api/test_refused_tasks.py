"""What people see who write a task that cannot be used, apart from its schedule."""

import pytest
import yaml

from background_tasks.api.read import Unfit, read_resource

HEAD = """\
apiVersion: background-tasks.dev/v1alpha1
kind: BackgroundTask
metadata: {name: t}
spec: """
REFUSED = [
    pytest.param(
        "{schedule: {interval: 1m}}",
        ["spec.task: is missing; write the name of a coroutine, such as kg_decay"],
        id="no task",
    ),
    pytest.param(
        "{task: my task, schedule: {interval: 1m}}",
        [
            'spec.task: "my task" is no task; '
            "write a registered name (kg_decay) or module:attribute (my_app.tasks:digest)"
        ],
        id="a task with a blank",
    ),
    pytest.param(
        "{task: 'a:b:c', schedule: {interval: 1m}}",
        ['spec.task: "a:b:c" is no task; write a registered name (kg_decay) or module:attribute (my_app.tasks:digest)'],
        id="a task with two colons",
    ),
    pytest.param(
        "{task: 7, schedule: {interval: 1m}}", ['spec.task: 7 is a number; write "7"'], id="a task that is a number"
    ),
    pytest.param(
        "{task: yes, schedule: {interval: 1m}}",
        ["spec.task: true is a truth value, as YAML reads on, off, yes and no; put the word in quotes"],
        id="a task that is a truth value",
    ),
    pytest.param(
        "{task: '', schedule: {interval: 1m}}",
        ['spec.task: "" is no task; write a registered name (kg_decay) or module:attribute (my_app.tasks:digest)'],
        id="an empty task",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, overlap: Queue}",
        ['spec.overlap: "Queue" goes with every and cron only: no other schedule is due while it runs; remove it'],
        id="overlap on interval",
    ),
    pytest.param(
        "{task: t, schedule: {continuous: {}}, overlap: Allow}",
        ['spec.overlap: "Allow" goes with every and cron only: no other schedule is due while it runs; remove it'],
        id="overlap on continuous",
    ),
    pytest.param(
        "{task: t, schedule: {onStart: {}}, overlap: Replace}",
        ['spec.overlap: "Replace" goes with every and cron only: no other schedule is due while it runs; remove it'],
        id="overlap on onStart",
    ),
    pytest.param(
        "{task: t, schedule: {every: 1m}, overlap: Que}",
        ['spec.overlap: "Que" is not known; did you mean Queue?'],
        id="overlap misspelled",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, breaker: {failures: 0}}",
        ["spec.breaker.failures: 0 is too small; write 1 or more"],
        id="a breaker of no failures",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, breaker: {cooldown: 1m}}",
        ["spec.breaker.failures: is missing; write how many failures in a row open it, such as 5"],
        id="a breaker without failures",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, breaker: 5}",
        ["spec.breaker: 5 is not a mapping; write {failures: 5}"],
        id="a bare breaker",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, retry: 3}",
        ["spec.retry: 3 is not a mapping; write {attempts: 3}"],
        id="a bare number of attempts is put into a mapping",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, retry: {attempts: 0}}",
        ["spec.retry.attempts: 0 is too small; write 1 or more"],
        id="no attempt is no retry",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, retry: {attempts: 1000}}",
        ["spec.retry.attempts: 1000 is too large; write 100 or less"],
        id="attempts have a bound",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, retry: {factor: 0.5}}",
        ["spec.retry.factor: 0.5 is too small; write 1 or more"],
        id="waits do not shrink",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, retry: {initialBackoff: 10m}}",
        ['spec.retry.initialBackoff: "10m" is longer than maxBackoff; write at most 5m, or raise maxBackoff'],
        id="the first wait is not longer than the longest",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, missed: {policy: All, limit: 0}}",
        ["spec.missed.limit: 0 is too small; write 1 or more"],
        id="no missed run is Skip",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, missed: {onResume: All}}",
        ['spec.missed.onResume: "All" is not known; write Skip or Once'],
        id="All is no way to resume",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, timeout: 0s}",
        ['spec.timeout: "0s" is too short; write 1ms or more, such as 30s'],
        id="a timeout of zero stops everything",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, historyLimit: 21}",
        ["spec.historyLimit: 21 is too large; write 20 or less"],
        id="history has a bound",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, historyLimit: '5'}",
        ['spec.historyLimit: "5" is not a whole number; write 5'],
        id="a number needs no quotes",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, suspend: 'true'}",
        ['spec.suspend: "true" is neither true nor false; write true'],
        id="a truth value needs no quotes",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, suspend: 1}",
        ["spec.suspend: 1 is neither true nor false; write true or false"],
        id="a number is no truth value",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, runPolicy: Everyworker}",
        ['spec.runPolicy: "Everyworker" is not known; did you mean EveryWorker?'],
        id="a misspelled run policy has a neighbour",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, isolation: Container}",
        ['spec.isolation: "Container" is not known; write Loop, Thread or Process'],
        id="an unknown isolation names the choices",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, guarantee: ExactlyOnce}",
        ['spec.guarantee: "ExactlyOnce" is not known; write AtLeastOnce or AtMostOnce'],
        id="exactly once is not offered",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, requires: redis}",
        ['spec.requires: "redis" is not a list; write [redis]'],
        id="a bare need is put into a list",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, requires: [redis, 'a b']}",
        ['spec.requires[1]: "a b" is not the name of a service or flag; write one such as redis or kg_manager'],
        id="a need is one word",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, group: My Group}",
        ["spec.group: \"My Group\" may hold only small letters, digits and inner '-'; write my-group"],
        id="a group is a label",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, group: api, runPolicy: EveryWorker}",
        ['spec.group: "api" has no effect with runPolicy EveryWorker; remove one of the two'],
        id="a group has no meaning on every worker",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, poolRef: batch}",
        ['spec.poolRef: "batch" is not a mapping; write {name: batch}'],
        id="a bare pool is put into a mapping",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, poolRef: {name: Batch_Jobs}}",
        ["spec.poolRef.name: \"Batch_Jobs\" may hold only small letters, digits and inner '-'; write batch-jobs"],
        id="a pool is a label",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, params: [1, 2]}",
        ["spec.params: [1, 2] is not a mapping; write its fields below it, or {} for the defaults"],
        id="params are a mapping",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, objective: 30s}",
        ['spec.objective: "30s" is not a mapping; write {maxLateness: 30s}'],
        id="a bare objective is put into a mapping",
    ),
    pytest.param(
        "[1]", ["spec: [1] is not a mapping; write its fields below it, or {} for the defaults"], id="a list is no spec"
    ),
    pytest.param(
        "kg_decay",
        ['spec: "kg_decay" is not a mapping; write its fields below it, or {} for the defaults'],
        id="a word is no spec",
    ),
]


@pytest.mark.parametrize(("spec", "messages"), REFUSED)
def test_a_task_that_cannot_be_used_is_told_in_one_sentence(spec: str, messages: list[str]) -> None:
    """Every refusal names the field, the value and the fix."""
    found = read_resource(yaml.safe_load(HEAD + spec), lambda _: "here")

    assert isinstance(found, Unfit)
    assert [refusal.message for refusal in found.refusals] == messages
