"""One run of the live log: a reader that starts its source again, a writer, a reporter, and their end.

Not here: which source, and who may stream it (`journal_feed`). A line that was read and not yet written is read again
after a crash; a line that was written is not, because its position is written with it.
"""

import asyncio
from contextlib import aclosing
from typing import Any

from pydantic import Field

from background_tasks.authoring import RunContext, TaskParams, TaskReport
from background_tasks.domain.rates import Bucket, admit
from background_tasks.errors import Unavailable
from background_tasks.knowledge.journal_feed import JournalFeed, Verdict, render, render_dropped
from background_tasks.knowledge.line_queue import LineQueue
from background_tasks.knowledge.redaction import line_redactor
from background_tasks.services.log_sources import LogLine, LogSource, SourceMissing

LINES_PER_TURN = 64
"""Lines that are read before others on the loop get their turn: a full pipe never waits by itself."""
RELEASE_TIMEOUT_S = 1.0
RESEND_AFTER_S = 0.2
UNAVAILABLE = "source_unavailable"
_ENDS = {Verdict.LOST: "lease_lost", Verdict.MOVED: "position_moved"}


class StreamLimits(TaskParams):
    """The numbers of one stream; a task's params add where the lines come from."""

    save_lines: int = Field(100, ge=1, le=5_000, description="Lines are written, with their position, so many at once.")
    save_seconds: float = Field(2.0, gt=0, description="Or after so long; the first after a pause at once.")
    batch_bytes: int = Field(
        64 * 1024, ge=1, description="A batch ends early here: redaction holds the loop meanwhile."
    )
    queue_lines: int = Field(10_000, ge=1, description="Lines that may wait; beyond, debug lines are dropped first.")
    queue_bytes: int = Field(16 * 1024 * 1024, ge=1, description="Bytes that may wait.")
    lease_seconds: float = Field(15.0, gt=0, description="How long a streamer that fell silent keeps its source.")
    report_seconds: float = Field(60.0, gt=0, description="How often progress is reported.")
    restart_seconds: float = Field(
        0.2, ge=0, description="Wait before a broken source is read again; doubles each time."
    )
    restart_seconds_most: float = Field(5.0, ge=0, description="The longest such wait.")
    restarts_in_vain: int = Field(6, ge=1, description="After so many starts without a line the source is unavailable.")
    log_seconds: float = Field(10.0, gt=0, description="Each kind of trouble is logged once in so long.")


