"""limbic_maintenance: once a week the memory is cleaned and repaired, without a model.

A pass is a row of steps; each finds its own kind of fault and mends it, and one that fails does not stop the next. Not
here: what the steps do (`knowledge.upkeep`), forgetting by weakness (`kg_decay`), duplicates (`kg_consolidation`).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, cast

from pydantic import Field

from background_tasks.authoring import RunContext, TaskParams, TaskReport, background_task
from background_tasks.errors import BackgroundTaskError, NotLeader, Superseded
from background_tasks.knowledge.context import run_context, service
from background_tasks.knowledge.graph.cursors import Position, read_cursor
from background_tasks.knowledge.graph.model import DAY_MS
from background_tasks.knowledge.graph.store import Graph, Queryable
from background_tasks.knowledge.keys import keys_of_run
from background_tasks.knowledge.reports import publish
from background_tasks.knowledge.upkeep import garbage, repairs, snapshot
from background_tasks.knowledge.upkeep.channels import dead_cursors
from background_tasks.knowledge.upkeep.erase import withdrawn
from background_tasks.knowledge.upkeep.sweep import Limits, Mark, Step, Sweep, Tally

type Outcome = Literal["ok", "partial", "noop", "superseded", "error"]

NAME = "limbic_maintenance"
MS = 1000
WEEK_S = 7 * 86_400
STEPS: Mapping[str, Step] = {
    "consent": withdrawn,
    "snapshot": snapshot.take,
    "tombstones": garbage.tombstones,
    "episodes": garbage.episodes,
    "topics": garbage.topics,
    "anchors": garbage.anchors,
    "self_loops": repairs.self_loops,
    "doubles": repairs.doubles,
    "vectors": repairs.vectors,
    "cursors": dead_cursors,
    "mentions": repairs.mentions,
    "schema": repairs.schema,
}
"""In this order: what is to be forgotten for good, then the copy, then the rest; what others hang on before what is
counted; constraints when doubles are gone."""


class Params(TaskParams):
    """What `spec.params` may say."""

    due_after_days: float = Field(7.0, ge=0, description="Time from a success to the next.")
    batch: int = Field(5000, ge=1, le=100_000, description="Things changed by one query.")
    check_batch: int = Field(500, ge=1, le=5000, description="Things whose surroundings one query reads.")
    cap_share: float = Field(0.02, ge=0, le=1, description="The most a pass removes, as a share of nodes and of ties.")
    cap_least: int = Field(50, ge=0, description="The cap is never lower than this.")
    tombstones: int = Field(200_000, ge=0, description="Tombstones purged by one pass; no live data.")
    vectors: int = Field(5000, ge=0, description="Embeddings asked for by one pass.")
    retention_days: float = Field(90.0, gt=0, description="Of episodes, where a policy says no other.")
    anchors_kept_days: float = Field(7.0, ge=0, description="How long anchors stay after an epoch used them.")
    channel_dead_days: float = Field(90.0, gt=0, description="Silence after which a channel is dead.")
    keep_tombstones_days: float = Field(30.0, gt=0, description="How long an undo works.")
    snapshot_room: float = Field(1.2, ge=1, description="Free memory that a copy needs, in sizes of the graph.")
    dry_run: bool = Field(False, description="Tell what would happen, change nothing.")

    @property
    def limits(self) -> Limits:
        """The same, as the steps take it."""
        return Limits(
            batch=self.batch,
            check_batch=self.check_batch,
            cap_share=self.cap_share,
            cap_least=self.cap_least,
            tombstones=self.tombstones,
            vectors=self.vectors,
            retention=int(self.retention_days * DAY_MS),
            anchors_kept=int(self.anchors_kept_days * DAY_MS),
            channel_dead=int(self.channel_dead_days * DAY_MS),
            tombstone_kept=int(self.keep_tombstones_days * DAY_MS),
            snapshot_room=self.snapshot_room,
        )


@background_task(interval=WEEK_S, name=NAME, requires_bot_runner=True, params=Params)
async def limbic_maintenance_task(bot_runner: Any) -> TaskReport:
    """Clean and repair the graph when the last success is a week old; else do nothing.

    Raises `Unavailable` when the graph does not answer at all; a step's own failure is told, and the pass is `partial`.
    """
    run = run_context(Params, NAME)
    upkeep = _Upkeep(bot_runner, run)
    if upkeep.missing:
        return await publish(upkeep.report("noop", "kg_manager_missing"), upkeep.sweep.redis)
    try:
        outcome, reason = await upkeep.serve()
    except Superseded as error:
        return await publish(upkeep.report("superseded", str(error)), upkeep.sweep.redis)
    except BackgroundTaskError as error:
        await publish(upkeep.report("error", str(error)), upkeep.sweep.redis)
        raise
    return await publish(upkeep.report(outcome, reason), upkeep.sweep.redis)


def redis_of(bot_runner: Any) -> Any:
    """Return the Redis that a bot runner offers, by its message cache or by itself; else the pool's; else None."""
    cache = getattr(bot_runner, "message_cache", None)
    return getattr(cache, "redis_client", None) or getattr(bot_runner, "redis", None) or service("redis")


