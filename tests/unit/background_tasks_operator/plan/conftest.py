"""Pools as people write them, settings as the chart gives them."""

from collections.abc import Callable
from typing import Any

import pytest

from background_tasks.api.pool import PoolSpec
from background_tasks_operator.plan.model import PoolFacts
from background_tasks_operator.settings import Settings

type PoolOf = Callable[..., PoolFacts]
IMAGE = "registry.example/background-tasks:0.1.0"


@pytest.fixture
def settings() -> Settings:
    """Give what an operator is told at least."""
    return Settings(image=IMAGE, image_pull_policy="Always")


@pytest.fixture
def pool_of() -> PoolOf:
    """Give `pool_of("crawl", replicas=3)`: a pool in the namespace `demo`, its spec as the resource spells it."""

    def make(name: str = "crawl", *, deleting: bool = False, **spec: Any) -> PoolFacts:
        return PoolFacts(
            namespace="demo",
            name=name,
            uid="11aa",
            generation=3,
            spec=PoolSpec.model_validate(spec),
            deleting=deleting,
        )

    return make


@pytest.fixture
def meta() -> Callable[[str], dict[str, Any]]:
    """Give `meta("crawl-workers")`: what must head every object of the pool `crawl`."""

    def head(name: str) -> dict[str, Any]:
        return {
            "name": name,
            "namespace": "demo",
            "labels": {
                "app.kubernetes.io/name": "background-tasks-worker",
                "background-tasks.dev/pool": "crawl",
                "app.kubernetes.io/managed-by": "background-tasks-operator",
                "app.kubernetes.io/part-of": "background-tasks",
            },
            "ownerReferences": [
                {
                    "apiVersion": "background-tasks.dev/v1alpha1",
                    "kind": "WorkerPool",
                    "name": "crawl",
                    "uid": "11aa",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        }

    return head
