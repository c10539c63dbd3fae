"""kg_decay: old ties of the memory fade by elapsed time; the weakest are forgotten, with a way back.

A pass is settle -> look -> prune, resumed from its cursor after a crash. Not here: orphaned entities
(`kg_consolidation`), the purge of tombstones (`limbic_maintenance`), the formula (`knowledge.graph.decay`).
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import batched
from typing import Any, Literal, Self

from pydantic import Field

from background_tasks.authoring import RunContext, TaskParams, TaskReport, background_task
from background_tasks.errors import BackgroundTaskError, Superseded
from background_tasks.knowledge.context import run_context, service
from background_tasks.knowledge.graph.cursors import Position, move, read_cursor
from background_tasks.knowledge.graph.decay import Fade
from background_tasks.knowledge.graph.fading import Look, Rules, Weak, any_due, look
from background_tasks.knowledge.graph.model import DAY_MS, Tier
from background_tasks.knowledge.graph.pages import count_ties, tie_pages
from background_tasks.knowledge.graph.store import Graph, Queryable
from background_tasks.knowledge.graph.tombstones import BURY, burials, facts_of
from background_tasks.knowledge.reports import publish
from background_tasks.ports import Clock

type Outcome = Literal["ok", "partial", "noop", "superseded", "error"]

NAME = "kg_decay"
KIND = "prune"
MS = 1000
SLOW_S = 0.5
"""A settling query slower than this halves the next batch: none may hold the graph for over a second."""
QUICK_S = 0.2
"""One that is quicker doubles it again."""
LEAST_BATCH = 100


class Params(TaskParams):
    """What `spec.params` may say."""

    factor: float = Field(0.95, gt=0, lt=1, description="What a day leaves of a tie that was never used again.")
    max_half_life_days: float = Field(180.0, gt=0, description="However often a tie is used, it fades this fast.")
    guild_stretch: float = Field(2.0, ge=1, description="How many times longer the half-life of guild ties is.")
    invalid_divisor: float = Field(4.0, ge=1, description="How many times shorter that of contradicted ties is.")
    settled_for_s: float = Field(3600.0, gt=0, description="Seconds for which a settlement stands.")
    prune_below: float = Field(0.05, ge=0, le=1, description="Ties weaker than this are pruned.")
    prune_uses: int = Field(3, ge=0, description="Ties used this often or more are never pruned.")
    cap_share: float = Field(0.02, ge=0, le=1, description="The most a pass prunes, as a share of all ties.")
    cap_least: int = Field(50, ge=0, description="The cap is never lower than this.")
    keep_tombstones_days: float = Field(30.0, gt=0, description="How long an undo works.")
    batch: int = Field(5000, ge=1, le=100_000, description="The most ties settled by one query.")
    prune_batch: int = Field(500, ge=1, le=5000, description="Ties buried by one query.")
    dry_run: bool = Field(False, description="Tell what would happen, change nothing.")

    @property
    def rules(self) -> Rules:
        """The same, as the queries take it."""
        return Rules(
            fade=Fade(
                factor=self.factor,
                max_half_life_days=self.max_half_life_days,
                guild_stretch=self.guild_stretch,
                invalid_divisor=self.invalid_divisor,
            ),
            settled_for_ms=int(self.settled_for_s * MS),
            prune_below=self.prune_below,
            prune_uses=self.prune_uses,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """The value of the task's cursor: one pass through the graph, however many runs it takes."""

    as_of: int
    """The instant to which everything is settled; fixed when the pass begins."""
    batch: int = 0
    """Counts the writes of the pass; 0 before the first and again when the pass has ended."""
    prune_left: int = 0
    """What the cap leaves, so that neither a crash nor a second run prunes twice as much."""

    def __str__(self) -> str:
        return json.dumps([self.as_of, self.batch, self.prune_left])

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a cursor's value; None for one that was never written."""
        if not text:
            return None
        as_of, batch, prune_left = json.loads(text)
        return cls(as_of=as_of, batch=batch, prune_left=prune_left)


def pass_at(now: int, last: Pass | None, ties: int, params: Params) -> Pass:
    """Choose the pass that a run serves: the last one while it is young (it crashed, or all is done), else a new one.

    Times are epoch milliseconds. A clock that was set back begins a new pass, whose `as_of` is the clock's.
    """
    if last is not None and 0 <= now - last.as_of < params.rules.settled_for_ms:
        return last
    batch = 0 if last is None else last.batch
    return Pass(as_of=now, batch=batch, prune_left=max(params.cap_least, int(ties * params.cap_share)))


@background_task(interval=86_400, name=NAME, requires_kg=True, params=Params)
async def kg_decay_task(kg_manager: Queryable) -> TaskReport:
    """Settle every tie that fades to this instant, and prune the weakest within the cap. A second run does nothing.

    Raises `Unavailable` when the graph does not answer: what was settled stays settled, the rest follows.
    """
    decay = _Decay(Graph(kg_manager), run_context(Params, NAME))
    try:
        await decay.serve()
    except Superseded as error:
        return await publish(decay.report("superseded", str(error)), service("redis"), topic=NAME)
    except BackgroundTaskError as error:
        await publish(decay.report("error", str(error)), service("redis"), topic=NAME)
        raise
    return await publish(decay.report(), service("redis"), topic=NAME)


