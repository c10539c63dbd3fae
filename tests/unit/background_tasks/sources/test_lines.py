"""A refusal points to the line of the field itself."""

from pathlib import Path

import pytest

from background_tasks.api.read import Foreign, Unfit
from background_tasks.sources.loading import Place, duplicates, read_bytes

MARKED = """\
# tasks of the chat
apiVersion: background-tasks.dev/v1alpha1
kind: BackgroundTask
metadata:
  name: Wrong_Name            # <- metadata.name
spec:
  task: kg decay              # <- spec.task
  schedule:
    interval: 30              # <- spec.schedule.interval
    timeZone: Europe/Berln    # <- spec.schedule.timeZone
    blackouts:
      - cron: "0 1 * * *"
        duration: 1h
      - duration: 0s          # <- spec.schedule.blackouts[1].duration
        cron: "* *"           # <- spec.schedule.blackouts[1].cron
  missed: {limit: 5,
           polcy: Once}       # <- spec.missed.polcy
  retry:
    attempts: many            # <- spec.retry.attempts
  timeout:                    # <- spec.timeout
  requires:
    - redis
    - a b                     # <- spec.requires[1]
  params:
    prompt: |
      timeout: 5
      task: not a field
  histroyLimit: 5             # <- spec.histroyLimit
"""


def marks(text: str) -> set[tuple[int, str]]:
    """Read which fields are marked on which lines."""
    rows = enumerate(text.splitlines(), start=1)
    return {(number, row.rpartition("# <- ")[2].strip()) for number, row in rows if "# <- " in row}


@pytest.mark.parametrize("above", ["", "a: 1\n---\n", "--- # first\nkind: A\n...\n---\n# two\n---\n"])
def test_every_refusal_points_to_the_line_of_its_field(above: str) -> None:
    """Block and flow, lists and nested fields, whatever stands above the document."""
    entry = read_bytes(Path("tasks.yaml"), (above + MARKED).encode())[-1]

    assert isinstance(entry.found, Unfit)
    told = {(Place.read(refusal.where).line, refusal.field) for refusal in entry.found.refusals}
    assert told == marks(above + MARKED)


def test_a_missing_field_points_to_what_lacks_it() -> None:
    """A field that is not there has no line; the nearest one above it has."""
    text = "apiVersion: background-tasks.dev/v1alpha1\nkind: BackgroundTask\nmetadata: {name: t}\nspec:\n  task: t\n"
    (entry,) = read_bytes(Path("t.yaml"), text.encode())

    assert isinstance(entry.found, Unfit)
    assert [(refusal.where, refusal.field) for refusal in entry.found.refusals] == [
        ("t.yaml:4 (document 1)", "spec.schedule")
    ]


def test_rules_between_fields_point_to_the_field_to_change() -> None:
    """Of two fields that contradict each other, the one in the message is the one on the line."""
    head = "apiVersion: background-tasks.dev/v1alpha1\nkind: BackgroundTask\nmetadata: {name: t}\n"
    text = f"{head}spec:\n  task: t\n  overlap: Queue\n  schedule:\n    interval: 1m\n"
    (entry,) = read_bytes(Path("t.yaml"), text.encode())

    assert isinstance(entry.found, Unfit)
    assert [refusal.where for refusal in entry.found.refusals] == ["t.yaml:6 (document 1)"]


def test_a_list_is_opened_and_each_item_has_its_own_lines() -> None:
    """`kubectl get -o yaml` prints one; so does `-o json`."""
    text = """\
apiVersion: v1
kind: List
items:
- apiVersion: background-tasks.dev/v1alpha1
  kind: BackgroundTask
  metadata: {name: a}
  spec: {task: a, schedule: {interval: 1m}}
- apiVersion: background-tasks.dev/v1alpha1
  kind: BackgroundTask
  metadata: {name: b}
  spec:
    task: b
    schedule: {interval: 1}
- {apiVersion: v1, kind: Secret}
"""
    good, bad, foreign = read_bytes(Path("l.yaml"), text.encode())

    assert (good.identity and good.identity.name, str(good.place)) == ("a", "l.yaml:4 (document 1)")
    assert isinstance(bad.found, Unfit)
    assert [refusal.where for refusal in bad.found.refusals] == ["l.yaml:13 (document 1)"]
    assert foreign.found == Foreign("Secret")


def test_a_name_that_is_there_twice_is_refused_with_both_places() -> None:
    """Kinds and namespaces keep names apart; files do not."""
    text = "apiVersion: background-tasks.dev/v1alpha1\nkind: {kind}\nmetadata:\n  name: a\n  namespace: {space}\n"
    files = {"one.yaml": ("WorkerPool", "x"), "two.yaml": ("WorkerPool", "y"), "three.yaml": ("WorkerPool", "x")}
    entries = [
        read_bytes(Path(file), text.format(kind=kind, space=space).encode())[0] for file, (kind, space) in files.items()
    ]
    found = duplicates(entry.claim(entry.identity) for entry in entries if entry.identity is not None)

    assert [(refusal.where, refusal.message) for refusal in found.values()] == [
        (
            "three.yaml:4 (document 1)",
            "metadata.name: WorkerPool x/a is declared before, at one.yaml:4 (document 1); "
            "rename or remove one of the two",
        )
    ]


@pytest.mark.parametrize("place", [Place(Path("a b:3/c.yaml"), 7, 2), Place(Path("c.yaml"), 1)])
def test_a_place_can_be_read_back(place: Place) -> None:
    """A refusal carries its place as text; tools want the parts."""
    assert Place.read(str(place)) == place
