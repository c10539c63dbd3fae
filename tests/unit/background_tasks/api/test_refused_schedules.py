"""What people see who write a schedule that cannot be used: field, value, and what to write instead."""

import pytest
import yaml

from background_tasks.api.read import Unfit, read_resource

HEAD = """\
apiVersion: background-tasks.dev/v1alpha1
kind: BackgroundTask
metadata: {name: t}
spec: """
REFUSED = [
    pytest.param(
        "{task: t}", ["spec.schedule: is missing; write one such as {interval: 30s}"], id="a schedule is needed"
    ),
    pytest.param(
        "{task: t, schedule: {}}",
        ["spec.schedule: give exactly one of interval, every, cron, continuous, onStart; found none"],
        id="an empty schedule names the choices",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 30s, cron: '* * * * *'}}",
        ["spec.schedule: give exactly one of interval, every, cron, continuous, onStart; found interval and cron"],
        id="two schedules are one too many",
    ),
    pytest.param(
        "{task: t, schedule: {every: 30s, continuous: {}, onStart: {}}}",
        [
            "spec.schedule: give exactly one of interval, every, cron, continuous, onStart; "
            "found every and continuous and onStart"
        ],
        id="three schedules are all named",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 30}}",
        ["spec.schedule.interval: 30 is a number without a unit; write 30s"],
        id="a bare number has no unit",
    ),
    pytest.param(
        "{task: t, schedule: {interval: '30'}}",
        ['spec.schedule.interval: "30" is not a duration; did you mean 30s?'],
        id="a quoted number has no unit",
    ),
    pytest.param(
        "{task: t, schedule: {every: 2.5}}",
        ["spec.schedule.every: 2.5 is a number without a unit; write 2.5s"],
        id="a fraction has no unit",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 0}}",
        ["spec.schedule.interval: 0 is not a duration; write 1ms or more, such as 30s"],
        id="zero is no interval",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 0s}}",
        ['spec.schedule.interval: "0s" is too short; write 1ms or more, such as 30s'],
        id="zero seconds are no interval",
    ),
    pytest.param(
        "{task: t, schedule: {every: 0.5ms}}",
        ['spec.schedule.every: "0.5ms" is too short; write 1ms or more, such as 30s'],
        id="less than a millisecond is no interval",
    ),
    pytest.param(
        "{task: t, schedule: {interval: -5}}",
        ["spec.schedule.interval: -5 is not a duration; write 1ms or more, such as 30s"],
        id="a negative number is no interval",
    ),
    pytest.param(
        "{task: t, schedule: {interval: -5s}}",
        ['spec.schedule.interval: "-5s" is negative; write 1ms or more, such as 30s'],
        id="a negative duration is no interval",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1e12d}}",
        ['spec.schedule.interval: "1e12d" is not a duration; write a duration such as 30s, 5m or 1h30m'],
        id="a power of ten is no duration",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 4015d}}",
        ['spec.schedule.interval: "4015d" is longer than ten years; write at most 3650d'],
        id="eleven years are a typing error",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 99999999999999999999d}}",
        ['spec.schedule.interval: "99999999999999999999d" is longer than ten years; write at most 3650d'],
        id="a long number is a typing error",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 9999999999999999999999999999999999999999d}}",
        [
            'spec.schedule.interval: "9999999999999999999999999999999999999999d" has more than 32 characters; '
            "write a duration such as 30s, 5m or 1h30m"
        ],
        id="a duration of forty digits is a typing error",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 5 minutes}}",
        ['spec.schedule.interval: "5 minutes" is not a duration; did you mean 5m?'],
        id="spoken minutes are read",
    ),
    pytest.param(
        "{task: t, schedule: {interval: PT1H30M}}",
        ['spec.schedule.interval: "PT1H30M" is not a duration; did you mean 1h30m?'],
        id="ISO 8601 is read",
    ),
    pytest.param(
        "{task: t, schedule: {every: 2w}}",
        ['spec.schedule.every: "2w" is not a duration; did you mean 14d?'],
        id="weeks are days",
    ),
    pytest.param(
        "{task: t, schedule: {every: '1,5h'}}",
        ['spec.schedule.every: "1,5h" is not a duration; did you mean 1.5h?'],
        id="a decimal comma is a point",
    ),
    pytest.param(
        "{task: t, schedule: {every: hourly}}",
        ['spec.schedule.every: "hourly" is not a duration; write a duration such as 30s, 5m or 1h30m'],
        id="a word is no duration",
    ),
    pytest.param(
        "{task: t, schedule: {every: on}}",
        ["spec.schedule.every: true is not a duration; write a duration such as 30s, 5m or 1h30m"],
        id="a truth value is no duration",
    ),
    pytest.param(
        "{task: t, schedule: {every: }}",
        ["spec.schedule.every: is empty; give a value or remove the line"],
        id="an empty field is a slip",
    ),
    pytest.param(
        "{task: t, schedule: 30s}",
        ['spec.schedule: "30s" is not a mapping; write {interval: 30s}'],
        id="a schedule in words is put into a mapping",
    ),
    pytest.param(
        "{task: t, schedule: '*/5 * * * *'}",
        ['spec.schedule: "*/5 * * * *" is not a mapping; write {cron: "*/5 * * * *"}'],
        id="a bare cron is put into a mapping",
    ),
    pytest.param(
        "{task: t, schedule: {continuous: true}}",
        ["spec.schedule.continuous: true is not a mapping; write its fields below it, or {} for the defaults"],
        id="continuous takes a mapping",
    ),
    pytest.param(
        "{task: t, schedule: {continuous: 10s}}",
        ['spec.schedule.continuous: "10s" is not a mapping; write {restartDelay: 10s}'],
        id="a bare restart delay is put into a mapping",
    ),
    pytest.param(
        "{task: t, schedule: {continuous: {restartDelay: 0s}}}",
        ['spec.schedule.continuous.restartDelay: "0s" is too short; write 1ms or more, such as 30s'],
        id="a restart delay of zero would spin",
    ),
    pytest.param(
        "{task: t, schedule: {cron: '* * * *'}}",
        ["spec.schedule.cron: cron '* * * *' has 4 fields; give five: minute, hour, day of month, month, day of week"],
        id="a cron needs five fields",
    ),
    pytest.param(
        "{task: t, schedule: {cron: '0 * * * * *'}}",
        [
            "spec.schedule.cron: cron '0 * * * * *' has 6 fields; "
            "give five: minute, hour, day of month, month, day of week"
        ],
        id="a cron of six fields has seconds",
    ),
    pytest.param(
        "{task: t, schedule: {cron: '61 * * * *'}}",
        [
            "spec.schedule.cron: cron '61 * * * *' cannot be read (Bad minute); "
            "see `man 5 crontab` for what a field may say"
        ],
        id="a cron field has bounds",
    ),
    pytest.param(
        "{task: t, schedule: {cron: '0 0 31 2 *'}}",
        ["spec.schedule.cron: cron '0 0 31 2 *' never fires: no such date exists; correct the day or the month"],
        id="a cron that never fires",
    ),
    pytest.param(
        "{task: t, schedule: {cron: 5}}", ['spec.schedule.cron: 5 is a number; write "5"'], id="a cron is text"
    ),
    pytest.param(
        "{task: t, schedule: {cron: '0 9 * * *', timeZone: Europe/Berln}}",
        [
            "spec.schedule.timeZone: time zone 'Europe/Berln' is not known; "
            "did you mean Europe/Berlin or Europe/Belfast or Europe/Helsinki?"
        ],
        id="an unknown zone has a neighbour",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m, timeZone: Europe/Berlin}}",
        ['spec.schedule.timeZone: "Europe/Berlin" goes with cron only; remove it or give cron'],
        id="a zone without cron",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m, timeZone: UTC, blackouts: [{cron: '0 1 * * *', duration: 1h}]}}",
        [
            'spec.schedule.timeZone: "UTC" goes with cron only; '
            "remove it or give cron (a blackout has a timeZone of its own)"
        ],
        id="a zone without cron beside blackouts",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m, blackouts: [{timeZone: UTC, duration: 1h}]}}",
        ['spec.schedule.blackouts[0].cron: is missing; write five fields such as "*/15 * * * *"'],
        id="a blackout zone without cron",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m, blackouts: [{cron: '0 1 * * *', duration: 1h}, {cron: x, duration: 1h}]}}",
        [
            "spec.schedule.blackouts[1].cron: cron 'x' has 1 fields; "
            "give five: minute, hour, day of month, month, day of week"
        ],
        id="a blackout with a bad cron",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m, blackouts: [{cron: '0 1 * * *'}]}}",
        ["spec.schedule.blackouts[0].duration: is missing; write one such as 30m"],
        id="a blackout without length",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m, blackouts: {cron: '0 1 * * *', duration: 1h}}}",
        ['spec.schedule.blackouts: {"cron": "0 1 * * *", "duration": "1h"} is not a list; write [...]'],
        id="blackouts are a list",
    ),
    pytest.param(
        "{task: t, schedule: {every: 1m, jitter: 2m}}",
        ['spec.schedule.jitter: "2m" is longer than the schedule\'s own 1m; write at most 1m'],
        id="jitter beyond the period",
    ),
    pytest.param(
        "{task: t, schedule: {every: 1m, initialDelay: -1s}}",
        ['spec.schedule.initialDelay: "-1s" is negative; write 0s or more, such as 30s'],
        id="a negative initial delay",
    ),
    pytest.param(
        "{task: t, schedule: {every: 1m, initialDelay: 36500d}}",
        ['spec.schedule.initialDelay: "36500d" is longer than ten years; write at most 3650d'],
        id="an initial delay of a century",
    ),
    pytest.param(
        "{task: t, schedule: {continuous: {}, spread: Hash}}",
        ['spec.schedule.spread: "Hash" needs a period to spread over, and continuous has none; use jitter'],
        id="spread of a continuous task",
    ),
    pytest.param(
        "{task: t, schedule: {every: 1m, spread: hash}}",
        ['spec.schedule.spread: "hash" is not known; did you mean Hash?'],
        id="an unknown spread",
    ),
]


@pytest.mark.parametrize(("spec", "messages"), REFUSED)
def test_a_schedule_that_cannot_be_used_is_told_in_one_sentence(spec: str, messages: list[str]) -> None:
    """Every refusal names the field, the value and the fix."""
    found = read_resource(yaml.safe_load(HEAD + spec), lambda _: "here")

    assert isinstance(found, Unfit)
    assert [refusal.message for refusal in found.refusals] == messages
