"""`bgtasks lint`: every fault of the files at once, one line each; nothing is run.

Not here: the checks of one resource (`api`), the reading of files (`sources`).
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from background_tasks.cli.findings import Check, Level, Report, inspect
from background_tasks.sources.loading import check_roots

_WORDS = {Level.ERROR: "finding", Level.WARNING: "warning", Level.NOTE: "note"}


def lint(
    paths: Annotated[
        list[Path], typer.Argument(help="YAML or JSON files, or directories of them.", metavar="FILE|DIR...")
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="text or json.", metavar="FORMAT")] = "text",
    modules: Annotated[
        str, typer.Option(help="Also check task names and params against these modules.", metavar="MODULE,...")
    ] = "",
) -> None:
    """Check YAML and JSON files of tasks and pools.

    Prints one line per finding, `file:line: field: what is wrong; what to write`. Warnings and notes are printed and
    do not count. Exit code: 0 nothing found, 1 findings, 2 a path is not there.
    """
    if output not in ("text", "json"):
        raise typer.BadParameter(f"{output!r} is not known; write text or json", param_hint="--output")
    check_roots(paths)
    report = inspect(paths, _check([module.strip() for module in modules.split(",") if module.strip()]))
    typer.echo(_as_json(report) if output == "json" else _as_text(report))
    if report.count(Level.ERROR):
        raise typer.Exit(1)


def _check(modules: list[str]) -> Check | None:
    if not modules:
        return None
    from background_tasks.cli.registered import registered  # the worker's imports, only where they are wanted

    return registered(modules)


def _as_text(report: Report) -> str:
    lines = []
    for finding in report.findings:
        level = "" if finding.level is Level.ERROR else f"{finding.level}: "
        lines.append(f"{finding.place.file}:{finding.place.line}: {level}{finding.message}")
    counts = {"file": report.files, "task": report.tasks, "pool": report.pools}
    read = ", ".join(_many(count, word) for word, count in counts.items())
    found = [_many(report.count(level), word) for level, word in _WORDS.items() if report.count(level)]
    return "\n".join([*lines, f"{read}: {', '.join(found) or 'nothing found'}"])


def _as_json(report: Report) -> str:
    findings = [
        {
            "level": finding.level,
            "file": str(finding.place.file),
            "line": finding.place.line,
            "document": finding.place.document,
            "field": finding.field,
            "value": finding.value,
            "message": finding.message,
        }
        for finding in report.findings
    ]
    whole = {"files": report.files, "tasks": report.tasks, "pools": report.pools, "findings": findings}
    return json.dumps(whole, indent=2, ensure_ascii=False)


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
