"""`bgtasks demo`: the samples on several workers, over a small conversation and a journal that ship with the project.

Not here: the session (`local.up`), what is seeded (`local.demo`).
"""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from background_tasks.cli.up import MAX_WORKERS, settings_of, tell
from background_tasks.engine.clock import SystemClock
from background_tasks.errors import Refused
from background_tasks.local.demo import count, count_for_ever, read_conversation, seed
from background_tasks.local.screen import Output, save_picture, show
from background_tasks.local.summary import Summary
from background_tasks.local.up import Session
from background_tasks.services.graph import connect as connect_graph
from background_tasks.services.redis import connect

SAMPLES = Path("manifests/samples")


def demo(
    *,
    samples: Annotated[Path, typer.Option(help="The folder of samples.")] = SAMPLES,
    workers: Annotated[int, typer.Option(min=1, max=MAX_WORKERS, help="Worker processes.")] = 2,
    for_: Annotated[str | None, typer.Option("--for", help="Stop by itself, such as 30s.")] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="json: one summary at the end.")] = Output.AUTO,
    picture: Annotated[Path | None, typer.Option(help="Save the last view as an SVG file.")] = None,
) -> None:
    """Run the samples and show prompts fired, journal lines streamed and edges decayed.

    No chat model is called: none of these tasks needs one.
    """
    began_at = SystemClock().wall()
    conversation = samples / "data" / "conversation.jsonl"
    if not conversation.is_file():
        raise Refused(f"{conversation} is not there; run this in a clone of the project, or give --samples")
    if picture is not None and not picture.parent.is_dir():
        raise Refused(f"--picture is {str(picture)!r}: the folder {picture.parent} is not there; make it first")
    settings = settings_of([samples], workers=workers, lasting=for_)
    summary, happened = asyncio.run(_demo(Session(settings, SystemClock(), began_at), conversation, output, picture))
    tell(summary, output)
    if output is not Output.JSON:
        typer.echo("; ".join(f"{figure} {label}" for label, figure in happened))


async def _demo(
    session: Session, conversation: Path, output: Output, picture: Path | None
) -> tuple[Summary, tuple[tuple[str, str], ...]]:
    clock = SystemClock()
    if picture is not None:
        session.before_stop = lambda: save_picture(session.state, picture, clock)
    async with session.stores(), AsyncExitStack() as stack:
        redis, graph = connect(session.redis_url), connect_graph(session.graph_url or "")
        stack.push_async_callback(redis.aclose)
        stack.push_async_callback(graph.aclose)
        await seed(read_conversation(conversation), redis, graph, clock.wall())
        async with asyncio.TaskGroup() as group:
            showing = group.create_task(show(session, output, Console(), clock))
            counting = group.create_task(count_for_ever(redis, session.state))
            summary = await session.run()
            showing.cancel()
            counting.cancel()
        return summary, await count(redis, session.state.runs)
