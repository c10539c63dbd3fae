"""What a WorkerPool document tells a worker process, as options of its settings.

Not here: what an operator makes of the document.
"""

from typing import TypedDict

from background_tasks.api.duration import parse_duration
from background_tasks.api.pool import WorkerPool
from background_tasks.engine.membership import LeaseSettings
from background_tasks.worker.settings import DEFAULT_DRAIN_TIMEOUT_S, DEFAULT_SLOTS


class PoolOptions(TypedDict):
    """The part of `WorkerSettings` that the pool's document decides."""

    task_modules: tuple[str, ...]
    flags: dict[str, object]
    groups: dict[str, int]
    slots: int
    lease: LeaseSettings
    drain_timeout: float


def pool_options(document: WorkerPool | None, modules: tuple[str, ...] = ()) -> PoolOptions:
    """Read a pool's document; without one the defaults hold. `modules` come on top of its `taskModules`."""
    if document is None:
        return PoolOptions(
            task_modules=modules,
            flags={},
            groups={},
            slots=DEFAULT_SLOTS,
            lease=LeaseSettings(),
            drain_timeout=DEFAULT_DRAIN_TIMEOUT_S,
        )
    spec = document.spec
    return PoolOptions(
        task_modules=(*spec.task_modules, *(name for name in modules if name not in spec.task_modules)),
        flags=dict(spec.flags),
        groups={group.name: group.max_concurrent for group in spec.groups},
        slots=spec.slots,
        lease=LeaseSettings(
            duration=parse_duration(spec.lease.duration),
            renew_deadline=parse_duration(spec.lease.renew_deadline),
            retry_period=parse_duration(spec.lease.retry_period),
        ),
        drain_timeout=parse_duration(spec.drain_timeout),
    )


def store_urls(document: WorkerPool | None) -> tuple[str | None, str | None]:
    """Return the URLs of Redis and of the knowledge graph that a pool's document names; a Secret is a cluster's."""
    if document is None:
        return None, None
    redis, graph = document.spec.services.redis, document.spec.services.knowledge_graph
    return (None if redis is None else redis.url), (None if graph is None else graph.url)