class LogStreaming:
    """One run over one source. Call `run` once, then `release`, also after a cancellation."""

    def __init__(self, run: RunContext[Any], limits: StreamLimits, source: LogSource, feed: JournalFeed) -> None:
        self._run = run
        self._limits = limits
        self._source = source
        self._feed = feed
        self._queue = LineQueue(self._limits.queue_lines, self._limits.queue_bytes)
        self._redact = line_redactor()
        self._said: dict[str, Bucket] = {}
        self._end = UNAVAILABLE
        self._why = ""
        self._read_up_to: str | None = None
        self._written_up_to: str | None = None
        self._lag: float | None = None
        self._counts = dict.fromkeys(("read", "written", "published", "dropped", "restarts", "redacted"), 0)
        self._reported = dict(self._counts)
        self._reported_at = run.clock.monotonic()
        self._reported_up_to: str | None = None

    async def run(self) -> TaskReport:
        """Claim the source and stream it until it is gone or another has it; returns what was not yet reported.

        Raises `Unavailable` when the store stays silent for as long as the lease lasts.
        """
        if not await self._feed.claim():
            self._end = "leased_elsewhere"
            return self._report("noop")
        self._read_up_to = self._written_up_to = self._reported_up_to = await self._feed.position()
        try:
            async with asyncio.TaskGroup() as group:
                others = [group.create_task(self._read()), group.create_task(self._report_regularly())]
                await self._write()
                for other in others:
                    other.cancel()
        except* Unavailable as failed:
            raise failed.exceptions[0] from None
        return self._report("superseded" if self._end in _ENDS.values() else "noop")

    async def release(self) -> None:
        """Report what is left and give the lease back; a store that does not answer lets it end by itself."""
        if self._counts != self._reported:
            self._run.report(self._report("ok"))
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT_S):
                await self._feed.release()
        except (Unavailable, TimeoutError) as error:
            self._say("lease is left to end by itself", error)

    # --- reading ---------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        in_vain = 0
        while in_vain < self._limits.restarts_in_vain:
            before = self._counts["read"]
            try:
                await self._read_once()
            except SourceMissing as error:
                self._why = str(error)
                break
            except Unavailable as error:
                self._why = str(error)
                self._say("source broke off, reading on", error)
            in_vain = 0 if self._counts["read"] > before else in_vain + 1
            self._counts["restarts"] += 1
            await asyncio.sleep(min(self._limits.restart_seconds * 2**in_vain, self._limits.restart_seconds_most))
        self._queue.close()

    async def _read_once(self) -> None:
        async with aclosing(self._source.lines(self._read_up_to)) as lines:
            async for line in lines:
                if self._source.live:
                    self._queue.put(line)
                else:
                    await self._queue.put_when_room(line)
                self._read_up_to = line.position or None
                self._counts["read"] += 1
                if self._counts["read"] % LINES_PER_TURN == 0:
                    await asyncio.sleep(0)

    # --- writing ---------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        """Write until the queue is closed and empty or the lease is lost; an empty batch renews the lease."""
        clock, limits = self._run.clock, self._limits
        saved_at = clock.monotonic() - limits.save_seconds
        while True:
            gather_s = max(0.0, saved_at + limits.save_seconds - clock.monotonic())
            lines = await self._queue.take(
                limits.save_lines, limits.batch_bytes, gather_s=gather_s, idle_s=limits.lease_seconds / 3
            )
            verdict = await self._send(lines, self._queue.take_dropped())
            if verdict in _ENDS:
                self._end = _ENDS[verdict]
                return
            if not lines and self._queue.closed:
                return
            saved_at = clock.monotonic()

    async def _send(self, lines: list[LogLine], dropped: int) -> Verdict:
        entries = [self._rendered(line) for line in lines]
        if dropped:
            entries.insert(0, render_dropped(dropped, self._source.name))
            self._counts["dropped"] += dropped
            self._say("too many lines for the store, dropping", dropped)
        position = lines[-1].position if lines else ""
        verdict, published = await self._write_surely(entries, position)
        if verdict not in _ENDS and lines:
            self._counts["written"] += len(lines)
            self._counts["published"] += published
            self._written_up_to = position or None
            at = lines[-1].at
            self._lag = max(0.0, self._run.clock.wall() - at) if at is not None and self._source.live else None
        return verdict

    async def _write_surely(self, entries: list[str], position: str) -> tuple[Verdict, int]:
        """Try again while the lease may still be ours; a batch that did go through is not written twice."""
        until = self._run.clock.monotonic() + self._limits.lease_seconds
        while True:
            try:
                return await self._feed.write(entries, position)
            except Unavailable as error:
                if self._run.clock.monotonic() >= until:
                    raise
                self._say("store does not answer, trying again", error)
            await asyncio.sleep(RESEND_AFTER_S)

    def _rendered(self, line: LogLine) -> str:
        message = self._redact(line.message)
        self._counts["redacted"] += message != line.message
        return render(line, message, self._source.name)

    # --- telling ---------------------------------------------------------------------------------------------------

    async def _report_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._limits.report_seconds)
            self._run.report(self._report("ok"))

    def _report(self, outcome: str) -> TaskReport:
        """Return what happened since the last report."""
        now = self._run.clock.monotonic()
        seconds = now - self._reported_at
        delta = {name: count - self._reported[name] for name, count in self._counts.items()}
        before, self._reported_up_to = self._reported_up_to, self._written_up_to
        self._reported, self._reported_at = dict(self._counts), now
        rates = {
            "lines_per_s": round(delta["written"] / seconds, 3) if seconds > 0 else 0.0,
            "source": self._source.name,
        }
        return TaskReport.model_validate({
            "task": self._run.task.policy.coroutine,
            "run_id": self._run.run_id,
            "outcome": outcome,
            "reason": "" if outcome == "ok" else self._end,
            "items_in": delta["read"],
            "created": delta["written"],
            "rejected": {"dropped": delta["dropped"]} if delta["dropped"] else {},
            "cursor_before": before,
            "cursor_after": self._written_up_to,
            "lag_s": self._lag,
            "duration_ms": seconds * 1000,
            "errors": [self._why] if self._why and outcome != "ok" else [],
            "extra": {**delta, **rates},
        })  # fmt: skip

    def _say(self, what: str, why: object) -> None:
        """Log each kind of trouble once in a while: what is logged here may come back as a line of the source."""
        now = self._run.clock.monotonic()
        before = self._said.get(what)
        self._said[what], spoken = admit(before, now, per_second=1 / self._limits.log_seconds, burst=1)
        if spoken:
            held_back = before.held_back if before else 0
            self._run.logger.warning(
                "journal stream %s: %s: %s (%d like it not logged)", self._source.name, what, why, held_back
            )
