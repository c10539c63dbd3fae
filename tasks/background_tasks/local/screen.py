"""Shows a session while it runs: a live view on a terminal, a line per run elsewhere, nothing for `-o json`.

Not here: what is drawn (`view`), what runs (`up`).
"""

import asyncio
import io
import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.live import Live

from background_tasks.domain.model import Outcome, RunRecord
from background_tasks.local.state import PoolState
from background_tasks.local.up import Session
from background_tasks.local.view import line, view
from background_tasks.ports import Clock

FRAMES_PER_S = 4
PICTURE_COLUMNS, PICTURE_LINES = 132, 48
SVG_WITHOUT_WEB_FONTS = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
"""A picture in a README loads nothing from elsewhere."""


class Output(StrEnum):
    """How a session is shown."""

    AUTO = "auto"  # live on a terminal, else text
    LIVE = "live"
    TEXT = "text"
    JSON = "json"  # nothing until the summary


async def show(session: Session, output: Output, console: Console, clock: Clock) -> None:
    """Show until cancelled."""
    live = output is Output.LIVE or (output is Output.AUTO and console.is_terminal)
    if live:
        await _live(session.state, console, clock)
    elif output is not Output.JSON:
        session.on_runs = _printer(session.state, console)
        await asyncio.Event().wait()


def save_picture(state: PoolState, path: Path, clock: Clock) -> None:
    """Draw the view as it is now into an SVG file."""
    console = Console(record=True, width=PICTURE_COLUMNS, height=PICTURE_LINES, file=io.StringIO(), force_terminal=True)
    console.print(view(state, clock.wall(), PICTURE_LINES))
    console.save_svg(str(path), title="make demo", code_format=SVG_WITHOUT_WEB_FONTS)


async def _live(state: PoolState, console: Console, clock: Clock) -> None:
    with Live(console=console, screen=True, auto_refresh=False) as screen:
        while True:
            screen.update(view(state, clock.wall(), console.height), refresh=True)
            await asyncio.sleep(1 / FRAMES_PER_S)


def _printer(state: PoolState, console: Console) -> Callable[[Sequence[RunRecord]], None]:
    """Print each run once it ended, and each refusal once."""
    told: set[str] = set()

    def tell(runs: Sequence[RunRecord]) -> None:
        for sentence in state.refused:
            if sentence not in told:
                told.add(sentence)
                console.print(f"refused  {sentence}", markup=False, highlight=False, soft_wrap=True)
        for run in runs:
            if run.outcome is not Outcome.SKIPPED:
                console.print(line(run), markup=False, highlight=False, soft_wrap=True)

    return tell
