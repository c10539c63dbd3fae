"""What people see who misspell a field, or put it in the wrong place."""

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
        "{task: t, schedule: {intervall: 1m}}",
        ["spec.schedule.intervall: is not a field; did you mean interval?"],
        id="a misspelled interval has a neighbour",
    ),
    pytest.param(
        "{task: t, schedule: {crn: '* * * * *', interval: 1m}}",
        ["spec.schedule.crn: is not a field; did you mean cron?"],
        id="a misspelled cron has a neighbour",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, missed: {polcy: Once}}",
        ["spec.missed.polcy: is not a field; did you mean policy?"],
        id="a misspelled policy has a neighbour",
    ),
    pytest.param(
        "{task: t, interval: 1m, schedule: {every: 1m}}",
        ["spec.interval: is not a field here; did you mean spec.schedule.interval?"],
        id="a field one level too high",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, run_policy: Singleton}",
        ["spec.run_policy: is not a field; did you mean runPolicy?"],
        id="a field in snake case",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, concurrencyPolicy: Forbid}",
        ["spec.concurrencyPolicy: is not a field here; did you mean spec.overlap?"],
        id="another product's word",
    ),
    pytest.param(
        "{task: t, schedule: {interval: 1m}, foo: 1, missed: {x: 1}}",
        [
            "spec.missed.x: is not a field; known here: policy, limit, onResume",
            "spec.foo: is not a field; "
            "known here: task, poolRef, schedule, runPolicy, missed, overlap, timeout, retry, breaker, "
            "guarantee, group, params, requires, objective, isolation, suspend, historyLimit",
        ],
        id="a word that nobody knows",
    ),
]


@pytest.mark.parametrize(("spec", "messages"), REFUSED)
def test_an_unknown_field_names_the_one_that_was_meant(spec: str, messages: list[str]) -> None:
    """The nearest field is named: beside it first, then anywhere, then by what other products call it."""
    found = read_resource(yaml.safe_load(HEAD + spec), lambda _: "here")

    assert isinstance(found, Unfit)
    assert [refusal.message for refusal in found.refusals] == messages
