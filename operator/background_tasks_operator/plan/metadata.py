"""What stands above every object of a pool: its name, its labels, its owner. And whom an object belongs to.

Not here: names (`api.names`), and labels that people add to pods (`pods`).
"""

from collections.abc import Mapping
from typing import Any

from background_tasks.api import names
from background_tasks_operator.plan.model import Manifest, PoolFacts


def selector(pool: PoolFacts) -> dict[str, str]:
    """Return the labels that find the pods of a pool: exactly two, for they can never change."""
    return {names.NAME_LABEL: names.WORKER_APP, names.POOL_LABEL: pool.name}


def labels(pool: PoolFacts) -> dict[str, str]:
    """Return the labels of every object of a pool."""
    return {
        **selector(pool),
        names.MANAGED_BY_LABEL: names.OPERATOR_APP,
        names.PART_OF_LABEL: names.PART_OF,
    }


def metadata(pool: PoolFacts, name: str) -> dict[str, Any]:
    """Head an object that lives and dies with its pool."""
    owner = {
        "apiVersion": names.API_VERSION,
        "kind": names.POOL_KIND,
        "name": pool.name,
        "uid": pool.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {"name": name, "namespace": pool.namespace, "labels": labels(pool), "ownerReferences": [owner]}


def owned_by(pool: PoolFacts, live: Manifest) -> bool:
    """Say whether an object that was found is controlled by this very pool: only such a one may be deleted."""
    meta = live.get("metadata")
    owners = meta.get("ownerReferences") if isinstance(meta, Mapping) else None
    return any(
        isinstance(owner, Mapping) and owner.get("uid") == pool.uid and owner.get("controller") is True
        for owner in (owners if isinstance(owners, list) else [])
    )
