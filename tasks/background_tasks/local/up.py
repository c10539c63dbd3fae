"""One session of `bgtasks up`: stores, worker processes, files, view; stopped in the opposite order.

Not here: argv and exit codes (`cli`), what workers do. The session never runs a task itself.
"""

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from background_tasks.api import names
from background_tasks.api.pool import WorkerPool
from background_tasks.domain.model import Outcome, RunRecord
from background_tasks.errors import Refused, Unavailable
from background_tasks.local.embedded import EmbeddedServer
from background_tasks.local.feed import Feed, worker_lines
from background_tasks.local.state import PoolState
from background_tasks.local.summary import Summary, summarise
from background_tasks.local.workers import WorkerProcess, Workers, python_module
from background_tasks.ports import Clock, Refusal, RefusedDocument, Removed, Synced, Upserted
from background_tasks.services.redis import connect
from background_tasks.sources.contents import survey
from background_tasks.sources.files import FileSource
from background_tasks.telemetry.metrics import Metrics
from background_tasks.telemetry.probes import Health, Probes

REFRESH_S = 0.25
JUDGED_AT_ONCE = 50
"""Statuses that are read at each refresh: a folder of ten thousand tasks is gone through within a minute."""
READY_TIMEOUT_S = 30.0
"""`--for` counts from the moment all workers live; one that never comes up must not make it wait for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpSettings:
    """What a person asked for."""

    roots: tuple[Path, ...]
    workers: int = 2
    pool: str = names.DEFAULT_POOL
    slots: int = 16
    drain_timeout: float = 60.0
    port: int = 0
    """0: none."""
    duration: float | None = None
    """Seconds from the moment all workers are ready; None: until told to stop."""
    redis_url: str | None = None
    graph_url: str | None = None
    modules: tuple[str, ...] = ()
    data: Path | None = None


class Session:
    """State and parts of one session."""

    def __init__(self, settings: UpSettings, clock: Clock, began_at: float) -> None:
        self.settings = settings
        self.state = PoolState(began_at=began_at)
        self.on_runs: Callable[[Sequence[RunRecord]], None] = lambda runs: None
        self.before_stop: Callable[[], None] = lambda: None
        """Called once, while everything still runs."""
        self.redis_url = ""
        self.graph_url: str | None = None
        self._clock = clock
        self._health = Health(clock.monotonic)
        self._metrics = Metrics(settings.pool)
        self._ready = asyncio.Event()
        """All workers live."""
        self._source = FileSource(settings.roots, now=clock.wall, pool=settings.pool, on_pools=self._pools)
        self._workers: Workers | None = None
        self._judged = 0
        """How many statuses were looked at so far."""

    @asynccontextmanager
    async def stores(self) -> AsyncIterator["Session"]:
        """Start what was not given by URL; the stores outlive the workers."""
        wanted = self.settings
        self.redis_url, self.graph_url = wanted.redis_url or "", wanted.graph_url
        if wanted.redis_url is not None:  # a given Redis without a graph: tasks that need one say MissingService
            yield self
            return
        server = EmbeddedServer(wanted.data)
        await asyncio.to_thread(server.start)
        try:
            self.redis_url, self.graph_url = server.url, wanted.graph_url or server.url
            yield self
        finally:
            await asyncio.to_thread(server.stop)

    async def run(self) -> Summary:
        """Run until the time is over or `stop`; return what it came to. Call inside `stores`."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bgtasks-logs-")))
            redis = connect(self.redis_url)
            stack.push_async_callback(redis.aclose)
            feed = Feed(redis, self.settings.pool, self.settings.slots)
            await feed.start(self.state.began_at)
            self._workers = Workers(self.settings.workers, self._command, folder)
            stack.enter_context(self._served())
            async with asyncio.TaskGroup() as group:
                helpers = [
                    group.create_task(self._health.beat()),
                    group.create_task(self._follow_files()),
                    group.create_task(self._follow_pool(feed)),
                ]
                limit = group.create_task(self._stop_in_time())
                await self._workers.run(drain_timeout=self.settings.drain_timeout)
                for helper in (*helpers, limit):
                    helper.cancel()
            await self._read(feed, all_statuses=True)
        with contextlib.suppress(Refused):  # the folder itself is gone: what was known last stands
            found = await asyncio.to_thread(survey, self.settings.roots, self.settings.pool)
            self._blame(found.tasks.refusals)
        return self._summary()

    def stop(self) -> None:
        """Drain the workers and end; a second call cancels what runs, a third kills."""
        before, self.before_stop = self.before_stop, lambda: None
        try:
            before()
        finally:
            if self._workers is not None:
                self._workers.stop()

    def _command(self, place: WorkerProcess) -> list[str]:
        wanted = self.settings
        options: dict[str, str | None] = {
            "--redis-url": self.redis_url,
            "--graph-url": self.graph_url,
            "--pool": wanted.pool,
            "--member": place.member,
            "--port": str(wanted.port + int(place.name.rpartition("-")[2])) if wanted.port else "0",
        }
        argv = [word for name, value in options.items() if value is not None for word in (name, value)]
        argv += [word for root in wanted.roots for word in ("--file", str(root))]
        argv += [word for module in wanted.modules for word in ("--module", module)]
        return python_module("background_tasks.cli", "worker", *argv)

    def _served(self) -> contextlib.AbstractContextManager[object]:
        """Serve the state of the whole pool while the session runs, if a port was asked for."""
        if not self.settings.port:
            return contextlib.nullcontext()
        return Probes(self._health, metrics=self._metrics.exposition, tasks=self.state.rows, port=self.settings.port)

    async def _follow_files(self) -> None:
        """Know the tasks as the workers do, from the same files."""
        async for event in self._source.watch():
            match event:
                case Upserted(task):
                    self.state.upsert(task)
                case Removed(uid):
                    self.state.remove(uid)
                case Synced():
                    self._health.synced = True
                case RefusedDocument():
                    pass  # the source itself tells what is wrong now

    def _pools(self, pools: Mapping[str, WorkerPool]) -> None:
        """A pool's document is read when a worker starts: a change of it starts the workers anew, one by one."""
        if self._workers is not None and self.settings.pool in pools:
            self._workers.renew(pools[self.settings.pool].model_dump_json())

    async def _follow_pool(self, feed: Feed) -> None:
        while True:
            await self._read(feed)
            await asyncio.sleep(REFRESH_S)

    async def _read(self, feed: Feed, *, all_statuses: bool = False) -> None:
        """Take what there is; what was read before the store failed counts."""
        state = self.state
        self._blame(self._source.refusals)
        judged = state.next_uids(self._judged, len(state.tasks) if all_statuses else JUDGED_AT_ONCE)
        try:
            self._take(await feed.runs())
            held = await feed.held()
            if self._workers is not None:
                state.set_workers(worker_lines(self._workers.places, held))
            state.judge(judged, await feed.unfit(judged))
        except Unavailable as error:
            state.trouble = f"the store does not answer: {error}"
            return
        state.trouble = ""
        self._tell_deaths()
        self._judged += len(judged)
        if state.workers and all(worker.alive for worker in state.workers):
            self._ready.set()

    def _blame(self, refusals: Iterable[Refusal]) -> None:
        self.state.documents = tuple(f"{refusal.where}: {refusal.message}" for refusal in refusals)

    def _tell_deaths(self) -> None:
        """Say why a worker ended by itself; one that was killed from outside has nothing to say."""
        for place in self._workers.places if self._workers is not None else []:
            if place.last_exit is not None and place.last_exit > 0:
                sentence = f"{place.name} ended with exit code {place.last_exit}: {place.last_words}"
                self.state.unfit[place.name] = sentence

    def _take(self, runs: Sequence[RunRecord]) -> None:
        self.state.add_runs(runs)
        for run in runs:
            self._measure(run)
        if runs:
            self.on_runs(runs)

    def _measure(self, run: RunRecord) -> None:
        """Feed the pool's metrics from the ledger, as a worker feeds its own from the engine."""
        line = self.state.tasks.get(run.uid)
        if line is not None and run.outcome is not Outcome.SKIPPED:
            self._metrics.started(line.task, run.run_id, run.scheduled_for, run.lateness)
            self._metrics.ended(line.task, run)

    async def _stop_in_time(self) -> None:
        if self.settings.duration is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_TIMEOUT_S):
                await self._ready.wait()
        await asyncio.sleep(self.settings.duration)
        self.stop()

    def _summary(self) -> Summary:
        state = self.state
        return summarise(
            state.runs,
            tasks=state.names,
            singletons=state.singletons,
            began_at=state.began_at,
            workers=state.most_workers,
            refused=state.refused,
            restarts=sum(place.restarts for place in self._workers.places) if self._workers is not None else 0,
        )
