"""`bgtasks up`: run a folder of tasks on this machine, on several worker processes.

Not here: the session (`local`).
"""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from background_tasks.api import names
from background_tasks.api.duration import parse_duration
from background_tasks.cli.pool import pool_options, store_urls
from background_tasks.engine.clock import SystemClock
from background_tasks.errors import Refused
from background_tasks.local.screen import Output, show
from background_tasks.local.summary import Summary
from background_tasks.local.up import Session, UpSettings
from background_tasks.sources.contents import survey

MAX_WORKERS = 64


def up(
    *,
    file: Annotated[list[Path], typer.Option("--file", "-f", help="A file or folder of tasks; may be given again.")],
    workers: Annotated[int, typer.Option(min=1, max=MAX_WORKERS, help="Worker processes.")] = 2,
    port: Annotated[int, typer.Option(min=0, max=65_000, help="Serve the state here; metrics of workers above.")] = 0,
    for_: Annotated[str | None, typer.Option("--for", help="Stop by itself, such as 30s, once all are ready.")] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="json: one summary at the end.")] = Output.AUTO,
    redis_url: Annotated[str | None, typer.Option(help="Use this Redis instead of an embedded one.")] = None,
    graph_url: Annotated[str | None, typer.Option(help="Use this FalkorDB instead of an embedded one.")] = None,
    module: Annotated[list[str] | None, typer.Option(help="A module with tasks; may be given again.")] = None,
    pool: Annotated[str, typer.Option(help="Whose tasks are run.")] = names.DEFAULT_POOL,
    data: Annotated[Path | None, typer.Option(help="Keep the embedded stores' data in this folder.")] = None,
) -> None:
    """Run tasks from YAML on this machine: worker processes over Redis and FalkorDB, embedded unless given.

    Files are watched: an edit is armed at once. Ctrl-C drains and stops; a second cancels, a third kills.
    """
    began_at = SystemClock().wall()
    settings = settings_of(
        file,
        workers=workers,
        port=port,
        lasting=for_,
        stores=(redis_url, graph_url),
        modules=module,
        pool=pool,
        data=data,
    )
    summary = asyncio.run(_up(settings, output, began_at))
    tell(summary, output)


def settings_of(
    roots: list[Path],
    *,
    workers: int,
    lasting: str | None,
    port: int = 0,
    stores: tuple[str | None, str | None] = (None, None),
    modules: list[str] | None = None,
    pool: str = names.DEFAULT_POOL,
    data: Path | None = None,
) -> UpSettings:
    """Read what was typed, and what the pool's document says. Raises `Refused` for a path or duration that is wrong."""
    document = survey(roots, pool).pools.get(pool)
    options = pool_options(document)
    redis_url, graph_url = (typed or told for typed, told in zip(stores, store_urls(document), strict=True))
    return UpSettings(
        roots=tuple(roots),
        workers=workers,
        pool=pool,
        slots=options["slots"],
        drain_timeout=options["drain_timeout"],
        port=port,
        duration=None if lasting is None else _seconds(lasting),
        redis_url=redis_url,
        graph_url=graph_url,
        modules=tuple(modules or ()),
        data=data,
    )


def tell(summary: Summary, output: Output) -> None:
    """Print what a session came to: one JSON line, or a few words."""
    if output is Output.JSON:
        typer.echo(json.dumps(summary.as_json()))
        return
    counts = ", ".join(f"{count} {word.replace('_', ' ')}" for word, count in summary.runs.items())
    typer.echo(f"{summary.tasks} tasks on {summary.workers} workers: {counts}; {summary.doubled} doubled")
    if summary.never_ran:
        typer.echo(f"never ran: {', '.join(summary.never_ran)}")


async def _up(settings: UpSettings, output: Output, began_at: float) -> Summary:
    clock = SystemClock()
    session = Session(settings, clock, began_at)
    async with session.stores(), asyncio.TaskGroup() as group:
        showing = group.create_task(show(session, output, Console(), clock))
        summary = await session.run()
        showing.cancel()
    return summary


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise Refused(f"--for is {text!r}: write a duration such as 30s or 5m") from error
