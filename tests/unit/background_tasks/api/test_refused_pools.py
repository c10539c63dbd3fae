"""What people see who write a pool that cannot be used."""

import pytest
import yaml

from background_tasks.api.read import Unfit, read_resource

HEAD = """\
apiVersion: background-tasks.dev/v1alpha1
kind: WorkerPool
metadata: {name: p}
spec: """
REFUSED = [
    pytest.param(
        "{lease: {duration: 8s}}",
        [
            'spec.lease.duration: "8s" is not longer than renewDeadline; '
            "write more than 8s: a worker must stand down before others take over"
        ],
        id="a lease lasts longer than the renew deadline",
    ),
    pytest.param(
        "{lease: {retryPeriod: 4s}}",
        [
            'spec.lease.renewDeadline: "8s" is not longer than twice retryPeriod; '
            "write more than twice 4s: one lost renewal must not cost the slots"
        ],
        id="the renew deadline has room for a lost renewal",
    ),
    pytest.param(
        "{lease: {duration: 5s, retryPeriod: 4s}}",
        [
            'spec.lease.duration: "5s" is not longer than renewDeadline; '
            "write more than 8s: a worker must stand down before others take over",
            'spec.lease.renewDeadline: "8s" is not longer than twice retryPeriod; '
            "write more than twice 4s: one lost renewal must not cost the slots",
        ],
        id="both faults of a lease are told",
    ),
    pytest.param(
        "{lease: {backend: Redis}}",
        ['spec.lease.backend: "Redis" needs a Redis; give services.redis, or write Kubernetes'],
        id="a Redis lease needs a Redis",
    ),
    pytest.param(
        "{lease: {backend: etcd}}",
        ['spec.lease.backend: "etcd" is not known; write Kubernetes or Redis'],
        id="an unknown backend names the choices",
    ),
    pytest.param("{slots: 0}", ["spec.slots: 0 is too small; write 1 or more"], id="a pool has a slot"),
    pytest.param(
        "{slots: many}", ['spec.slots: "many" is not a whole number; write one such as 5'], id="slots are a number"
    ),
    pytest.param(
        "{slots: 4, autoscaling: {maxReplicas: 8}}",
        ["spec.autoscaling.maxReplicas: 8 is more than slots: a worker without a slot is idle; write at most 4"],
        id="a worker has a slot",
    ),
    pytest.param(
        "{autoscaling: {minReplicas: 5, maxReplicas: 2}}",
        ["spec.autoscaling.minReplicas: 5 is more than maxReplicas; write at most 2"],
        id="the least is not more than the most",
    ),
    pytest.param(
        "{autoscaling: {minReplicas: 0, maxReplicas: 2}}",
        ["spec.autoscaling.minReplicas: 0 is too small; write 1 or more"],
        id="a pool does not scale to nothing",
    ),
    pytest.param(
        "{autoscaling: {}}",
        ["spec.autoscaling.maxReplicas: is missing; write the most workers there may be"],
        id="autoscaling has an upper end",
    ),
    pytest.param(
        "{services: {redis: {url: 'redis://x', secretRef: {name: a}}}}",
        ["spec.services.redis: give exactly one of url, secretRef; found url and secretRef"],
        id="a service has one address",
    ),
    pytest.param(
        "{services: {redis: {}}}",
        ["spec.services.redis: give exactly one of url, secretRef; found none"],
        id="a service has an address",
    ),
    pytest.param(
        "{services: {knowledgegraph: {url: x}}}",
        ["spec.services.knowledgegraph: is not a field; did you mean knowledgeGraph?"],
        id="a misspelled service has a neighbour",
    ),
    pytest.param(
        "{flags: {a: [1]}}",
        ["spec.flags.a: [1] cannot be a flag; write true, false, a number or text"],
        id="a flag is a plain value",
    ),
    pytest.param(
        "{flags: {a: }}", ["spec.flags.a: is empty; give a value or remove the line"], id="a flag has a value"
    ),
    pytest.param(
        "{groups: [{name: a}, {name: b}, {name: a}]}",
        ['spec.groups[2].name: "a" is there twice; give each group once'],
        id="a group is there once",
    ),
    pytest.param(
        "{groups: [{name: a, maxConcurrent: 0}]}",
        ["spec.groups[0].maxConcurrent: 0 is too small; write 1 or more"],
        id="a group runs something",
    ),
    pytest.param(
        "{taskModules: [my-app.tasks]}",
        ['spec.taskModules[0]: "my-app.tasks" is not the name of a module; write one such as my_app.tasks'],
        id="a module is a Python name",
    ),
    pytest.param(
        "{taskModules: my_app}",
        ['spec.taskModules: "my_app" is not a list; write [my_app]'],
        id="a bare module is put into a list",
    ),
    pytest.param("{image: ''}", ["spec.image: is empty; give a value or remove the line"], id="an image has a name"),
    pytest.param(
        "{template: {nodeselector: {}}}",
        ["spec.template.nodeselector: is not a field; did you mean nodeSelector?"],
        id="a misspelled template field has a neighbour",
    ),
    pytest.param(
        "{replicas: -1}", ["spec.replicas: -1 is too small; write 0 or more"], id="there are no negative workers"
    ),
]


@pytest.mark.parametrize(("spec", "messages"), REFUSED)
def test_a_pool_that_cannot_be_used_is_told_in_one_sentence(spec: str, messages: list[str]) -> None:
    """Every refusal names the field, the value and the fix."""
    found = read_resource(yaml.safe_load(HEAD + spec), lambda _: "here")

    assert isinstance(found, Unfit)
    assert [refusal.message for refusal in found.refusals] == messages
