"""Runs away from the worker's loop: on a loop of its own in a thread, or in a child process.

Not here: when to cancel (`executor`). Both answer a cancellation only when the work has stopped, so that a slot is not
given away under it. A thread that blocks cannot be stopped by anybody: the executor tells of it and its slot stays
ours. A child process is terminated, then killed with everything it started, and reaped.
"""

import asyncio
import contextvars
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel

from background_tasks.authoring import RunContext, TaskReport
from background_tasks.domain.model import Isolation
from background_tasks.engine.binding import Binding
from background_tasks.engine.reporting import Unwritable
from background_tasks.engine.run import Call
from background_tasks.errors import NotLeader, Refused, Superseded

TERMINATE_S = 3.0
"""A child that was terminated has so long to clean up before it is killed."""
EXPELLED = ((signal.SIGTERM, TERMINATE_S), (signal.SIGKILL, None))
"""What ends a child that is to stop: a signal, then how long to wait for its end."""
DONE = ((None, TERMINATE_S), *EXPELLED)
"""What ends a child that has told its result."""
LINE_BYTES = 4 * 1024 * 1024
"""Longest message between worker and child."""

_log = logging.getLogger(__name__)


def call_for(isolation: Isolation, binding: Binding) -> Call:
    """Return what the executor awaits."""
    if isolation is Isolation.LOOP:
        return binding.call
    if isolation is Isolation.THREAD:
        return lambda context: in_thread(binding.call, context)
    entry = binding.entry
    if entry is None:
        raise Refused("isolation Process needs a coroutine that a child can import: a module-level function")
    return lambda context: in_process(entry, context)


type _Ended = tuple[object, BaseException | None]
"""What a coroutine returned, or what it raised."""

# --- a thread ----------------------------------------------------------------------------------------------------


async def in_thread(call: Call, context: RunContext[Any]) -> object:
    """Run on a new loop in a new thread; cancellations are handed on to it. Returns only when the thread is done."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_Ended] = loop.create_future()
    thread = _LoopThread(call, context, loop, done)
    thread.start()
    while not done.done():
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError:
            thread.cancel()
    result, error = done.result()
    if error is not None:
        raise error
    return result


class _LoopThread(threading.Thread):
    """A thread with a loop for one run. A daemon: should it block for ever, the process can still end."""

    def __init__(
        self, call: Call, context: RunContext[Any], loop: asyncio.AbstractEventLoop, done: "asyncio.Future[_Ended]"
    ) -> None:
        super().__init__(name=f"run {context.run_id}", daemon=True)
        self._call = call
        self._run = context
        self._home = loop
        self._done = done
        self._variables = contextvars.copy_context()
        self._lock = threading.Lock()
        self._inner: tuple[asyncio.AbstractEventLoop, asyncio.Task[_Ended]] | None = None
        self._cancelled = False

    def cancel(self) -> None:
        """Cancel the coroutine on its own loop."""
        with self._lock:
            self._cancelled = True
            if self._inner is not None:
                inner, work = self._inner
                with suppress(RuntimeError):  # its loop has just closed: it is done
                    inner.call_soon_threadsafe(work.cancel)

    def run(self) -> None:
        """Carry out the run and tell the worker's loop."""
        ended: _Ended
        try:
            ended = asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001  # handed to the executor, which judges it
            ended = None, error
        with suppress(RuntimeError):  # the worker's loop is closed: nobody waits
            self._home.call_soon_threadsafe(self._tell, ended)

    async def _main(self) -> "_Ended":
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            work = group.create_task(self._outcome(), context=self._variables)
            with self._lock:
                self._inner = (loop, work)
                if self._cancelled:
                    work.cancel()
        with self._lock:
            self._inner = None
        return work.result()

    async def _outcome(self) -> "_Ended":
        try:
            return await self._call(self._run), None
        except BaseException as error:  # noqa: BLE001  # as a result: a group would wrap it, or end the loop over it
            return None, error

    def _tell(self, ended: "_Ended") -> None:
        if not self._done.done():
            self._done.set_result(ended)


