"""A worker over Redis: connections, leases, ledger, status. Each part is closed in the opposite order of its making.

Not here: what all workers are made of (`parts`), a worker in a cluster (`cluster`).
"""

from contextlib import AsyncExitStack

from background_tasks.errors import InvalidSettings
from background_tasks.leases.redis import open_redis
from background_tasks.ports import TaskSource
from background_tasks.services.log_sources import ProcessLog
from background_tasks.services.redis import connect
from background_tasks.sinks.redis import RedisLedger, RedisStatusSink
from background_tasks.worker.parts import Ground, Parts
from background_tasks.worker.pool_start import PoolStart
from background_tasks.worker.services import open_services
from background_tasks.worker.settings import WorkerSettings


async def run_worker(settings: WorkerSettings, source: TaskSource, process_log: ProcessLog | None = None) -> None:
    """Run one worker until SIGTERM or SIGINT; a second signal cancels what still runs.

    `process_log` is the service of that name: this process's own log lines, for tasks that stream them.
    """
    url = settings.redis_url
    if url is None:
        raise InvalidSettings("redis_url is missing; give the address of the Redis that this pool's workers share")
    parts = Parts(settings)
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(settings, process_log))
        store = connect(url)
        stack.push_async_callback(store.aclose)
        start = PoolStart(store, settings.key, parts.clock, settings.lease.duration)
        ground = Ground(
            services=services,
            ledger=RedisLedger(store, settings.key),
            sink=RedisStatusSink(store, settings.key),
            open_leases=lambda: open_redis(url, settings.key, slots=settings.slots),
            up_since=await start.since(),
            living={"pool start": start.keep},
        )
        stack.enter_context(parts.probes)
        await parts.live(ground, source)
