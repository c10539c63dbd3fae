"""A live log feed: the lines of one source go to viewers and into a short buffer, and after a crash none is missing.

Not here: how sources are read (`services`), the search over old lines. Each source has one streamer, whatever the
number of workers; the others report `noop: leased_elsewhere` and come again after the restart delay.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from background_tasks.authoring import RunContext, TaskReport, background_task
from background_tasks.errors import InvalidParams
from background_tasks.knowledge.context import run_context, service, setting
from background_tasks.knowledge.journal_feed import TASK, JournalFeed
from background_tasks.knowledge.keys import keys_of_run
from background_tasks.knowledge.log_streaming import UNAVAILABLE, LogStreaming, StreamLimits
from background_tasks.services.journal import Journal
from background_tasks.services.log_sources import FileTail, LogSource, ProcessLog

if TYPE_CHECKING:
    from redis.asyncio import Redis

RESTART_DELAY_S = 10.0
ROOTS_SETTING = "BGTASKS_LOG_ROOTS"
"""Folders, separated as in PATH, that `file` must lie below; not set: any file that the worker may read."""
PROCESS_LOG = "process_log"
"""Name of the service that keeps this process's own log, where the worker offers one."""


class Params(StreamLimits):
    """What `spec.params` may say."""

    source: Literal["auto", "journald", "file", "process"] = Field(
        "auto", description="auto: `file` where it is given, else journald, else this process's own log."
    )
    unit: str = Field(
        "stargazer",
        pattern=r"^([A-Za-z0-9_@:.\\][A-Za-z0-9_@:.\\-]{0,254})?$",
        description="systemd unit, also in a file; empty: all.",
    )
    file: Path | None = Field(None, description="A journal file (*.journal) or a text file.")
    channel: str = Field("stargazer:journal", min_length=1, description="Pub/Sub channel of the viewers.")
    buffer_lines: int = Field(5_000, ge=1, description="About how many last lines the buffer keeps.")
    first_lines: int = Field(100, ge=0, description="Lines of journald to begin with, when it was never streamed.")
    line_bytes: int = Field(1024 * 1024, ge=1_024, description="A source's line is read up to here.")
    line_characters: int = Field(16_384, ge=80, description="A message is published up to here.")
    poll_seconds: float = Field(0.25, gt=0, description="How often a text file is looked at.")
    stop_grace_seconds: float = Field(3.0, ge=0, le=3.5, description="From asking journalctl to end to killing it.")

    @model_validator(mode="after")
    def _renews_in_time(self) -> "Params":
        if self.lease_seconds < 3 * self.save_seconds:
            raise ValueError(f"lease_seconds is {self.lease_seconds:g}; give at least 3 x save_seconds")
        return self


@background_task(
    interval=RESTART_DELAY_S,
    name=TASK,
    requires_redis=True,
    params=Params,
    schedule={"continuous": {"restartDelay": f"{RESTART_DELAY_S:g}s"}},
    singleton=False,
)
async def journal_stream_task(redis: "Redis") -> TaskReport:
    """Stream one log until cancelled; returns a noop when there is no source, or somebody else streams it."""
    run = run_context(Params, TASK)
    report = TaskReport(task=TASK, run_id=run.run_id, outcome="noop", reason=UNAVAILABLE)
    for source in sources(run.params, service(PROCESS_LOG), setting(ROOTS_SETTING, "")):
        report = await stream(redis, run, source)
        if report.reason != UNAVAILABLE:
            break
    return report


async def stream(redis: "Redis", run: RunContext[Params], source: LogSource) -> TaskReport:
    """Stream one source; the lease is given back and no child is left, however it ends."""
    feed = JournalFeed(
        redis,
        keys_of_run(),
        source.name,
        channel=run.params.channel,
        buffer_lines=run.params.buffer_lines,
        lease_s=run.params.lease_seconds,
    )
    streaming = LogStreaming(run, run.params, source, feed)
    try:
        return await streaming.run()
    finally:
        await streaming.release()


def sources(params: Params, process_log: ProcessLog | None, roots: str = "") -> tuple[LogSource, ...]:
    """Name the sources that params ask for, the preferred first. Raises `InvalidParams` for a file outside `roots`."""
    own: tuple[LogSource, ...] = () if process_log is None else (process_log,)
    match params.source:
        case "file" | "auto" if params.file is not None:
            return (_file(params, params.file, roots),)
        case "file":
            raise InvalidParams("spec.params.source is 'file' without a file; set spec.params.file")
        case "process":
            return own
        case "journald":
            return (_journal(params, None),)
    return (_journal(params, None), *own)


def _file(params: Params, file: Path, roots: str) -> LogSource:
    path = file.resolve()
    if roots and not any(path.is_relative_to(Path(root).resolve()) for root in roots.split(os.pathsep) if root):
        raise InvalidParams(f"spec.params.file is {str(file)!r}; it must lie below {roots} ({ROOTS_SETTING})")
    if path.suffix in (".journal", ".journal~"):
        return _journal(params, path)
    return FileTail(path, poll_s=params.poll_seconds, line_bytes=params.line_bytes, characters=params.line_characters)


def _journal(params: Params, file: Path | None) -> Journal:
    return Journal(
        params.unit,
        file=file,
        first_lines=params.first_lines,
        line_bytes=params.line_bytes,
        characters=params.line_characters,
        stop_grace_s=params.stop_grace_seconds,
    )
