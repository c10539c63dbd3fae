"""The services of a worker's pool: built once, lazily connected, closed last.

A service that is not configured is absent, and a task that needs it says `MissingService`; it is never a crash loop.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from background_tasks.knowledge.keys import DEFAULT_PREFIX, PREFIX_SETTING, Keys
from background_tasks.services.log_sources import ProcessLog
from background_tasks.services.redis import connect
from background_tasks.worker.bot_runner import PoolBotRunner, RedisMessageCache
from background_tasks.worker.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class PoolServices:
    """The outside worlds by the names that coroutines declare (`authoring.Services`)."""

    by_name: Mapping[str, object]

    def get(self, name: str) -> object | None:
        """Return the service, or None where the pool has none."""
        return self.by_name.get(name)


@asynccontextmanager
async def open_services(settings: WorkerSettings, process_log: ProcessLog | None = None) -> AsyncIterator[PoolServices]:
    """Build what the settings name. Tasks get connections of their own: their floods delay no lease."""
    async with AsyncExitStack() as stack:
        graph = None
        if settings.graph_url is not None:
            from background_tasks.services.graph import connect as connect_graph  # the `catalogue` extra

            graph = connect_graph(settings.graph_url, graph=settings.graph_name)
            stack.push_async_callback(graph.aclose)
        task_redis = cache = None
        if settings.redis_url is not None:
            task_redis = connect(settings.redis_url)
            stack.push_async_callback(task_redis.aclose)
            cache = RedisMessageCache(task_redis, Keys(settings.env.get(PREFIX_SETTING, DEFAULT_PREFIX)))
        runner = PoolBotRunner(cfg=settings.flags, kg_manager=graph, message_cache=cache)
        offered = {
            "redis": task_redis,
            "kg_manager": graph,
            "bot_runner": runner if graph is not None else None,
            "message_cache": cache,
            "config": settings.flags,
            "process_log": process_log,
        }
        yield PoolServices({name: service for name, service in offered.items() if service is not None})
