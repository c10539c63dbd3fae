"""The other end of Process isolation: `python -m background_tasks.engine.child FD` runs one coroutine and tells of it.

Not here: schedules, services. The coroutine gets `ctx` and `params` if it declares them, and nothing else: what a pool
offers lives in the worker. It ends with its parent, whatever ends that one.
"""

import asyncio
import ctypes
import importlib
import inspect
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from functools import partial
from typing import Any

from background_tasks.authoring import RunContext, TaskReport, declaration_of, enter_run
from background_tasks.domain.model import Fence, Interval, Policy, Schedule, Task
from background_tasks.engine.clock import SystemClock
from background_tasks.engine.reporting import kept
from background_tasks.errors import NotLeader, Refused

PR_SET_PDEATHSIG = 1
"""linux/prctl.h: have the kernel kill this process when its parent is gone."""


def main(fd: int) -> None:
    """Carry out the job that comes as the first line."""
    _die_with_parent()
    wire = socket.socket(fileno=fd)
    with asyncio.Runner() as runner:
        runner.run(_main(wire))


def _die_with_parent() -> None:
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent != os.getppid():
        os._exit(1)


async def _main(wire: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=wire, limit=4 * 1024 * 1024)
    me = asyncio.current_task()
    assert me is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)
    job = json.loads(await reader.readline())
    try:
        said = _result(await _call(job, reader, writer), job["task"]["name"])
    except asyncio.CancelledError:
        return  # the worker terminated it and waits for nothing but its end
    except Exception as error:  # noqa: BLE001  # told to the parent, which judges it
        said = {
            "say": "error",
            "type": type(error).__name__,
            "message": "".join(traceback.format_exception_only(error)).strip().split(": ", 1)[-1],
            "trace": traceback.format_exc(),
        }
    _tell(writer, said)
    await writer.drain()
    writer.close()


async def _call(job: Mapping[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> object:
    module, _, attribute = job["entry"].partition(":")
    func = getattr(importlib.import_module(module), attribute)
    declaration = declaration_of(func)
    params = job["params"]
    if declaration is not None and declaration.params is not None:
        params = declaration.params.model_validate(params or {})
    context = _context(job, params, reader, writer)
    enter_run(context)
    offered = {"ctx": context, "params": params}
    wanted = inspect.signature(func).parameters.values()
    missing = [p.name for p in wanted if p.default is p.empty and p.name not in offered and p.kind < p.VAR_POSITIONAL]
    if missing:
        raise Refused(f"isolation Process offers ctx and params, and {job['entry']} also asks for {', '.join(missing)}")
    return await func(**{p.name: offered[p.name] for p in wanted if p.name in offered})


def _context(
    job: Mapping[str, Any], params: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> RunContext[Any]:
    told = job["task"]
    policy = Policy(coroutine=told["coroutine"], schedule=Schedule(cadence=Interval(seconds=1.0)))
    return RunContext(
        task=Task(uid=told["uid"], name=told["name"], policy=policy),
        run_id=job["run_id"],
        params=params,
        scheduled_for=job["scheduled_for"],
        attempt=job["attempt"],
        clock=SystemClock(),
        fence=None if job["fence"] is None else Fence(**job["fence"]),
        settings=job["settings"],
        on_report=lambda report: _tell(writer, {"say": "report", "report": report.model_dump(mode="json")}),
        on_verify=partial(_verify, asyncio.Lock(), reader, writer),
    )


async def _verify(lock: asyncio.Lock, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ask the worker, which holds the lease."""
    async with lock:
        _tell(writer, {"say": "verify"})
        refusal = json.loads(await reader.readline())["verified"]
    if refusal is not None:
        raise NotLeader(refusal)


def _result(result: object, task: str) -> dict[str, object]:
    if isinstance(result, TaskReport):
        return {"say": "result", "kind": "report", "report": result.model_dump(mode="json")}
    report = dict(result) if isinstance(result, Mapping) else {}
    kept(report, task)  # what cannot be told is told as the error that it is
    return {"say": "result", "kind": "plain", "report": report}


def _tell(writer: asyncio.StreamWriter, message: Mapping[str, object]) -> None:
    writer.write(json.dumps(message, default=str).encode() + b"\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