class Pace:
    """How many ties a query takes: fewer when the server is slow, as many as allowed when it is not."""

    def __init__(self, most: int, clock: Clock) -> None:
        self.size = self.asked = self._most = most
        self._clock = clock
        self._begun = 0.0

    def __enter__(self) -> None:
        self._begun = self._clock.monotonic()
        self.asked = self.size

    def __exit__(self, *_: object) -> None:
        took = self._clock.monotonic() - self._begun
        if took > SLOW_S:
            self.size = max(min(self.size, LEAST_BATCH), self.size // 2)
        elif took < QUICK_S:
            self.size = min(self._most, self.size * 2)


class _Decay:
    """One run: the three parts in their order, and what they did so far."""

    def __init__(self, graph: Graph, run: RunContext[Params]) -> None:
        self.graph = graph
        self.run = run
        self.begun = run.clock.monotonic()
        self.params = run.params
        self.cursor = Position(key=NAME, value="", run_id=run.run_id, fence=run.fence)
        self.serving = Pass(as_of=0)
        self.ties = 0
        self.settled = 0
        self.pruned: Counter[int] = Counter()
        self.found: Look | None = None

    async def serve(self) -> None:
        """Settle, look, prune; in a dry run only look."""
        self.ties = await count_ties(self.graph)
        self.cursor = replace(self.cursor, value=await read_cursor(self.graph, NAME))
        self.serving = pass_at(self._now(), Pass.parse(self.cursor.value), self.ties, self.params)
        if not self.params.dry_run:
            await self._settle()
        as_of, most = self.serving.as_of, self.serving.prune_left
        found = await look(self.graph, self.params.rules, as_of=as_of, most=most, size=self.params.batch)
        self.found = found
        if self.params.dry_run:
            self.settled = found.due
            self._count(found, found.weakest)
            return
        await self._prune(found)
        if self.serving.batch:  # end the pass: however often it was interrupted, its cursor then says the same
            await self._move("RETURN 1", {}, replace(self.serving, batch=-1))

    async def _settle(self) -> None:
        """Settle page by page, then whatever others wrote meanwhile, until nothing is due."""
        cut = self.serving.as_of - self.params.rules.settled_for_ms
        if not await any_due(self.graph, cut):
            return
        pace = Pace(self.params.batch, self.run.clock)
        instants = {"cut": cut, "as_of": self.serving.as_of}
        for low, high in await tie_pages(self.graph, self.params.batch):
            await self._settle_all(pace, self.params.rules.settle(), {**instants, "low": low, "high": high})
        await self._settle_all(pace, self.params.rules.settle_rest(), instants)

    async def _settle_all(self, pace: Pace, effect: str, params: Mapping[str, object]) -> None:
        while True:
            with pace:
                told = await self._move(effect, {**params, "batch": pace.size}, self.serving)
            self.settled += told[0]
            if told[0] < pace.asked:
                return

    async def _prune(self, found: Look) -> None:
        if found.weakest:
            await self.run.verify_leadership()
        for batch in batched(found.weakest, self.params.prune_batch):
            facts = await facts_of(self.graph, [weak.uuid for weak in batch])
            params = {
                "burials": burials(facts, KIND, self.serving.as_of),
                "kind": KIND,
                "purge_at": self.serving.as_of + int(self.params.keep_tombstones_days * DAY_MS),
            }
            after = replace(self.serving, prune_left=self.serving.prune_left - len(batch))
            told = await self._move(BURY + "RETURN buried", params, after)
            gone = frozenset(told[0])
            self._count(found, [weak for weak in batch if weak.uuid in gone])

    async def _move(self, effect: str, params: Mapping[str, object], after: Pass) -> Sequence[Any]:
        """Make an effect and move the cursor with it, to `after` and one batch further."""
        after = replace(after, batch=after.batch + 1)
        self.cursor, told = await move(self.graph, self.cursor, str(after), effect, params, now=self._now())
        self.serving = after
        return told

    def _count(self, found: Look, gone: Sequence[Weak]) -> None:
        self.pruned += Counter(weak.tier for weak in gone)
        found.forget(gone)

    def _now(self) -> int:
        return int(self.run.clock.wall() * MS)

    def report(self, outcome: Outcome | None = None, reason: str = "") -> TaskReport:
        """Tell what was done; without an outcome it is that of a run that came to its end."""
        gone = self.pruned.total()
        left = 0 if self.found is None else self.found.weak - gone
        ended, because = self._ended(left)
        return TaskReport(
            task=NAME,
            run_id=self.run.run_id,
            outcome=outcome or ended,
            reason=reason or because,
            items_in=self.ties,
            updated=self.settled,
            deleted=gone,
            duration_ms=(self.run.clock.monotonic() - self.begun) * MS,
            errors=[reason] if outcome == "error" else [],
            extra={
                "decayed": self.settled,
                "pruned": {_tier_name(tier): count for tier, count in sorted(self.pruned.items())},
                "left_by_cap": left,
                "as_of": self.serving.as_of,
                "dry_run": self.params.dry_run,
                **({} if self.found is None else _state_of(self.found)),
            },
        )

    def _ended(self, left: int) -> tuple[Outcome, str]:
        if left and self.pruned:
            return "partial", "cap"
        if self.settled or self.pruned:
            return "ok", ""
        return "noop", "cap" if left else "nothing_due"


def _state_of(found: Look) -> dict[str, object]:
    return {"histogram": found.bins, "oldest_decayed_at": found.oldest}


def _tier_name(tier: int) -> str:
    return Tier(tier).name.lower() if tier in set(Tier) else str(tier)
