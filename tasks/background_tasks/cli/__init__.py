"""The command `bgtasks`: argv in, table or JSON out, exit code. The only room that reads the environment.

A command is one file with one function of its name, and one line in `COMMANDS`. A file is imported when its command
is run: `bgtasks --help` costs what Typer costs.

Exit codes: 0 fine; 1 something was found or failed; 2 the command or its input is wrong; 130 interrupted.
"""

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from background_tasks.errors import BackgroundTaskError, Refused

PROGRAM = "bgtasks"
FAILED = 1
USAGE = 2
INTERRUPTED = 130
"""128 + SIGINT, as shells count; Typer gives it after Ctrl-C."""

COMMANDS = {
    "demo": "Run the samples over a small conversation and a journal.",
    "lint": "Check YAML and JSON files of tasks and pools.",
    "up": "Run tasks from YAML on this machine, on several worker processes.",
    "worker": "Run one worker process; `up` starts several of these.",
}
"""Name -> what the overview says of it. The function is `<name>` in `cli/<name>.py`."""

_ABOUT = "Asyncio background tasks that run again and again: declared in YAML, leader-elected, explained."
_EXITS = "Exit codes: 0 fine, 1 something was found or failed, 2 the command or its input is wrong, 130 interrupted."


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit. `argv` without the program's name; None: that of the process."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        build(arguments)(arguments, prog_name=PROGRAM)
    except* BackgroundTaskError as group:
        errors = list(_leaves(group))
        for error in errors:
            typer.echo(f"{PROGRAM}: {error}", err=True)
        sys.exit(USAGE if all(isinstance(error, Refused) for error in errors) else FAILED)


def _leaves(group: BaseExceptionGroup) -> Iterator[BaseException]:
    """Yield the errors of a group, however deep its asyncio tasks were nested."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def build(arguments: Sequence[str]) -> typer.Typer:
    """Build the app for one call: the command that is named is real, the others only show what they are."""
    app = typer.Typer(
        help=_ABOUT,
        epilog=_EXITS,
        no_args_is_help=True,
        pretty_exceptions_show_locals=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    completing = f"_{PROGRAM.upper()}_COMPLETE" in os.environ
    named = next((word for word in arguments if not word.startswith("-")), None)
    for name, line in COMMANDS.items():
        real = completing or name == named
        app.command(name, help=None if real else line)(_load(name) if real else _shown)
    return app


def _load(name: str) -> Callable[..., None]:
    function: Callable[..., None] = getattr(importlib.import_module(f"{__name__}.{name}"), name)
    return function


def _shown() -> None:
    """Stand in the overview for a command that is not called."""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {version('background-tasks')}")
        raise typer.Exit


def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that stand before the command."""
