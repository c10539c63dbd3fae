"""Makes what a plan asks for true: applies what differs, deletes what must not be, and touches nothing else.

Not here: which objects there are (`plan`), when to look (`memory`).
"""

import json

from background_tasks.api import names
from background_tasks.errors import Refused
from background_tasks_operator.plan.fingerprint import fingerprint, is_current, stamped
from background_tasks_operator.plan.metadata import owned_by
from background_tasks_operator.plan.model import Desired, Manifest, ObjectRef, PoolFacts, Problem
from background_tasks_operator.reconcile.bodies import Body, generation, meta, text, version
from background_tasks_operator.reconcile.keys import ObjectKey, PoolKey
from background_tasks_operator.reconcile.memory import Memory
from background_tasks_operator.reconcile.objects import key_of
from background_tasks_operator.reconcile.ports import Api

REFUSED = "Refused"

type State = tuple[int, str]


class Children:
    """Objects of all pools."""

    def __init__(self, api: Api, memory: Memory) -> None:
        self._api = api
        self._memory = memory
        self._answers: dict[ObjectKey, tuple[str, State]] = {}
        """Per object: the fingerprint that was applied last, and what the API server made of it."""

    async def make(self, facts: PoolFacts, desired: Desired) -> list[Problem]:
        """Do what must be done; return what the API refused, in its words. Raises `Unavailable`."""
        problems: list[Problem] = []
        for body in desired.handovers:
            await self._try(body, names.HANDOVER_MANAGER, problems)
        for body in desired.objects:
            if not self._is_current(body):
                await self._try(body, names.OPERATOR_MANAGER, problems)
        for ref in desired.absent:
            await self._remove(facts, ref, problems)
        return problems

    def forget(self, pool: PoolKey) -> None:
        """Drop what is remembered about the objects of a pool that is gone."""
        ours = {names.workers_name(pool.name), names.slot_table_name(pool.name)}
        for key in [key for key in self._answers if key.namespace == pool.namespace and key.name in ours]:
            del self._answers[key]

    def _is_current(self, desired: Manifest) -> bool:
        key = key_of(desired)
        live = self._memory.objects.child(key)
        if live is None:
            return False
        if is_current(desired, live):
            return True
        # The API server spells some values in its own way (50m for 0.05), and keeps what others added to a list: what
        # it answered to exactly this, with nobody having touched it since, is as good as we can get.
        return self._answers.get(key) == (fingerprint(desired), _state(live))

    async def _try(self, body: Manifest, manager: str, problems: list[Problem]) -> None:
        key = key_of(body)
        ours = manager == names.OPERATOR_MANAGER
        try:
            live = await self._api.apply(stamped(body) if ours else body, manager=manager)
        except Refused as error:
            problems.append(_problem(key, error))
            return
        if ours:
            self._answers[key] = (fingerprint(body), _state(live))
        self._memory.child_seen(live)

    async def _remove(self, facts: PoolFacts, ref: ObjectRef, problems: list[Problem]) -> None:
        key = ObjectKey(ref.kind, facts.namespace, ref.name)
        live = self._memory.objects.child(key)
        if live is None or not owned_by(facts, live):
            return
        try:
            await self._api.delete(key, text(live, "uid"))
        except Refused as error:
            problems.append(_problem(key, error))
            return
        self._memory.child_gone(key, live)


def _state(live: Body) -> State:
    """Return what differs after somebody changed what could be ours, and not after a controller wrote its status."""
    told = {field: meta(live).get(field) for field in ("labels", "annotations", "ownerReferences")}
    # Kinds that do not count their changes have no status that would raise their version all the time.
    return generation(live) or version(live), json.dumps(told, sort_keys=True)


def _problem(key: ObjectKey, error: Refused) -> Problem:
    return Problem(reason=REFUSED, message=f"{key.kind} {key.name}: {error}")
