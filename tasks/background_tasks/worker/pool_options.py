"""What a pool's spec tells a worker process, as options of its settings.

Not here: where the spec comes from: a file (`cli`), or the environment of a pod (`cluster_settings`).
"""

from typing import TypedDict

from background_tasks.api.duration import parse_duration
from background_tasks.api.pool import PoolSpec
from background_tasks.engine.membership import LeaseSettings


class PoolOptions(TypedDict):
    """The part of `WorkerSettings` that the pool decides."""

    task_modules: tuple[str, ...]
    flags: dict[str, object]
    groups: dict[str, int]
    slots: int
    lease: LeaseSettings
    drain_timeout: float


def options_of(spec: PoolSpec, modules: tuple[str, ...] = ()) -> PoolOptions:
    """Read a pool's spec; `modules` come on top of its `taskModules`."""
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
