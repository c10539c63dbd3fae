"""`spec.schedule` as people write it: one cadence, what shifts it, and when nothing is due.

Not here: when a task is due; the domain answers that.
"""

from collections.abc import Iterator
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from background_tasks.api.duration import Duration, PositiveDuration, parse_duration
from background_tasks.api.faults import Fault, raise_faults
from background_tasks.api.fields import CronExpression, Maybe, Part, Zone, cron_of
from background_tasks.api.rules import longer, rule, ruled, seconds
from background_tasks.domain import model as domain

CADENCES = ("interval", "every", "cron", "continuous", "onStart")
MAX_BLACKOUTS = 16


class Continuous(Part):
    """A long-lived coroutine, kept running."""

    restart_delay: PositiveDuration = Field("10s", description="So long from its end to its next start.")


class OnStart(Part):
    """Once when the pool comes up; with `runPolicy: EveryWorker` once per worker."""

    cooldown: Duration = Field(
        "10m", description="Not again within so long of its last start, however often workers restart."
    )


class Blackout(Part):
    """A time in which nothing is due."""

    cron: CronExpression = Field(description="Cron of five fields: each of its times begins a blackout.")
    duration: PositiveDuration = Field(description="So long it lasts.")
    time_zone: Maybe[Zone] = Field(None, description="IANA zone of cron. Absent: that of the schedule, else UTC.")

    def to_domain(self, zone: str | None) -> domain.Blackout:
        """Build the domain's blackout; `zone` is that of the schedule."""
        starts = cron_of(self.cron, self.time_zone or zone)
        return domain.Blackout(starts=starts, duration=parse_duration(self.duration))


_GIVEN = "[" + ", ".join(f"has(self.{name})" for name in CADENCES) + "].filter(given, given).size()"
_FOUND = " + ".join(f'(has(self.{name}) ? " {name}" : "")' for name in CADENCES)
_EXACTLY_ONE = f"give exactly one of {', '.join(CADENCES)}"


class Schedule(Part):
    """When a task is due: exactly one of `interval`, `every`, `cron`, `continuous`, `onStart`."""

    model_config = ConfigDict(
        json_schema_extra=ruled(
            rule(
                f"{_GIVEN} == 1",
                _EXACTLY_ONE,
                told=f'"{_EXACTLY_ONE}; found " + ({_GIVEN} == 0 ? "none" : ({_FOUND}).trim().replace(" ", " and "))',
            ),
            rule(
                "!has(self.timeZone) || has(self.cron)",
                "goes with cron only; remove it or give cron (a blackout has a timeZone of its own)",
                at=".timeZone",
                shown="self.timeZone",
            ),
            *(
                rule(
                    f"!has(self.{name}) || !({longer(seconds('self.jitter'), seconds(f'self.{name}'))})",
                    f"is longer than {name}; write at most as much",
                    at=".jitter",
                    shown="self.jitter",
                )
                for name in ("interval", "every")
            ),
            rule(
                'self.spread != "Hash" || !(has(self.continuous) || has(self.onStart))',
                "needs a period to spread over, and continuous and onStart have none; use jitter",
                at=".spread",
            ),
        )
    )

    interval: Maybe[PositiveDuration] = Field(None, description="Due so long after the end of its last run.")
    every: Maybe[PositiveDuration] = Field(
        None, description="Due on a fixed grid of this width, anchored at the epoch; it never drifts."
    )
    cron: Maybe[CronExpression] = Field(
        None, description="Due by a cron of five fields: minute, hour, day of month, month, day of week."
    )
    time_zone: Maybe[Zone] = Field(None, description="IANA zone of cron, such as Europe/Berlin. Absent: UTC.")
    continuous: Maybe[Continuous] = Field(
        None, description="Always: a long-lived coroutine, started again when it ends."
    )
    on_start: Maybe[OnStart] = Field(None, description="Once when the pool comes up.")
    initial_delay: Duration = Field("0s", description="The first run begins no sooner after the creation of the task.")
    jitter: Duration = Field("0s", description="Up to so much is added to each start, drawn anew per run.")
    spread: domain.Spread = Field(
        domain.Spread.NONE,
        description="Hash: a stable offset, made from the UID, keeps equal tasks apart. None: no offset.",
    )
    blackouts: Annotated[tuple[Blackout, ...], Field(max_length=MAX_BLACKOUTS)] = Field(
        (), description="Times in which nothing is due."
    )

    @property
    def period(self) -> str | None:
        """The duration that repeats, where there is one."""
        return self.interval or self.every

    def cadence(self) -> domain.Cadence:
        """Build the one cadence that is given."""
        if self.interval is not None:
            return domain.Interval(seconds=parse_duration(self.interval))
        if self.every is not None:
            return domain.Every(seconds=parse_duration(self.every))
        if self.cron is not None:
            return cron_of(self.cron, self.time_zone)
        if self.continuous is not None:
            return domain.Continuous(restart_delay=parse_duration(self.continuous.restart_delay))
        assert self.on_start is not None, "the check of cadences lets exactly one through"
        return domain.OnStart(cooldown=parse_duration(self.on_start.cooldown))

    def to_domain(self) -> domain.Schedule:
        """Build the domain's schedule."""
        return domain.Schedule(
            cadence=self.cadence(),
            initial_delay=parse_duration(self.initial_delay),
            jitter=parse_duration(self.jitter),
            spread=self.spread,
            blackouts=tuple(blackout.to_domain(self.time_zone) for blackout in self.blackouts),
        )

    @model_validator(mode="after")
    def _says_one_thing(self) -> "Schedule":
        raise_faults([*self._cadence_faults(), *self._zone_faults(), *self._shift_faults()])
        return self

    def _cadence_faults(self) -> Iterator[Fault]:
        values = (self.interval, self.every, self.cron, self.continuous, self.on_start)
        given = [name for name, value in zip(CADENCES, values, strict=True) if value is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            yield Fault((), f"give exactly one of {', '.join(CADENCES)}; found {found}", bare=True)

    def _zone_faults(self) -> Iterator[Fault]:
        if self.time_zone is not None and self.cron is None:
            own = " (a blackout has a timeZone of its own)" if self.blackouts else ""
            yield Fault(("timeZone",), f"goes with cron only; remove it or give cron{own}", self.time_zone)

    def _shift_faults(self) -> Iterator[Fault]:
        period = self.period
        if period is not None and parse_duration(self.jitter) > parse_duration(period):
            fix = f"write at most {period}"
            yield Fault(("jitter",), f"is longer than the schedule's own {period}; {fix}", self.jitter)
        if self.spread is domain.Spread.HASH and (self.continuous or self.on_start):
            kind = "continuous" if self.continuous else "onStart"
            yield Fault(("spread",), f"needs a period to spread over, and {kind} has none; use jitter", "Hash")
