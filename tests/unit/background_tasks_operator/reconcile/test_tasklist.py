"""Every task in a few words: counts that follow each change."""

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from background_tasks_operator.plan.model import TaskCounts
from background_tasks_operator.reconcile.bodies import slots_in
from background_tasks_operator.reconcile.keys import PoolKey, TaskKey
from background_tasks_operator.reconcile.tasklist import TaskList

POOLS = ("p", "q")
READY: tuple[dict[str, str], ...] = (
    {"status": "True", "reason": "Armed"},
    {"status": "True", "reason": "Running"},
    {"status": "False"},
    {},
)


def task(name: str, *, pool: str, ready: Mapping[str, Any], late: bool, version: int) -> dict[str, Any]:
    """A task's body."""
    conditions = [{"type": "Ready", **ready}, {"type": "ObjectiveMet", "status": "False" if late else "True"}]
    return {
        "apiVersion": "background-tasks.dev/v1alpha1",
        "kind": "BackgroundTask",
        "metadata": {"name": name, "namespace": "here", "uid": name, "generation": version,
                     "resourceVersion": str(version)},
        "spec": {"task": "kg_decay", "schedule": {"every": "5m"}, "poolRef": {"name": pool}},
        "status": {"conditions": conditions},
    }  # fmt: skip


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.sampled_from((*POOLS, None)), st.sampled_from(READY), st.booleans()
        ),
        max_size=30,
    )
)  # fmt: skip
def test_counts_are_those_of_the_tasks_that_exist(
    changes: list[tuple[str, str | None, dict[str, str], bool]],
) -> None:
    """After any edits, moves and deletions the counts are what one would count by hand."""
    tasks = TaskList()
    alive: dict[str, tuple[str, dict[str, str], bool]] = {}
    for version, (name, pool, ready, late) in enumerate(changes, start=1):
        if pool is None:
            tasks.gone(TaskKey("here", name))
            alive.pop(name, None)
            continue
        tasks.seen(task(name, pool=pool, ready=ready, late=late, version=version), now=version)
        alive[name] = (pool, ready, late)
    for pool in POOLS:
        ours = [(ready, late) for home, ready, late in alive.values() if home == pool]
        assert tasks.counts(PoolKey("here", pool)) == TaskCounts(
            total=len(ours),
            ready=sum(ready.get("status") == "True" for ready, _ in ours),
            running=sum(ready.get("reason") == "Running" for ready, _ in ours),
            late=sum(late for _, late in ours),
        )


def test_an_older_body_changes_nothing() -> None:
    """News may come twice, and in the wrong order with answers to our own writes."""
    tasks = TaskList()
    tasks.seen(task("a", pool="p", ready=READY[0], late=False, version=5), now=1)
    assert tasks.seen(task("a", pool="q", ready=READY[2], late=True, version=4), now=2) is None
    assert tasks.counts(PoolKey("here", "p")) == TaskCounts(total=1, ready=1)


def test_a_status_that_nobody_should_have_written_is_let_be() -> None:
    """Whatever stands in a status or annotations, the task is counted and judged."""
    strange: list[Any] = [None, 7, "x", [], {"conditions": 3}, {"conditions": [3, {"type": 4}, {"type": "Accepted"}]}]
    for number, status in enumerate(strange):
        body = task("a", pool="p", ready=READY[0], late=False, version=number + 1)
        body["metadata"]["annotations"] = status
        taken = TaskList().seen({**body, "status": status}, now=0)
        assert taken == (TaskKey("here", "a"), {PoolKey("here", "p")})


def test_held_slots_are_counted_with_care() -> None:
    """A slot with a holder counts as held; a table that cannot be read counts as not filled yet."""
    assert slots_in({"data": {"slots": '["3:worker-a.f0", "1:", "0:"]'}}) == (1, 3)
    for data in (None, {}, {"slots": "]"}, {"slots": "{}"}, {"slots": "[1]"}, {"slots": 3}, "x"):
        assert slots_in({"data": data}) == (0, 0)
