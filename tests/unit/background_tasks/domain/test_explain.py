"""What `why` says, word for word."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from background_tasks.domain.explain import explain
from background_tasks.domain.gates import Gate
from background_tasks.domain.model import (
    NO_PAST,
    Blackout,
    Breaker,
    Cadence,
    Continuous,
    Cron,
    Every,
    Interval,
    Missed,
    MissedPolicy,
    OnResume,
    OnStart,
    Outcome,
    Past,
    Pause,
    Policy,
    Schedule,
    Spread,
    Switches,
    Task,
    TaskUid,
)
from background_tasks.domain.plan import plan

T0 = 1_700_006_400.0
"""2023-11-15T00:00:00Z."""
RAN = Past(fired_at=T0, started_at=T0, ended_at=T0 + 5, outcome=Outcome.SUCCEEDED, success_at=T0 + 5)
FAILED = replace(RAN, outcome=Outcome.FAILED, failures=3, success_at=None, opened_at=T0 + 5)
NIGHT = Blackout(starts=Cron(expression="0 22 * * *"), duration=8 * 3600.0)


def task(cadence: Cadence, *, switches: Switches | None = None, **more: object) -> Task:
    """Declare a task; schedule and policy fields go by name."""
    fields = {name: more.pop(name) for name in ("jitter", "spread", "blackouts", "initial_delay") if name in more}
    schedule = Schedule(cadence=cadence, **fields)  # type: ignore[arg-type]
    policy = Policy(coroutine="work", schedule=schedule, **more)  # type: ignore[arg-type]
    return Task(
        uid=TaskUid("uid"), name="default/work", policy=policy, switches=switches or Switches(), created_at=T0 - 600
    )


ENDED = "The last run ended 55s ago: Succeeded."
WHY = {
    "an interval": (
        task(Interval(seconds=300)),
        RAN,
        [
            "The next run begins at 2023-11-15T00:05:05Z, in 4m5s.",
            "It runs 5m after the end of its last run, which ended at 2023-11-15T00:00:05Z.",
            ENDED,
        ],
    ),
    "a spread grid with jitter": (
        task(Every(seconds=300), spread=Spread.HASH, jitter=10),
        RAN,
        [
            "The next run begins at 2023-11-15T00:01:18.727Z, in 18s727ms.",
            "It runs every 5m on a fixed grid, moved by 1m19s (spread: Hash).",
            "Up to 10s of jitter is added to each start.",
            ENDED,
        ],
    ),
    "a first run": (
        task(Interval(seconds=300), initial_delay=700),
        NO_PAST,
        [
            "The next run begins at 2023-11-15T00:01:40Z, in 40s.",
            "It has not run yet: its first run follows its creation at 2023-11-14T23:50:00Z and an initial delay of"
            " 11m40s.",
        ],
    ),
    "a catch-up": (
        task(Every(seconds=20)),
        replace(RAN, fired_at=T0 - 20),
        [
            "A run is due now.",
            "It runs every 20s on a fixed grid.",
            "Its fire time 2023-11-15T00:01:00Z passed unserved, and `missed: Once` runs it once.",
            "3 fire times have no run of their own (Missed), the first 2023-11-15T00:00:00Z.",
            ENDED,
        ],
    ),
    "suspended": (
        task(Interval(seconds=300), switches=Switches(suspend=True)),
        RAN,
        ["No run is planned.", "It does not run because spec.suspend is true; set it to false.", ENDED],
    ),
    "paused": (
        task(Every(seconds=300), switches=Switches(pause=Pause(until=T0 + 3600, by="ann"))),
        RAN,
        [
            "The next run begins at 2023-11-15T01:00:00Z, in 59m.",
            "Not before 2023-11-15T01:00:00Z because it is paused by ann until then.",
            "It runs every 5m on a fixed grid.",
            ENDED,
        ],
    ),
    "an open breaker": (
        task(Interval(seconds=20), breaker=Breaker(failures=3, cooldown=600)),
        FAILED,
        [
            "The next run begins at 2023-11-15T00:10:05Z, in 9m5s.",
            "It runs 20s after the end of its last run, which ended at 2023-11-15T00:00:05Z.",
            "Not before 2023-11-15T00:10:05Z because its breaker opened after 3 failures in a row; then one probe"
            " runs.",
            "The last run ended 55s ago: Failed.",
            "It failed 3 times in a row and has never succeeded.",
        ],
    ),
    "a blackout": (
        task(Interval(seconds=300), blackouts=(NIGHT,)),
        RAN,
        [
            "The next run begins at 2023-11-15T06:00:00Z, in 5h59m.",
            "It runs 5m after the end of its last run, which ended at 2023-11-15T00:00:05Z.",
            "Not before 2023-11-15T06:00:00Z because of a blackout: `0 22 * * *` in UTC for 8h.",
            ENDED,
        ],
    ),
}


@pytest.mark.parametrize(("declared", "past", "sentences"), WHY.values(), ids=WHY.keys())
def test_why(declared: Task, past: Past, sentences: list[str]) -> None:
    """One minute after the last run: what comes next, why then, what came before."""
    assert list(explain(declared, past, T0 + 60).sentences) == sentences


def test_why_not() -> None:
    """Whatever keeps a task from running comes first, with its fix."""
    gate = Gate(reason="FlagOff", name="x", message="flag 'x' is off; set it to true in the pool's flags")

    told = explain(task(Interval(seconds=300)), RAN, T0 + 60, gates=(gate,), running=1)

    assert str(told).splitlines()[:2] == [
        "A run goes on. No run will begin until what follows is put right.",
        "It does not run: flag 'x' is off; set it to true in the pool's flags.",
    ]


everything = st.builds(
    task,
    st.sampled_from(
        [
            Interval(seconds=60),
            Every(seconds=60),
            Cron(expression="*/5 2 * * *", zone="Europe/Berlin"),
            Continuous(restart_delay=5),
            OnStart(cooldown=60),
        ]
    ),
    switches=st.builds(
        Switches,
        suspend=st.booleans(),
        pause=st.sampled_from([None, Pause(until=None), Pause(until=T0 + 500)]),
        run_now=st.sampled_from([None, "1"]),
    ),
    jitter=st.sampled_from([0.0, 5.0]),
    spread=st.sampled_from(Spread),
    blackouts=st.sampled_from([(), (NIGHT,), (Blackout(starts=Cron(expression="* * * * *"), duration=60),)]),
    breaker=st.sampled_from([None, Breaker(failures=1, cooldown=50)]),
    missed=st.builds(Missed, policy=st.sampled_from(MissedPolicy), on_resume=st.sampled_from(OnResume)),
)
moments = st.one_of(st.none(), st.floats(T0 - 1e5, T0 + 1e5))
pasts = st.builds(
    Past,
    fired_at=moments,
    started_at=moments,
    ended_at=moments,
    outcome=st.sampled_from([None, *Outcome]),
    failures=st.integers(0, 5),
    success_at=moments,
    opened_at=moments,
    baseline=moments,
    held_at=moments,
    owed=moments,
)


@settings(max_examples=300, deadline=None)
@given(everything, pasts, st.floats(T0 - 1e5, T0 + 1e5), moments)
def test_every_plan_can_be_explained(declared: Task, past: Past, now: float, up_since: float | None) -> None:
    """Whatever the past and the switches: the plan is the engine's own, and each sentence is one."""
    told = explain(declared, past, now, up_since=up_since)

    assert told.plan == plan(declared, past, now, 0.0, up_since=up_since)
    assert (told.plan.fire is None) == (told.plan.when is None)
    assert len(told.plan.skips) <= 10
    assert all(sentence.endswith((".", "`.")) and "None" not in sentence for sentence in told.sentences)
    assert plan(declared, told.plan.past, now, 0.0, up_since=up_since).fire == told.plan.fire
