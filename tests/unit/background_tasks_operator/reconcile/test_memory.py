"""News from watches: whatever it looks like, it is taken in, and wishes follow from it."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from background_tasks.testing import VirtualTime
from background_tasks_operator.reconcile.keys import Key, ObjectKey, PoolKey, Recheck, TaskKey
from background_tasks_operator.reconcile.memory import LISTED, RECHECK_AFTER_S, Memory

KINDS = ("BackgroundTask", "WorkerPool", "Role")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "conditions", "labels", "type", "poolRef", "uid"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)
BODIES = st.fixed_dictionaries(
    {"kind": st.sampled_from([*KINDS, "", "Pod"])},
    optional=dict.fromkeys(("apiVersion", "metadata", "spec", "status"), ANYTHING),
)


def memory(time: VirtualTime) -> tuple[Memory, list[Key]]:
    """A memory, and what it wishes for."""
    wishes: list[Key] = []
    return Memory(lambda key, after: wishes.append(key), clock=time, kinds=KINDS), wishes


def role(version: int, uid: str = "r", pool: str = "p") -> dict[str, Any]:
    """A Role of a pool."""
    labels = {"background-tasks.dev/pool": pool}
    meta = {"name": "p-workers", "namespace": "here", "uid": uid, "resourceVersion": str(version), "labels": labels}
    return {"kind": "Role", "metadata": meta}


@given(st.lists(st.tuples(st.sampled_from([LISTED, "ADDED", "MODIFIED", "DELETED"]), BODIES), max_size=8))
@settings(max_examples=200, deadline=None)
def test_no_body_takes_the_memory_down(news: list[tuple[str, dict[str, Any]]]) -> None:
    """A body that no cluster should send is let be; what follows is taken in as ever."""
    with VirtualTime() as time:
        seen, wishes = memory(time)
        for event, body in news:
            seen.told(event, body)
        seen.told("ADDED", role(5))
    assert PoolKey("here", "p") in wishes
    assert seen.objects.child(ObjectKey("Role", "here", "p-workers")) == role(5)


def test_news_that_comes_late_does_not_turn_time_back(virtual_time: VirtualTime) -> None:
    """An answer to our own write may overtake the watch: an older body, or an older deletion, changes nothing."""
    seen, _ = memory(virtual_time)
    key = ObjectKey("Role", "here", "p-workers")
    seen.child_seen(role(9))
    seen.told("MODIFIED", role(7))
    assert seen.objects.child(key) == role(9)
    seen.told("DELETED", role(11))
    seen.child_seen(role(10))
    assert seen.objects.child(key) is None
    seen.told("ADDED", role(12, uid="new"))
    seen.told("DELETED", role(11))
    assert seen.objects.child(key) == role(12, uid="new")


def test_an_object_whose_label_is_changed_belongs_to_its_new_pool(virtual_time: VirtualTime) -> None:
    """Its old pool has it no more; without any label it stays where it was, so that the label is put back."""
    seen, wishes = memory(virtual_time)
    seen.told("ADDED", role(1))
    seen.told("MODIFIED", role(2, pool="q"))
    assert list(seen.objects.children(PoolKey("here", "p"))) == []
    wishes.clear()
    seen.told("MODIFIED", role(3, pool=""))
    assert wishes == [PoolKey("here", "q")]


def test_only_a_list_that_tells_known_things_again_is_a_new_one(virtual_time: VirtualTime) -> None:
    """The first lists ask for no recheck, nor do several lists of one moment ask for several."""
    seen, wishes = memory(virtual_time)
    seen.told(LISTED, role(1))
    virtual_time.stall(RECHECK_AFTER_S * 2)
    assert not [key for key in wishes if isinstance(key, Recheck)]
    seen.told(LISTED, role(1))
    seen.told(LISTED, role(1))
    assert [key for key in wishes if isinstance(key, Recheck)] == [Recheck(kind) for kind in KINDS]


def test_a_task_whose_pool_nobody_told_of_has_the_pool_asked_for(virtual_time: VirtualTime) -> None:
    """Not the task is wished for, but its pool; once that is known to be absent, the task is."""
    seen, wishes = memory(virtual_time)
    meta = {"name": "t", "namespace": "here", "uid": "t"}
    seen.told("ADDED", {"kind": "BackgroundTask", "metadata": meta, "spec": {"poolRef": {"name": "p"}}})
    assert set(wishes) == {PoolKey("here", "p")}
    seen.pool_absent(PoolKey("here", "p"))
    assert wishes[-1] == TaskKey("here", "t")
