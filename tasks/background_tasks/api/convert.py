"""From a resource to the engine's `Task`. Equal policies become one object, so that 100,000 tasks share a few.

Not here: checks; a resource that exists is sound.
"""

from functools import lru_cache
from types import MappingProxyType

from background_tasks.api.duration import parse_duration
from background_tasks.api.read import uid_of
from background_tasks.api.task import BackgroundTask, TaskSpec
from background_tasks.domain.model import EMPTY, NO_SWITCHES, Policy, Switches, Task, TaskUid

POLICIES = 65_536
"""Policies remembered, least recently used first out: a bound for pools whose every task has its own."""


@lru_cache(maxsize=POLICIES)
def interned(policy: Policy) -> Policy:
    """Return the one object that stands for all equal policies."""
    return policy


def task_of(resource: BackgroundTask, *, seen_at: float, generation: int = 1) -> Task:
    """Build the engine's task. `seen_at` (wall seconds) and `generation` hold where no cluster recorded its own."""
    meta, spec = resource.metadata, resource.spec
    created_at = meta.created_at
    return Task(
        uid=TaskUid(meta.uid) if meta.uid else uid_of(spec.pool_ref.name, meta.namespace, meta.name),
        name=f"{meta.namespace}/{meta.name}",
        policy=policy_of(spec),
        params=MappingProxyType(spec.params) if spec.params else EMPTY,
        switches=_switches(resource),
        generation=generation if meta.generation is None else meta.generation,
        created_at=seen_at if created_at is None else created_at,
    )


def policy_of(spec: TaskSpec) -> Policy:
    """Build the part of a task that it shares with others."""
    return interned(
        Policy(
            coroutine=spec.task,
            schedule=spec.schedule.to_domain(),
            run_policy=spec.run_policy,
            missed=spec.missed.to_domain(),
            overlap=spec.overlap,
            timeout=None if spec.timeout is None else parse_duration(spec.timeout),
            retry=spec.retry.to_domain(),
            breaker=spec.breaker.to_domain() if spec.breaker else None,
            guarantee=spec.guarantee,
            group=spec.group,
            requires=frozenset(spec.requires),
            max_lateness=parse_duration(spec.objective.max_lateness) if spec.objective else None,
            isolation=spec.isolation,
            history_limit=spec.history_limit,
        )
    )


def _switches(resource: BackgroundTask) -> Switches:
    pause, run_now = resource.metadata.pause, resource.metadata.run_now
    if not (resource.spec.suspend or pause or run_now):
        return NO_SWITCHES
    return Switches(suspend=resource.spec.suspend, pause=pause, run_now=run_now)
