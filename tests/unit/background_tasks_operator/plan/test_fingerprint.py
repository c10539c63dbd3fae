"""When an object needs no apply."""

from typing import Any

import pytest

from background_tasks_operator.plan.fingerprint import fingerprint, holds, is_current, stamped

DESIRED: dict[str, Any] = {
    "kind": "Service",
    "metadata": {"name": "crawl-workers", "labels": {"team": "memory"}},
    "spec": {"ports": [{"name": "metrics", "port": 8080}], "selector": {"a": "b"}},
}


def live(**spec: object) -> dict[str, Any]:
    """Return the object as a cluster shows it, with defaults and the fields of others."""
    applied = stamped(DESIRED)
    meta = {**applied["metadata"], "uid": "1", "resourceVersion": "9"}
    ports = [{"name": "metrics", "port": 8080, "protocol": "TCP"}]
    return {**applied, "metadata": meta, "spec": {"ports": ports, "selector": {"a": "b"}, "type": "ClusterIP", **spec}}


def test_a_fingerprint_is_the_same_everywhere() -> None:
    """The order of keys counts for nothing, and the text is fixed: another release must not apply all anew."""
    turned = dict(reversed(DESIRED.items()))
    assert fingerprint(DESIRED) == fingerprint(turned) == "44ce1367261543d1"


def test_an_object_that_was_applied_is_current() -> None:
    """Defaults and other people's fields are no drift."""
    assert is_current(DESIRED, live())


@pytest.mark.parametrize(
    "spec",
    [
        {"selector": {}},
        {"selector": None},
        {"ports": []},
        {"ports": [{"name": "metrics"}]},
        {"ports": [{"name": "metrics", "port": 8080}, {"name": "theirs", "port": 1}]},
    ],
)
def test_a_change_by_hand_is_seen(spec: dict[str, object]) -> None:
    """A value of ours that is gone or different needs an apply."""
    assert not is_current(DESIRED, live(**spec))


def test_a_wish_that_was_dropped_is_seen() -> None:
    """The live object still holds all that is desired now; its fingerprint tells of something more."""
    fewer = {**DESIRED, "spec": {"selector": {"a": "b"}}}
    assert holds(live(), fewer)
    assert not is_current(fewer, live())


@pytest.mark.parametrize("body", [{}, {"metadata": None}, {"metadata": {"annotations": "x"}}])
def test_an_object_without_our_stamp_is_not_current(body: dict[str, Any]) -> None:
    """Whatever stands there, it is applied."""
    assert not is_current(DESIRED, body)


def test_a_stamp_leaves_the_rest_alone() -> None:
    """Only one annotation is added, beside those that there are, and the plan's own object stays as it was."""
    annotated = {**DESIRED, "metadata": {**DESIRED["metadata"], "annotations": {"a": "b"}}}
    mark = {"background-tasks.dev/fingerprint": fingerprint(annotated)}
    assert stamped(annotated)["metadata"]["annotations"] == {"a": "b", **mark}
    assert annotated["metadata"]["annotations"] == {"a": "b"}
