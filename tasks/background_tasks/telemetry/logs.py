"""Log lines: JSON for machines, colour for people; each line of a run says task, run and fence.

Not here: what is worth a line. The standard library's loggers (also those of libraries) come out the same way.
"""

import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Literal, Self, TextIO

import structlog
from structlog.typing import Processor

from background_tasks.authoring import current_run
from background_tasks.errors import InvalidSettings

LEVEL = "BGTASKS_LOG_LEVEL"
FORMAT = "BGTASKS_LOG_FORMAT"
_LEVELS = ("debug", "info", "warning", "error", "critical")
_FORMATS = ("auto", "json", "console")
type Redact = Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How lines look, and from which level on they are written."""

    level: str = "info"
    form: Literal["auto", "json", "console"] = "auto"
    """auto: console on a terminal, else JSON."""

    @classmethod
    def from_env(cls, mapping: Mapping[str, str]) -> Self:
        """Read `BGTASKS_LOG_LEVEL` and `BGTASKS_LOG_FORMAT`. Raises `InvalidSettings` with all faults."""
        level, form = mapping.get(LEVEL, "info").lower(), mapping.get(FORMAT, "auto").lower()
        faults = [
            f"{name} is {value!r}; give one of {', '.join(known)}"
            for name, value, known in ((LEVEL, level, _LEVELS), (FORMAT, form, _FORMATS))
            if value not in known
        ]
        if faults:
            raise InvalidSettings("; ".join(faults))
        return cls(level=level, form=form)  # type: ignore[arg-type]  # one of _FORMATS, as was just seen


def configure(
    mapping: Mapping[str, str],
    *,
    stream: TextIO | None = None,
    redact: Redact | None = None,
    keep: Processor | None = None,
) -> None:
    """Set up logging of this process from settings by name; calling it again replaces what was set up.

    `redact` masks secrets in every text of a line; `keep` (`services.log_sources.ProcessLog`) sees each line after
    that. Raises `InvalidSettings`.
    """
    settings = LogSettings.from_env(mapping)
    out = stream or sys.stderr
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    colourful = settings.form == "console" or (settings.form == "auto" and out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        add_run,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        *([] if redact is None else [redactor(redact)]),
        *([] if keep is None else [keep]),
    ]
    render: Processor = (
        structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if colourful
        else structlog.processors.JSONRenderer(default=str)
    )
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    _configure_standard_library(out, level, shared, render)


def add_run(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Say in a line of a run which task, run and fence it belongs to; what the line says itself stands."""
    run = current_run()
    if run is not None:
        event.setdefault("task", run.task.name)
        event.setdefault("run", run.run_id)
        if run.fence is not None:
            event.setdefault("fence", str(run.fence))
    return event


def redactor(redact: Redact) -> Processor:
    """Return a processor that masks secrets in every text of a line, also where only the field's name tells them."""

    def masked(name: str, value: object) -> object:
        if isinstance(value, str):
            text = redact(f"{name}={value}")
            return text.removeprefix(f"{name}=") if text.startswith(f"{name}=") else redact(value)
        if isinstance(value, Mapping):
            return {key: masked(str(key), each) for key, each in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [masked(name, each) for each in value]
        return value if value is None or isinstance(value, bool | int | float) else masked(name, str(value))

    def process(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for name, value in event.items():
            event[name] = value if name in ("level", "timestamp") or name.startswith("_") else masked(name, value)
        return event

    return process


def _configure_standard_library(out: TextIO, level: int, shared: list[Processor], render: Processor) -> None:
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
