"""A run without a scheduler: what the task takes from its context is given by the test, the clock above all.

Not here: schedules, time-outs, retries (`VirtualTime` and the scheduler's own world are for those).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from background_tasks.authoring import RunContext, TaskParams, TaskReport, enter_run
from background_tasks.domain.model import Fence
from background_tasks.knowledge.context import run_context
from background_tasks.knowledge.keys import DEFAULT_PREFIX, PREFIX_SETTING


class FrozenClock:
    """A clock (`ports.Clock`) that stands until it is moved. Wall and monotonic time move together."""

    def __init__(self, wall: float) -> None:
        self.at = wall

    def wall(self) -> float:
        """Seconds since the epoch."""
        return self.at

    def monotonic(self) -> float:
        """Seconds; the same as the wall's."""
        return self.at

    def boottime(self) -> float:
        """Seconds; the same as the wall's."""
        return self.at

    def draw(self) -> float:
        """Always the middle."""
        return 0.5

    def advance(self, seconds: float) -> None:
        """Move forward."""
        self.at += seconds


@contextmanager
def a_run[P: TaskParams](
    params: P,
    *,
    clock: FrozenClock | None = None,
    prefix: str = DEFAULT_PREFIX,
    run_id: str = "a-run",
    fence: Fence | None = None,
    reports: list[TaskReport] | None = None,
) -> Iterator[RunContext[P]]:
    """Make a run current for the block: `with a_run(Params(), clock=clock): await some_task(redis)`.

    `clock` None is the machine's. Progress reports are put into `reports`.
    """
    default = run_context(type(params))
    context = replace(
        default,
        params=params,
        clock=clock or default.clock,
        run_id=run_id,
        fence=fence,
        settings={PREFIX_SETTING: prefix},
        on_report=(reports if reports is not None else []).append,
    )
    token = enter_run(context)
    try:
        yield context
    finally:
        token.var.reset(token)
