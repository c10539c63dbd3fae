"""From resources to tasks: defaults, every field, shared policies, identities."""

from collections.abc import Mapping
from types import MappingProxyType

import yaml

from background_tasks.api.convert import task_of
from background_tasks.api.read import read_resource, uid_of
from background_tasks.api.task import BackgroundTask
from background_tasks.domain import model as m

EVERY_FIELD = """
apiVersion: background-tasks.dev/v1alpha1
kind: BackgroundTask
metadata:
  name: digest
  namespace: chat
  uid: 1b4e28ba-2fa1-11d2-883f-0016d3cca427
  generation: 7
  creationTimestamp: "2026-01-01T00:00:00Z"
  resourceVersion: "42"
  labels: {app: chat}
  annotations:
    background-tasks.dev/run-now: again
    background-tasks.dev/paused-until: "2026-01-02T00:00:00+00:00"
    background-tasks.dev/paused-by: ada
    kubectl.kubernetes.io/last-applied-configuration: "{}"
spec:
  task: my_app.tasks:digest
  poolRef: {name: batch}
  schedule:
    cron: "*/15 9-17 * * 1-5"
    timeZone: Europe/Berlin
    initialDelay: 10s
    jitter: 1m
    spread: Hash
    blackouts: [{cron: "0 12 * * *", duration: 1h}, {cron: "0 1 * * *", duration: 30m, timeZone: UTC}]
  runPolicy: Singleton
  missed: {policy: All, limit: 3, onResume: Once}
  overlap: Queue
  timeout: 5m
  retry: {attempts: 3, initialBackoff: 2s, factor: 3, maxBackoff: 1m}
  breaker: {failures: 5, cooldown: 10m}
  guarantee: AtMostOnce
  group: api
  params: {depth: 2, words: [a, b]}
  requires: [redis, starwiki_enabled]
  objective: {maxLateness: 30s}
  isolation: Thread
  suspend: true
  historyLimit: 0
status: {worker: w1}
"""


def task(text: str, *, seen_at: float = 5.0, generation: int = 1) -> m.Task:
    """Read one document that must be a task."""
    resource = read_resource(yaml.safe_load(text), lambda _: "here")
    assert isinstance(resource, BackgroundTask), resource
    return task_of(resource, seen_at=seen_at, generation=generation)


def small(name: str = "t", **spec: object) -> str:
    """Write a document with an interval of a minute."""
    body: Mapping[str, object] = {"task": "t", "schedule": {"interval": "1m"}, **spec}
    head = {"apiVersion": "background-tasks.dev/v1alpha1", "kind": "BackgroundTask", "metadata": {"name": name}}
    return yaml.safe_dump({**head, "spec": body})


def test_a_short_document_gives_the_defaults() -> None:
    """What is not written is what the domain calls the default."""
    policy = m.Policy(coroutine="t", schedule=m.Schedule(cadence=m.Interval(seconds=60.0)))

    assert task(small()) == m.Task(
        uid=uid_of("default", "default", "t"), name="default/t", policy=policy, generation=1, created_at=5.0
    )


def test_every_field_arrives() -> None:
    """A document that says everything loses nothing; what a cluster recorded wins."""
    blackouts = (
        m.Blackout(starts=m.Cron(expression="0 12 * * *", zone="Europe/Berlin"), duration=3600.0),
        m.Blackout(starts=m.Cron(expression="0 1 * * *", zone="UTC"), duration=1800.0),
    )
    schedule = m.Schedule(
        cadence=m.Cron(expression="*/15 9-17 * * 1-5", zone="Europe/Berlin"),
        initial_delay=10.0,
        jitter=60.0,
        spread=m.Spread.HASH,
        blackouts=blackouts,
    )
    found = task(EVERY_FIELD)

    assert found.policy == policy_of(schedule)
    assert found.params == MappingProxyType({"depth": 2, "words": ["a", "b"]})
    assert found.switches == m.Switches(suspend=True, pause=m.Pause(until=1767312000.0, by="ada"), run_now="again")
    assert (found.uid, found.name) == ("1b4e28ba-2fa1-11d2-883f-0016d3cca427", "chat/digest")
    assert (found.generation, found.created_at) == (7, 1767225600.0)


def policy_of(schedule: m.Schedule) -> m.Policy:
    """Give the policy of the document that says everything."""
    return m.Policy(
        coroutine="my_app.tasks:digest",
        schedule=schedule,
        missed=m.Missed(policy=m.MissedPolicy.ALL, limit=3, on_resume=m.OnResume.ONCE),
        overlap=m.Overlap.QUEUE,
        timeout=300.0,
        retry=m.Retry(attempts=3, initial_backoff=2.0, factor=3.0, max_backoff=60.0),
        breaker=m.Breaker(failures=5, cooldown=600.0),
        guarantee=m.Guarantee.AT_MOST_ONCE,
        group="api",
        requires=frozenset({"redis", "starwiki_enabled"}),
        max_lateness=30.0,
        isolation=m.Isolation.THREAD,
        history_limit=0,
    )


def test_every_cadence_is_read() -> None:
    """Each of the five ways to be due has its own shape."""
    written: dict[str, object] = {
        "interval": "30s",
        "every": "1h",
        "cron": "0 9 * * *",
        "continuous": {},
        "onStart": {"cooldown": "0s"},
    }
    found = [task(small(schedule={name: value})).policy.schedule.cadence for name, value in written.items()]

    assert found == [
        m.Interval(seconds=30.0),
        m.Every(seconds=3600.0),
        m.Cron(expression="0 9 * * *"),
        m.Continuous(restart_delay=10.0),
        m.OnStart(cooldown=0.0),
    ]


def test_equal_policies_are_one_object() -> None:
    """A hundred thousand tasks share a few policies, however each of them spells its durations."""
    one, other = task(small("a", timeout="90s", params={"x": 1})), task(small("b", timeout="1m30s"))

    assert one.policy is other.policy
    assert one.policy is not task(small("a", timeout="91s")).policy


def test_tasks_without_params_and_switches_share_theirs() -> None:
    """Nothing is allocated for what is not said."""
    assert task(small()).params is m.EMPTY
    assert task(small(params={})).params is m.EMPTY
    assert task(small()).switches is m.NO_SWITCHES


def test_a_derived_uid_never_changes() -> None:
    """It names pool, namespace and name, on every machine and in every version: slots and pasts hang on it."""
    assert uid_of("default", "default", "kg-decay") == "7524b660-390d-562e-9145-ad91d08d4999"
    assert len({uid_of("a", "b", "c"), uid_of("a", "c", "b"), uid_of("b", "a", "c")}) == 3


def test_a_pause_for_ever_has_no_end() -> None:
    """`forever` is a pause until somebody ends it."""
    text = small().replace("name: t\n", "name: t\n  annotations: {background-tasks.dev/paused-until: forever}\n", 1)

    assert task(text).switches == m.Switches(pause=m.Pause(until=None))
