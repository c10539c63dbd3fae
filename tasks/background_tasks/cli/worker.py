"""`bgtasks worker`: one worker process, over files and a Redis or in a cluster; `bgtasks up` starts several of these.

Not here: what a worker does (`worker`).
"""

import asyncio
import os
import secrets
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from background_tasks.api import names
from background_tasks.cli.pool import pool_options
from background_tasks.domain.model import MemberId
from background_tasks.engine.clock import SystemClock
from background_tasks.errors import Refused
from background_tasks.knowledge.redaction import line_redactor
from background_tasks.services.log_sources import ProcessLog
from background_tasks.sources.contents import survey
from background_tasks.sources.files import FileSource
from background_tasks.telemetry.logs import configure
from background_tasks.worker.cluster_settings import ClusterSettings
from background_tasks.worker.compose import run_worker
from background_tasks.worker.settings import WorkerSettings


def worker(
    *,
    cluster: Annotated[bool, typer.Option("--cluster", help="Serve a pool of a cluster, as BGTASKS_* say.")] = False,
    file: Annotated[
        list[Path] | None, typer.Option("--file", "-f", help="A file or folder of tasks; may be given again.")
    ] = None,
    redis_url: Annotated[str | None, typer.Option(help="Leases, ledger, status, and the tasks' Redis.")] = None,
    graph_url: Annotated[str | None, typer.Option(help="The tasks' FalkorDB.")] = None,
    pool: Annotated[str, typer.Option(help="Whose tasks are run.")] = names.DEFAULT_POOL,
    member: Annotated[str | None, typer.Option(help="Name of this worker; a random part is added.")] = None,
    module: Annotated[list[str] | None, typer.Option(help="A module with tasks; may be given again.")] = None,
    host: Annotated[str, typer.Option(help="Where probes and metrics listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of probes and metrics; 0: any free one.")] = 0,
) -> None:
    """Run one worker until it is told to stop: SIGTERM drains, a second one cancels.

    In a pod, `--cluster` and nothing else: the operator sets the environment. On a machine, `--file` and `--redis-url`.
    """
    process_log = ProcessLog()
    configure(os.environ, redact=line_redactor(), keep=process_log)
    sys.path.insert(0, str(Path.cwd()))
    unique = secrets.token_hex(3)
    if cluster:
        if file or redis_url or graph_url or module or member:
            raise Refused("--cluster takes all it needs from BGTASKS_* variables; give no other option with it")
        from background_tasks.worker.cluster import run_cluster_worker  # the `kubernetes` extra

        _run(run_cluster_worker(ClusterSettings.from_env(os.environ, unique=unique), process_log))
        return
    if not file or redis_url is None:
        raise Refused("a worker needs --file and --redis-url, or --cluster alone")
    document = survey(file, pool).pools.get(pool)
    settings = WorkerSettings(
        pool=pool,
        member=MemberId(f"{member or socket.gethostname()}.{unique}"),
        redis_url=redis_url,
        graph_url=graph_url,
        host=host,
        port=port,
        env=dict(os.environ),
        **pool_options(document, tuple(module or ())),
    )
    source = FileSource(file, now=SystemClock().wall, pool=pool)
    _run(run_worker(settings, source, process_log))


def _run(life: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:  # no wheel for this platform: asyncio's own loop serves as well, at a higher cost per run
        asyncio.run(life)
    else:
        uvloop.run(life)
