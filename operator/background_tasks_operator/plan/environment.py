"""What the worker of a pool is told through its environment: its identity, its pool, where its services are.

Not here: how the worker reads it (the runtime's `worker`).
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from background_tasks.api.pool import PoolSpec
from background_tasks.api.pool_services import SecretKey, Service
from background_tasks_operator.plan.model import PoolFacts, Problem

type Variable = dict[str, Any]

POOL_SPEC_FIELDS = {"slots", "lease", "task_modules", "flags", "groups", "drain_timeout"}
"""What a worker must know of its pool's spec; it may not read WorkerPools."""
OURS = frozenset(
    f"BGTASKS_{name}"
    for name in (
        *("POOL", "NAMESPACE", "POD_NAME", "POD_UID", "POOL_SPEC", "HOST", "PORT"),
        *("REDIS_URL", "GRAPH_URL", "GRAPH_NAME"),
        *("CHAT_URL", "CHAT_MODEL", "CHAT_API_KEY", "EMBEDDINGS_URL", "EMBEDDINGS_MODEL", "EMBEDDINGS_API_KEY"),
    )
)
"""Names that `template.env` may not use, set or not: the pool's own fields decide these, and probes need the port."""


def environment(pool: PoolFacts) -> list[Variable]:
    """Return the container's `env`: ours first, then what the template adds."""
    own = [
        _value("BGTASKS_POOL", pool.name),
        _field("BGTASKS_NAMESPACE", "metadata.namespace"),
        _field("BGTASKS_POD_NAME", "metadata.name"),
        _field("BGTASKS_POD_UID", "metadata.uid"),
        _value("BGTASKS_POOL_SPEC", pool_spec(pool.spec)),
        *_services(pool.spec),
    ]
    return own + [dict(given) for given in pool.spec.template.env if not _is_ours(given)]


def environment_problems(pool: PoolFacts) -> Iterator[Problem]:
    """Tell which variables of the template are left out."""
    for index, given in enumerate(pool.spec.template.env):
        if _is_ours(given):
            told = f"spec.template.env[{index}].name: {given['name']} is the operator's to set and is left out"
            yield Problem(reason="TemplateConflict", message=f"{told}; remove it: the pool's own fields decide it")


def pool_spec(spec: PoolSpec) -> str:
    """Spell a part of the spec as the resource does: a partial spec, the same text for the same spec."""
    body = spec.model_dump(mode="json", by_alias=True, include=POOL_SPEC_FIELDS)
    return json.dumps(body, sort_keys=True, separators=(",", ":"))


def _is_ours(given: Mapping[str, Any]) -> bool:
    name = given.get("name")
    return isinstance(name, str) and name in OURS


def _services(spec: PoolSpec) -> Iterator[Variable]:
    services = spec.services
    if services.redis is not None:
        yield _address("BGTASKS_REDIS_URL", services.redis)
    if services.knowledge_graph is not None:
        yield _address("BGTASKS_GRAPH_URL", services.knowledge_graph)
        yield _value("BGTASKS_GRAPH_NAME", services.knowledge_graph.graph)
    for prefix, model in (("BGTASKS_CHAT", services.chat_model), ("BGTASKS_EMBEDDINGS", services.embeddings)):
        if model is None:
            continue
        yield _address(f"{prefix}_URL", model)
        if model.model is not None:
            yield _value(f"{prefix}_MODEL", model.model)
        if model.api_key_secret_ref is not None:
            yield _secret(f"{prefix}_API_KEY", model.api_key_secret_ref)


def _address(name: str, service: Service) -> Variable:
    if service.secret_ref is not None:
        return _secret(name, service.secret_ref)
    return _value(name, service.url or "")


def _value(name: str, value: str) -> Variable:
    """Give a value as it is: a kubelet reads `$(NAME)` as a reference and `$$` as one dollar sign."""
    return {"name": name, "value": value.replace("$", "$$")}


def _field(name: str, path: str) -> Variable:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _secret(name: str, ref: SecretKey) -> Variable:
    source: Mapping[str, Any] = {"name": ref.name, "key": ref.key}
    return {"name": name, "valueFrom": {"secretKeyRef": source}}