def mark_at(now: int, last: Mark, sizes: tuple[int, int], params: Params) -> Mark | None:
    """Choose where a run begins: in a pass that did not end, in a new one when due, or nowhere (None).

    `sizes` are the counts of live nodes and ties. Times are epoch milliseconds.
    """
    if last.started and last.step < len(STEPS):
        return last
    if last.success_at and 0 <= now - last.success_at < params.due_after_days * DAY_MS:
        return None
    nodes, ties = (max(params.cap_least, int(size * params.cap_share)) for size in sizes)
    return Mark(started=now, batch=last.batch, nodes_left=nodes, edges_left=ties, success_at=last.success_at)


class _Upkeep:
    """One run: the steps from where the pass stands to its end."""

    def __init__(self, bot_runner: Any, run: RunContext[Params]) -> None:
        manager = getattr(bot_runner, "kg_manager", None)
        self.missing = manager is None
        self.run = run
        self.begun = run.clock.monotonic()
        self.told: dict[str, Tally] = {}
        self.memory: list[float | str] = []
        self.sweep = Sweep(
            graph=Graph(cast(Queryable, manager)),
            redis=redis_of(bot_runner),
            keys=keys_of_run(),
            limits=run.params.limits,
            mark=Mark(),
            cursor=Position(key=NAME, value="", run_id=run.run_id, fence=run.fence),
            wall=lambda: int(run.clock.wall() * MS),
            dry_run=run.params.dry_run,
        )

    async def serve(self) -> tuple[Outcome, str]:
        """Find the pass, go through its steps, end it."""
        sweep = self.sweep
        sweep.cursor = replace(sweep.cursor, value=await read_cursor(sweep.graph, NAME))
        mark = mark_at(sweep.wall(), Mark.parse(sweep.cursor.value), await self._sizes(), self.run.params)
        if mark is None:
            return "noop", "not_due"
        await self.run.verify_leadership()
        await self._begin(mark)
        self.memory.append(await snapshot.memory(sweep))
        for number, (name, step) in enumerate(STEPS.items()):
            if number >= mark.step:
                self.told[name] = await self._one(step)
                troubles = sweep.mark.troubles + self.told[name].is_trouble
                await self._settle(replace(sweep.mark, step=number + 1, troubles=troubles))
        self.memory.append(await snapshot.memory(sweep))
        return await self._end()

    async def _begin(self, mark: Mark) -> None:
        """Open a new pass; one that is resumed is open."""
        if mark.step or self.sweep.cursor.value == str(mark):
            self.sweep.mark = mark
        else:
            await self._settle(mark)

    async def _one(self, step: Step) -> Tally:
        try:
            return await step(self.sweep)
        except (Superseded, NotLeader):
            raise
        except BackgroundTaskError as error:
            return Tally(failed=str(error))

    async def _end(self) -> tuple[Outcome, str]:
        """Write a success, after which the copies from before earlier passes may go."""
        mark = self.sweep.mark
        if mark.troubles:
            left = [name for name, tally in self.told.items() if tally.is_trouble]
            return "partial", f"see {', '.join(left)}" if left else "an earlier run of the pass had troubles"
        await self._settle(replace(mark, batch=0, nodes_left=0, edges_left=0, success_at=mark.started))
        if not self.sweep.dry_run:
            await snapshot.drop_older(self.sweep)
        return "ok", ""

    async def _settle(self, mark: Mark) -> None:
        if self.sweep.dry_run:
            self.sweep.mark = mark
        else:
            await self.sweep.settle(mark)

    async def _sizes(self) -> tuple[int, int]:
        graph = self.sweep.graph
        nodes = await graph.one("MATCH (n) WHERE NOT (n:Tombstone OR n:Cursor OR n:Meta) RETURN count(n)")
        ties = await graph.one("MATCH ()-[r]->() RETURN count(r)")
        return int(nodes[0]), int(ties[0])

    def report(self, outcome: Outcome, reason: str) -> TaskReport:
        """Tell what each step found and left."""
        tallies = self.told.values()
        removed = sum(tally.nodes + tally.edges for tally in tallies)
        failed = [f"{name}: {tally.failed}" for name, tally in self.told.items() if tally.failed]
        return TaskReport(
            task=NAME,
            run_id=self.run.run_id,
            outcome=outcome,
            reason=reason,
            items_in=sum(tally.before for tally in tallies),
            created=sum(tally.buried for tally in tallies),
            updated=sum(tally.changed for tally in tallies),
            deleted=removed,
            duration_ms=(self.run.clock.monotonic() - self.begun) * MS,
            errors=failed or ([reason] if outcome == "error" else []),
            extra={
                "steps": {name: tally.shown() for name, tally in self.told.items()},
                "memory_mib": self.memory,
                "dry_run": self.run.params.dry_run,
            },
        )
