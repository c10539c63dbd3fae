"""A pool's document decides what a worker process is told; without one the defaults hold."""

import pytest

from background_tasks.api.pool import WorkerPool
from background_tasks.cli.pool import pool_options, store_urls
from background_tasks.engine.membership import LeaseSettings


def pool(**spec: object) -> WorkerPool:
    """Build a pool's document."""
    body = {"apiVersion": "background-tasks.dev/v1alpha1", "kind": "WorkerPool", "metadata": {"name": "default"}}
    return WorkerPool.model_validate({**body, "spec": spec})


def test_without_a_document_the_defaults_hold() -> None:
    """Sixteen slots, leases of twelve seconds, a minute to drain, no modules."""
    assert pool_options(None, ("mine",)) == {
        "task_modules": ("mine",),
        "flags": {},
        "groups": {},
        "slots": 16,
        "lease": LeaseSettings(duration=12, renew_deadline=8, retry_period=3),
        "drain_timeout": 60,
    }


def test_a_document_is_read_whole() -> None:
    """Modules, flags, groups, slots, lease and drain time-out; a module that was typed too is there once."""
    document = pool(
        taskModules=["app.tasks", "mine"],
        flags={"starwiki_enabled": True},
        groups=[{"name": "reports", "maxConcurrent": 3}],
        slots=4,
        lease={"duration": "3s", "renewDeadline": "2s", "retryPeriod": "500ms"},
        drainTimeout="1m30s",
    )
    assert pool_options(document, ("mine", "more")) == {
        "task_modules": ("app.tasks", "mine", "more"),
        "flags": {"starwiki_enabled": True},
        "groups": {"reports": 3},
        "slots": 4,
        "lease": LeaseSettings(duration=3, renew_deadline=2, retry_period=0.5),
        "drain_timeout": 90,
    }


@pytest.mark.parametrize(
    ("services", "urls"),
    [
        pytest.param({}, (None, None), id="none: embedded ones are started"),
        pytest.param({"redis": {"url": "redis://r"}}, ("redis://r", None), id="a Redis alone"),
        pytest.param({"redis": {"secretRef": {"name": "s"}}}, (None, None), id="a Secret is a cluster's matter"),
        pytest.param(
            {"redis": {"url": "redis://r"}, "knowledgeGraph": {"url": "redis://g"}},
            ("redis://r", "redis://g"),
            id="both",
        ),
    ],
)
def test_a_document_names_its_stores(services: object, urls: tuple[str | None, str | None]) -> None:
    """URLs of the document are used where none was typed."""
    assert store_urls(pool(services=services)) == urls
