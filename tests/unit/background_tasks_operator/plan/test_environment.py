"""What a worker is told through its environment."""

import json
from collections.abc import Callable

from background_tasks_operator.plan.environment import environment, environment_problems, pool_spec
from background_tasks_operator.plan.model import PoolFacts

type PoolOf = Callable[..., PoolFacts]


def by_field(path: str) -> dict[str, object]:
    """Return the source that reads a field of the pod."""
    return {"fieldRef": {"fieldPath": path}}


def by_secret(name: str, key: str) -> dict[str, object]:
    """Return the source that reads a key of a Secret."""
    return {"secretKeyRef": {"name": name, "key": key}}


def test_a_worker_knows_itself_and_its_pool(pool_of: PoolOf) -> None:
    """Identity comes from the pod; the part of the spec that a worker needs comes as text."""
    pool = pool_of()
    assert environment(pool) == [
        {"name": "BGTASKS_POOL", "value": "crawl"},
        {"name": "BGTASKS_NAMESPACE", "valueFrom": by_field("metadata.namespace")},
        {"name": "BGTASKS_POD_NAME", "valueFrom": by_field("metadata.name")},
        {"name": "BGTASKS_POD_UID", "valueFrom": by_field("metadata.uid")},
        {"name": "BGTASKS_POOL_SPEC", "value": pool_spec(pool.spec)},
    ]


def test_the_spec_is_told_as_the_resource_spells_it(pool_of: PoolOf) -> None:
    """A partial spec in camelCase, defaults filled in; what workers need not know stays out."""
    pool = pool_of(
        replicas=5,
        slots=4,
        taskModules=["my_app.tasks"],
        flags={"b": 1.5, "a": True},
        groups=[{"name": "mail", "maxConcurrent": 2}],
    )
    assert json.loads(pool_spec(pool.spec)) == {
        "slots": 4,
        "lease": {"backend": "Kubernetes", "duration": "12s", "renewDeadline": "8s", "retryPeriod": "3s"},
        "taskModules": ["my_app.tasks"],
        "flags": {"a": True, "b": 1.5},
        "groups": [{"name": "mail", "maxConcurrent": 2}],
        "drainTimeout": "60s",
    }


def test_the_same_spec_is_the_same_text(pool_of: PoolOf) -> None:
    """The order in which somebody wrote flags does not roll the pods."""
    one, other = (pool_of(flags=flags) for flags in ({"a": 1, "b": 2}, {"b": 2, "a": 1}))
    assert pool_spec(one.spec) == pool_spec(other.spec)


def test_services_are_told_by_address_or_secret(pool_of: PoolOf) -> None:
    """A Secret is only named: its value never stands in an object of ours."""
    services = {
        "redis": {"url": "redis://cache:6379/0"},
        "knowledgeGraph": {"secretRef": {"name": "graph"}, "graph": "memory"},
        "chatModel": {
            "url": "https://llm.example/v1",
            "model": "small",
            "apiKeySecretRef": {"name": "llm", "key": "token"},
        },
        "embeddings": {"secretRef": {"name": "llm", "key": "address"}},
    }
    assert environment(pool_of(services=services))[5:] == [
        {"name": "BGTASKS_REDIS_URL", "value": "redis://cache:6379/0"},
        {"name": "BGTASKS_GRAPH_URL", "valueFrom": by_secret("graph", "url")},
        {"name": "BGTASKS_GRAPH_NAME", "value": "memory"},
        {"name": "BGTASKS_CHAT_URL", "value": "https://llm.example/v1"},
        {"name": "BGTASKS_CHAT_MODEL", "value": "small"},
        {"name": "BGTASKS_CHAT_API_KEY", "valueFrom": by_secret("llm", "token")},
        {"name": "BGTASKS_EMBEDDINGS_URL", "valueFrom": by_secret("llm", "address")},
    ]


def test_a_dollar_sign_stays_one(pool_of: PoolOf) -> None:
    """A kubelet would read `$(NAME)` as a reference: ours are doubled, the template's are people's own business."""
    pool = pool_of(
        services={"redis": {"url": "redis://:pa$(POOL)$$@cache"}}, template={"env": [{"name": "A", "value": "$(B)"}]}
    )
    assert environment(pool)[5:] == [
        {"name": "BGTASKS_REDIS_URL", "value": "redis://:pa$$(POOL)$$$$@cache"},
        {"name": "A", "value": "$(B)"},
    ]


def test_the_template_adds_and_never_overrides(pool_of: PoolOf) -> None:
    """A name of ours is left out and told, set or not; other settings of the worker come through."""
    env = [
        {"name": "BGTASKS_LOG_LEVEL", "value": "debug"},
        {"name": "BGTASKS_POOL", "value": "other"},
        {"name": "BGTASKS_CHAT_URL", "value": "https://elsewhere"},
    ]
    pool = pool_of(template={"env": env})
    told = [problem.message for problem in environment_problems(pool)]
    assert environment(pool)[5:] == env[:1]
    assert told == [
        f"spec.template.env[{index}].name: {name} is the operator's to set and is left out; "
        "remove it: the pool's own fields decide it"
        for index, name in ((1, "BGTASKS_POOL"), (2, "BGTASKS_CHAT_URL"))
    ]
