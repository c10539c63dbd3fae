"""Worker processes of `bgtasks up`: started, watched, started again when they die, stopped in order.

Not here: what a worker does (`worker`), or who holds which slot (the workers settle that between themselves).
"""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from background_tasks.local.embedded import die_with_parent

LAST_WORDS = 500
"""Characters of a worker's last line that are kept."""
RESTART_FIRST_S = 0.5
RESTART_MAX_S = 10.0
HELD_S = 30.0
"""A worker that lived this long starts again at once; one that dies at birth waits longer and longer."""
STOP_GRACE_S = 25.0
"""Beyond the drain timeout, before a worker is killed: it may cancel, write and release meanwhile."""


@dataclass(slots=True, kw_only=True)
class WorkerProcess:
    """One place for a worker: its present process and how often it had to be started again."""

    name: str
    log: Path
    pid: int | None = None
    restarts: int = 0
    last_exit: int | None = None
    last_words: str = ""
    """The end of its log when it ended by itself."""
    incarnation: int = 0
    renewing: bool = False
    """Its process was asked to end so that another one reads what has changed."""
    process: asyncio.subprocess.Process | None = field(default=None, repr=False)
    born: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def member(self) -> str:
        """Identity in the slot protocol: never used twice."""
        return f"{self.name}.{self.incarnation}"

    async def replaced(self, incarnation: int) -> None:
        """Return when a later process than that one has started."""
        while self.incarnation <= incarnation or self.pid is None:
            self.born.clear()
            await self.born.wait()


class Workers:
    """N worker processes. `command(member)` gives the argv of one; use `run` inside a TaskGroup."""

    def __init__(self, count: int, command: Callable[[WorkerProcess], Sequence[str]], folder: Path) -> None:
        self.places = [WorkerProcess(name=f"worker-{n}", log=folder / f"worker-{n}.log") for n in range(1, count + 1)]
        self._command = command
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()
        self._killing = asyncio.Event()
        self._changed = asyncio.Event()
        self._document: str | None = None

    async def run(self, *, drain_timeout: float) -> None:
        """Keep every place filled until `stop`; return when all processes are gone."""
        async with asyncio.TaskGroup() as group:
            kept = [group.create_task(self._keep(place, drain_timeout), name=place.name) for place in self.places]
            rolling = group.create_task(self._roll(), name="roll")
            await asyncio.wait(kept)
            rolling.cancel()

    def stop(self) -> None:
        """Drain all workers; a second call cancels what runs, a third kills."""
        if self._hurrying.is_set():
            self._killing.set()
        if self._stopping.is_set():
            self._hurrying.set()
        self._stopping.set()

    def renew(self, document: str) -> None:
        """Start the workers anew, one after the other, if what they read at their start has changed."""
        if self._document is not None and self._document != document:
            self._changed.set()
        self._document = document

    async def _roll(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            for place in self.places:
                before, process = place.incarnation, place.process
                if process is not None and process.returncode is None:
                    place.renewing = True
                    process.send_signal(signal.SIGTERM)
                    await place.replaced(before)

    async def _keep(self, place: WorkerProcess, drain_timeout: float) -> None:
        loop = asyncio.get_running_loop()
        backoff = RESTART_FIRST_S
        while not self._stopping.is_set():
            born = loop.time()
            await self._live(place, drain_timeout)
            if self._stopping.is_set():
                return
            if place.renewing:
                place.renewing = False
                continue
            place.restarts += 1
            backoff = RESTART_FIRST_S if loop.time() - born > HELD_S else min(backoff * 2, RESTART_MAX_S)
            await _first(self._stopping.wait(), asyncio.sleep(backoff))

    async def _live(self, place: WorkerProcess, drain_timeout: float) -> None:
        """Run one process of a place from start to reaped."""
        place.incarnation += 1
        with place.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self._command(place),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches `up` alone, which then stops the workers in order
                preexec_fn=die_with_parent,
            )
        place.process, place.pid = process, process.pid
        place.born.set()
        try:
            await _first(process.wait(), self._stopping.wait())
            await self._end(process, drain_timeout)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            place.process, place.pid, place.last_exit = None, None, process.returncode
            place.last_words = _last_line(place.log)

    async def _end(self, process: asyncio.subprocess.Process, drain_timeout: float) -> None:
        """Ask a process to drain, to cancel when told to hurry; who returns leaves it to be killed."""
        for told_more, patience in ((self._hurrying, drain_timeout + STOP_GRACE_S), (self._killing, STOP_GRACE_S)):
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                await _first(process.wait(), told_more.wait(), asyncio.sleep(patience))
            if not told_more.is_set():
                return


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing")[-LAST_WORDS:]


async def _first(*waits: Awaitable[object]) -> None:
    """Wait for the first of several; the others are cancelled and awaited."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_forget_result(wait)) for wait in waits]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()


async def _forget_result(wait: Awaitable[object]) -> None:
    await wait


def python_module(module: str, *arguments: str) -> list[str]:
    """Return the argv that runs a module in this interpreter, with warnings and environment as they are here."""
    return [sys.executable, "-m", module, *arguments]
