"""The terminal view of `bgtasks up`: a picture of the state, drawn anew a few times a second.

Not here: reading anything. One state in, one Rich renderable out.
"""

from datetime import UTC, datetime

from rich.console import Group, JustifyMethod, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from background_tasks.domain.model import Outcome, RunRecord
from background_tasks.local.state import PoolState, TaskLine, WorkerLine

GOOD = frozenset({Outcome.SUCCEEDED, Outcome.SKIPPED})
STYLES = {Outcome.SUCCEEDED: "green", Outcome.SKIPPED: "dim", Outcome.CANCELLED: "yellow", Outcome.LOST: "yellow"}
COLUMNS = {"TASK": 25, "COROUTINE": 24, "LAST": 10, "AGO": 6, "LATE": 6, "OK": 5, "NOT": 4, "WORKER": 9}
"""Title -> width; the message takes what is left."""
NUMBERS = frozenset({"AGO", "LATE", "OK", "NOT"})
LATE_S = 1.0
"""Later than this is worth a colour."""


def view(state: PoolState, now: float, height: int = 40) -> RenderableType:
    """Draw the whole screen; `now` is wall seconds, `height` the terminal's lines."""
    parts: list[RenderableType] = [_headline(state, now), _workers(state)]
    if state.happened:
        parts.append(_happened(state))
    if state.refused:
        parts.append(Panel("\n".join(state.refused), title="refused", border_style="red", expand=False))
    if state.trouble:
        parts.append(Text(state.trouble, style="bold red"))
    room = height - 12 - len(state.workers) - 2 * len(state.refused) - (4 if state.happened else 0)
    parts.append(_tasks(state, now, max(room, 5)))
    return Group(*parts)


def line(run: RunRecord) -> str:
    """Tell one run in a line, for output that is no terminal."""
    at = datetime.fromtimestamp(run.ended_at, UTC).strftime("%H:%M:%S")
    why = run.message or run.reason
    took = run.ended_at - run.started_at
    return f"{at} {run.worker:<12} {run.task:<36} {run.outcome.value:<10} {took:7.3f}s{'  ' + why if why else ''}"


def _headline(state: PoolState, now: float) -> Text:
    totals = state.totals()
    bad = sum(count for outcome, count in totals.items() if outcome not in GOOD)
    text = Text.assemble(
        ("background-tasks", "bold"),
        f"  {len(state.tasks)} tasks, {_duration(now - state.began_at)}  ",
        (f"{totals[Outcome.SUCCEEDED]} succeeded", "green"),
        "  ",
        (f"{bad} not", "red" if bad else "dim"),
    )
    if not state.tasks:
        text.append("\nno tasks yet: put a BackgroundTask into the folder; it is armed at once", style="yellow")
    return text


def _workers(state: PoolState) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("WORKER", "PID", "SLOTS", "RESTARTS", "MEMORY"):
        table.add_column(title)
    for worker in state.workers:
        table.add_row(*_worker(worker))
    return table


def _worker(worker: WorkerLine) -> tuple[RenderableType, ...]:
    standing = "green" if worker.alive else "yellow"
    return (
        Text(worker.name, style=standing),
        str(worker.pid or "starting"),
        " ".join(str(slot) for slot in worker.slots) or Text("none yet", style="dim"),
        Text(str(worker.restarts), style="yellow" if worker.restarts else "dim"),
        "" if worker.rss_mib is None else f"{worker.rss_mib:.0f} MiB",
    )


def _happened(state: PoolState) -> RenderableType:
    told = [Text.assemble((figure, "bold cyan"), f" {label}") for label, figure in state.happened]
    return Panel(Text("   ").join(told), border_style="cyan", expand=False)


def _tasks(state: PoolState, now: float, room: int) -> RenderableType:
    table = Table(box=None, expand=True, padding=(0, 2, 0, 0), header_style="dim")
    for title, width in COLUMNS.items():
        justify: JustifyMethod = "right" if title in NUMBERS else "left"
        table.add_column(title, justify=justify, width=width, no_wrap=True, overflow="ellipsis")
    table.add_column("MESSAGE", no_wrap=True, overflow="ellipsis", ratio=1)
    lines = sorted(state.tasks.values(), key=lambda line: line.task.name)
    for of_one in lines[:room]:
        table.add_row(*_task(of_one, now))
    hidden = len(lines) - room
    return table if hidden <= 0 else Group(table, Text(f"… and {hidden} more; a taller window shows them", style="dim"))


def _task(of_one: TaskLine, now: float) -> tuple[RenderableType, ...]:
    last, task = of_one.last, of_one.task
    name = task.name.removeprefix("default/")
    bad = sum(count for outcome, count in of_one.counts.items() if outcome not in GOOD)
    if last is None:
        return (name, task.policy.coroutine, Text("waiting", style="dim"), "", "", "0", "", "", "")
    return (
        name,
        task.policy.coroutine,
        Text(last.outcome.value, style=STYLES.get(last.outcome, "red")),
        _duration(max(now - last.ended_at, 0)),
        Text(_late(last.lateness), style="yellow" if last.lateness > LATE_S else "dim"),
        str(of_one.counts[Outcome.SUCCEEDED]),
        Text(str(bad) if bad else "", style="red"),
        last.worker.split(".")[0],
        Text(last.message or last.reason, style="dim"),
    )


def _late(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds < LATE_S else _duration(seconds)


def _duration(seconds: float) -> str:
    """Say a length of time in one unit or two: 4s, 3m05s, 2h10m."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"
