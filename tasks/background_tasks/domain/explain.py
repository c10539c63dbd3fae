"""Why a task runs when it does, or does not run: the sentences behind a plan, as `why` prints them.

Not here: deciding. This asks the same `plan` that the engine asks, and tells its reasons.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from background_tasks.domain.breaker import opens_until
from background_tasks.domain.gates import Gate
from background_tasks.domain.holds import FOREVER, held_until
from background_tasks.domain.model import Cadence, Continuous, Cron, Every, Interval, OnStart, Past, Task
from background_tasks.domain.plan import Plan, Reason, plan
from background_tasks.domain.schedule import spread_offset
from background_tasks.domain.wording import rfc3339, spell


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a task does next, and why, in sentences; the plan they tell of lies beside them."""

    sentences: tuple[str, ...]
    plan: Plan

    def __str__(self) -> str:
        return "\n".join(self.sentences)


def explain(
    task: Task,
    past: Past,
    now: float,
    *,
    draw: float = 0.0,
    up_since: float | None = None,
    gates: Sequence[Gate] = (),
    refusal: str = "",
    running: int = 0,
) -> Explanation:
    """Explain what happens to a task at `now` (any instant: `--at` asks about another one).

    Give the `draw` of the engine's own plan where it is known; without it jitter is told as a bound.
    """
    planned = plan(task, past, now, draw, up_since=up_since)
    obstacles = [*([refusal] if refusal else []), *(gate.message for gate in gates)]
    sentences = [
        _headline(planned, now, running, bool(obstacles)),
        *(f"It does not run: {obstacle}." for obstacle in obstacles),
        *(text for reason in planned.because if (text := _sentence(reason, task, past, planned, now))),
        *_left_out(planned),
        *_history(task, past, now),
    ]
    return Explanation(sentences=tuple(sentences), plan=planned)


def _headline(planned: Plan, now: float, running: int, stopped: bool) -> str:
    going = "A run goes on. " if running else ""
    if stopped:
        return f"{going}No run will begin until what follows is put right."
    if planned.fire is None or planned.when is None:
        return f"{going}No run is planned."
    if planned.when <= now:
        late = now - planned.fire
        return f"{going}A run is due now" + (f", {spell(late)} after its fire time." if late >= 1 else ".")
    return f"{going}The next run begins at {rfc3339(planned.when)}, in {spell(planned.when - now)}."


def cadence_words(cadence: Cadence) -> str:
    """Say a cadence as part of a sentence: `every 5m on a fixed grid`."""
    match cadence:
        case Interval(seconds=seconds):
            return f"{spell(seconds)} after the end of its last run"
        case Every(seconds=seconds):
            return f"every {spell(seconds)} on a fixed grid"
        case Cron(expression=expression, zone=zone):
            return f"by cron `{expression}` in {zone}"
        case Continuous(restart_delay=delay):
            return f"all the time, {spell(delay)} after it ended"
        case OnStart(cooldown=cooldown):
            return f"once when its pool comes up, not again within {spell(cooldown)}"


def _sentence(reason: Reason, task: Task, past: Past, planned: Plan, now: float) -> str:
    """Say one reason; empty where another sentence says it already."""
    schedule = task.policy.schedule
    fire, when = planned.fire or now, planned.when or now
    words = f"It runs {cadence_words(schedule.cadence)}"
    offset = spread_offset(schedule, task.uid)
    shifted = f", moved by {spell(offset)} (spread: Hash)" if offset else ""
    match reason:
        case Reason.FROM_END:
            ended = past.ended_at if past.ended_at is not None else past.fired_at
            return f"{words}, which ended at {rfc3339(ended or now)}."
        case Reason.FIRST_RUN:
            delay = f" and an initial delay of {spell(schedule.initial_delay)}" if schedule.initial_delay else ""
            return (
                f"It has not run yet: its first run follows its creation at {rfc3339(task.created_at)}{delay}{shifted}."
            )
        case Reason.GRID | Reason.CRON:
            return f"{words}{shifted}."
        case Reason.RESTART | Reason.POOL_UP:
            return f"{words}."
        case Reason.BACKOFF:
            return f"Not before {rfc3339(when)} because it failed {past.failures} times in a row: it backs off."
        case Reason.COOLDOWN:
            return f"{words}; its last run began at {rfc3339(past.started_at or now)}, which is not long enough ago."
        case Reason.JITTER:
            return f"Up to {spell(schedule.jitter)} of jitter is added to each start."
        case Reason.SUSPENDED | Reason.PAUSED | Reason.BREAKER_OPEN | Reason.BLACKOUT:
            return _hold_sentence(reason, task, past, planned, now)
        case _:
            return _MISC[reason].format(fire=rfc3339(fire), missed=task.policy.missed.policy.value)


_MISC = {
    Reason.LATE: "Its fire time {fire} has just passed: it is served late.",
    Reason.CATCH_UP: "Its fire time {fire} passed unserved, and `missed: {missed}` runs it once.",
    Reason.BACKLOG: "Fire times passed unserved, and `missed: {missed}` runs them one by one: {fire} is the oldest.",
    Reason.LEFT_OUT: "Fire times passed unserved, and `missed: {missed}` leaves them out.",
    Reason.RESUMED: "A suspension or pause ended at {fire}, and `onResume: Once` runs it once.",
    Reason.RUN_NOW: "Somebody asked for this run; the schedule is not moved by it.",
    Reason.CLOCK_BACK: "The clock was set back by hours: the schedule begins anew from now.",
    Reason.NEVER: "Its schedule has no fire time ahead; correct the cron or the blackouts.",
}


def _hold_sentence(reason: Reason, task: Task, past: Past, planned: Plan, now: float) -> str:
    if reason is Reason.SUSPENDED:
        return "It does not run because spec.suspend is true; set it to false."
    if reason is Reason.PAUSED:
        pause, until = task.switches.pause, held_until(task.switches, now)
        author = f" by {pause.by}" if pause is not None and pause.by else ""
        if until is None or until == FOREVER:
            return f"It does not run because it is paused{author}; resume it."
        return f"Not before {rfc3339(until)} because it is paused{author} until then."
    if reason is Reason.BREAKER_OPEN:
        until = opens_until(task.policy.breaker, past, now)
        opened = f"its breaker opened after {past.failures} failures in a row"
        return f"Not before {rfc3339(until or now)} because {opened}; then one probe runs."
    listed = " and ".join(
        f"`{item.starts.expression}` in {item.starts.zone} for {spell(item.duration)}"
        for item in task.policy.schedule.blackouts
    )
    if planned.when is None:
        return f"Blackouts leave no time for it: {listed}."
    return f"Not before {rfc3339(planned.when)} because of a blackout: {listed}."


def _left_out(planned: Plan) -> Iterator[str]:
    """Say which fire times this plan decides against."""
    if not planned.skipped:
        return
    reasons = ", ".join(sorted({reason.value for _, reason in planned.skips}))
    times = "fire time has" if planned.skipped == 1 else "fire times have"
    yield f"{planned.skipped} {times} no run of their own ({reasons}), the first {rfc3339(planned.skips[0][0])}."


def _history(task: Task, past: Past, now: float) -> Iterator[str]:
    if past.outcome is not None and past.ended_at is not None:
        yield f"The last run ended {spell(now - past.ended_at)} ago: {past.outcome.value}."
    if past.failures and past.success_at is not None:
        yield f"It failed {past.failures} times in a row; its last success was at {rfc3339(past.success_at)}."
    elif past.failures:
        yield f"It failed {past.failures} times in a row and has never succeeded."
