"""What a WorkerPool document in a file tells the commands that run workers on this machine.

Not here: what an operator makes of the document.
"""

from background_tasks.api.pool import PoolSpec, WorkerPool
from background_tasks.worker.pool_options import PoolOptions, options_of


def pool_options(document: WorkerPool | None, modules: tuple[str, ...] = ()) -> PoolOptions:
    """Read a pool's document; without one the defaults hold. `modules` come on top of its `taskModules`."""
    return options_of(PoolSpec() if document is None else document.spec, modules)


def store_urls(document: WorkerPool | None) -> tuple[str | None, str | None]:
    """Return the URLs of Redis and of the knowledge graph that a pool's document names; a Secret is a cluster's."""
    if document is None:
        return None, None
    redis, graph = document.spec.services.redis, document.spec.services.knowledge_graph
    return (None if redis is None else redis.url), (None if graph is None else graph.url)