# --- a child process ---------------------------------------------------------------------------------------------


async def in_process(entry: str, context: RunContext[Any]) -> object:
    """Run `module:attribute` in a child process; a cancellation ends the child before it passes on."""
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "background_tasks.engine.child",
                str(theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
    except BaseException:
        ours.close()
        raise
    try:
        result = await _converse(ours, entry, context, child)
    except BaseException:
        await _end(child, EXPELLED)
        raise
    await _end(child, DONE)
    return result


def _job(entry: str, context: RunContext[Any]) -> dict[str, object]:
    params = context.params
    return {
        "entry": entry,
        "params": params.model_dump(mode="json") if isinstance(params, BaseModel) else params,
        "task": {"uid": context.task.uid, "name": context.task.name, "coroutine": context.task.policy.coroutine},
        "run_id": context.run_id,
        "scheduled_for": context.scheduled_for,
        "attempt": context.attempt,
        "fence": None if context.fence is None else asdict(context.fence),
        "settings": dict(context.settings),
    }


async def _converse(
    ours: socket.socket, entry: str, context: RunContext[Any], child: asyncio.subprocess.Process
) -> object:
    """Give the child its job, and answer it until it has told how it ended."""
    reader, writer = await asyncio.open_connection(sock=ours, limit=LINE_BYTES)
    try:
        writer.write(_line(_job(entry, context)))
        while line := await reader.readline():
            said = json.loads(line)
            match said["say"]:
                case "report":
                    context.report(TaskReport(**said["report"]))
                case "verify":
                    writer.write(_line({"verified": await _refusal(context.verify_leadership())}))
                case "result":
                    return TaskReport(**said["report"]) if said["kind"] == "report" else said["report"]
                case "error":
                    raise _error(said)
        raise RuntimeError(f"the child process ended without a result: {_exit_words(await child.wait())}")
    finally:
        writer.close()


async def _refusal(verification: Coroutine[Any, Any, None]) -> str | None:
    try:
        await verification
    except NotLeader as refused:
        return str(refused)
    return None


def _error(said: dict[str, Any]) -> Exception:
    kinds: dict[str, type[Exception]] = {"Superseded": Superseded, "NotLeader": NotLeader, "Unwritable": Unwritable}
    if said["type"] in kinds:
        return kinds[said["type"]](said["message"])
    _log.error("run failed in its child process\n%s", said["trace"])
    return RuntimeError(f"{said['type']}: {said['message']}")


def _exit_words(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _line(message: object) -> bytes:
    return json.dumps(message, default=str).encode() + b"\n"


async def _end(
    child: asyncio.subprocess.Process, steps: tuple[tuple[signal.Signals | None, float | None], ...]
) -> None:
    """Have no child left, nor anything it started. Cancellations that come meanwhile are answered afterwards."""
    cancelled = False
    for number, patience in steps:
        if number is not None and child.returncode is None:
            _signal_all(child.pid, number)
        cancelled |= await _reaped(child, patience)
    _signal_all(child.pid, signal.SIGKILL)
    if cancelled:
        raise asyncio.CancelledError


async def _reaped(child: asyncio.subprocess.Process, patience: float | None) -> bool:
    """Wait for the child's end, not longer than `patience` seconds; say whether somebody cancelled meanwhile."""
    deadline = None if patience is None else asyncio.get_running_loop().time() + patience
    cancelled = False
    while child.returncode is None:
        try:
            async with asyncio.timeout_at(deadline):
                await child.wait()
        except TimeoutError:
            break
        except asyncio.CancelledError:
            cancelled = True
    return cancelled


def _signal_all(pid: int, number: int) -> None:
    """Signal the child and everything that it started: they are a process group of their own."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
