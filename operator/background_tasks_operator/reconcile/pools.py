"""One pass for one pool: gather what is known of it, plan, apply, tell its status.

A pool that cannot be read keeps its workers as they are; a pool that is gone leaves its objects to the cluster's own
garbage collection. Not here: what must exist (`plan`).
"""

from collections.abc import Mapping
from typing import Any

from background_tasks.api import names
from background_tasks.api.read import Unfit
from background_tasks.errors import Refused
from background_tasks.ports import Clock
from background_tasks_operator.plan import plan
from background_tasks_operator.plan.conditions import present_conditions
from background_tasks_operator.plan.default_pool import default_pool
from background_tasks_operator.plan.facts import deployment_state, pool_facts
from background_tasks_operator.plan.model import Capability, DeploymentState, Observed, PoolFacts, Problem
from background_tasks_operator.plan.pool_status import pool_status, refused_pool_status
from background_tasks_operator.reconcile.bodies import Body, generation, meta, slots_in, text
from background_tasks_operator.reconcile.children import Children
from background_tasks_operator.reconcile.keys import ObjectKey, PoolKey
from background_tasks_operator.reconcile.memory import Memory
from background_tasks_operator.reconcile.objects import NEVER, Existence
from background_tasks_operator.reconcile.ports import Api
from background_tasks_operator.reconcile.queue import Again
from background_tasks_operator.settings import Settings

STATUS_GAP_S = 3.0
"""Between two writes of one pool's status: a rollout changes its numbers many times a second."""
CAPABILITIES_S = 300.0
"""So long an answer about optional kinds is believed."""


class Pools:
    """Reconciles pools, one at a time per key."""

    def __init__(self, api: Api, memory: Memory, settings: Settings, *, clock: Clock) -> None:
        self._api = api
        self._memory = memory
        self._settings = settings
        self._clock = clock
        self._children = Children(api, memory)
        self._told_at: dict[PoolKey, float] = {}
        self._capabilities: frozenset[Capability] = frozenset()
        self._asked_at = NEVER

    async def reconcile(self, key: PoolKey) -> Again | None:
        """Bring one pool to what it declares. Raises `Refused` when the API refused a part, `Unavailable`."""
        body = self._memory.objects.pool(key)
        if body is None:
            try:
                await self._without(key)
            finally:
                vacant = self._staff(key)  # also where a default pool is refused
            return vacant
        vacant = self._staff(key)  # also where the pool cannot be read: it has workers all the same, or none
        again = await self._settle(key, body)
        return min((one for one in (vacant, again) if one is not None), key=lambda one: one.after, default=None)

    async def _settle(self, key: PoolKey, body: Body) -> Again | None:
        facts = pool_facts(body)
        if isinstance(facts, Unfit):
            status = refused_pool_status(facts, generation(body), body.get("status"), self._clock.wall())
            return await self._tell(key, body, status)
        if facts.deleting:
            return None
        capabilities = await self._known_capabilities()
        desired = plan(facts, self._settings, self._observed(key, facts, capabilities))
        refused = await self._children.make(facts, desired)
        again = await self._tell_observed(key, facts, capabilities, (*desired.problems, *refused))
        if refused:
            raise Refused("; ".join(problem.message for problem in refused))
        if desired.problems and again is None and facts.spec.monitoring.service_monitor:
            return Again(CAPABILITIES_S)  # the kind that it asks for may be installed later, and nobody tells us
        return again

    def _staff(self, key: PoolKey) -> Again | None:
        """Find out whether the pool has a ready worker; its tasks are told when it has had none for long."""
        existence = self._memory.objects.existence(key)
        deployment = self._deployment(key) if existence is Existence.PRESENT else None
        has_worker = deployment is not None and deployment.ready > 0 and deployment.wanted > 0
        if has_worker or existence is Existence.UNKNOWN:
            self._memory.pool_staffed(key)
            return None
        rest = self._memory.pool_vacant(key)
        return Again(rest) if rest > 0 else None

    def _deployment(self, key: PoolKey) -> DeploymentState | None:
        body = self._memory.objects.child(ObjectKey("Deployment", key.namespace, names.workers_name(key.name)))
        return deployment_state(body) if body is not None else None

    async def _without(self, key: PoolKey) -> None:
        """Settle what is to become of the tasks of a pool that nobody told of."""
        self._children.forget(key)
        self._told_at.pop(key, None)
        if not any(True for _ in self._memory.tasks.of_pool(key)):
            self._memory.objects.forget(key)
            return
        found = await self._api.read(ObjectKey(names.POOL_KIND, key.namespace, key.name))
        if found is not None:
            self._memory.pool_seen(found)
            return
        wanted = default_pool(self._settings, key.namespace) if key.name == names.DEFAULT_POOL else None
        if wanted is None:
            self._memory.pool_absent(key)
            return
        try:
            made = await self._api.create(wanted)
        except Refused:
            self._memory.pool_absent(key)  # its tasks are told that there is none; we try again
            raise
        if made is not None:
            self._memory.pool_seen(made)

    def _observed(self, key: PoolKey, facts: PoolFacts, capabilities: frozenset[Capability]) -> Observed:
        objects = self._memory.objects
        table = objects.child(ObjectKey("ConfigMap", key.namespace, names.slot_table_name(key.name)))
        held, total = slots_in(table) if table is not None else (0, 0)
        return Observed(
            deployment=self._deployment(key),
            slots_held=held,
            slots_total=total,
            tasks=self._memory.tasks.counts(key),
            capabilities=capabilities,
        )

    async def _known_capabilities(self) -> frozenset[Capability]:
        if self._clock.monotonic() - self._asked_at >= CAPABILITIES_S:
            self._capabilities = await self._api.capabilities()
            self._asked_at = self._clock.monotonic()
        return self._capabilities

    async def _tell_observed(
        self, key: PoolKey, facts: PoolFacts, capabilities: frozenset[Capability], problems: tuple[Problem, ...]
    ) -> Again | None:
        body = self._memory.objects.pool(key)
        if body is None or text(body, "uid") != facts.uid:
            return None
        observed = self._observed(key, facts, capabilities)  # with what was just applied
        status = pool_status(facts, observed, body.get("status"), self._clock.wall(), problems=problems)
        return await self._tell(key, body, status)

    async def _tell(self, key: PoolKey, body: Body, status: Mapping[str, Any]) -> Again | None:
        """Write the status where it tells something new, but not too often."""
        if is_told(status, body.get("status")):
            return None
        rest = self._told_at.get(key, NEVER) + STATUS_GAP_S - self._clock.monotonic()
        if rest > 0:
            return Again(rest)
        told = {
            "apiVersion": names.API_VERSION,
            "kind": names.POOL_KIND,
            # The server does not compare the uid of a status: a pool made anew is judged anew anyway.
            "metadata": {field: meta(body)[field] for field in ("name", "namespace", "uid")},
            "status": dict(status),
        }
        now = await self._api.apply_status(told, manager=names.OPERATOR_MANAGER)
        self._told_at[key] = self._clock.monotonic()
        if now is not None:
            self._memory.pool_seen(now)
        return None


def is_told(status: Mapping[str, Any], live: object) -> bool:
    """Say whether the live status tells all that the new one tells; conditions count by type, in any order."""
    if not isinstance(live, Mapping):
        return False
    found, wanted = present_conditions(live), present_conditions(status)
    same = all(live.get(field) == value for field, value in status.items() if field != "conditions")
    return same and all(found.get(kind) == condition for kind, condition in wanted.items())
