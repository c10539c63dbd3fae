"""Cheap tracebacks in programs that never configured structlog.

Not here: what lines look like in a worker (`telemetry.logs`). structlog's own default draws a traceback with all local
variables: with clients in them that takes seconds, and the loop stands still meanwhile.
"""

import sys

import structlog


def keep_tracebacks_cheap() -> None:
    """Leave structlog's default as it is, but for the drawing of tracebacks. Does nothing where it is configured."""
    if structlog.is_configured():
        return
    plain = structlog.dev.ConsoleRenderer(
        colors=sys.stdout is not None and sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    processors = [
        plain if isinstance(processor, structlog.dev.ConsoleRenderer) else processor
        for processor in structlog.get_config()["processors"]
    ]
    structlog.configure(processors=processors)
