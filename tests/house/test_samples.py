"""The samples are what a newcomer copies: each is read, bound to a coroutine, and says in a comment what it shows."""

from pathlib import Path

import pytest

from background_tasks.catalogue import CATALOGUE
from background_tasks.domain.model import Task
from background_tasks.ports import Refusal
from background_tasks.sources.contents import survey
from background_tasks.worker.registry import Registry

ROOT = Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "manifests/samples").glob("*.yaml"))


class EveryService:
    """Stands for a pool that has everything."""

    def get(self, name: str) -> object:
        """Return something, whatever the name."""
        return self


def tasks() -> list[Task]:
    """Read all sample tasks."""
    return [declared.task for declared in survey([ROOT / "manifests/samples"]).tasks.tasks.values()]


def test_no_sample_is_refused() -> None:
    """`bgtasks lint manifests/samples` finds nothing."""
    assert survey([ROOT / "manifests/samples"]).tasks.refusals == ()


@pytest.mark.parametrize("task", tasks(), ids=lambda task: task.name)
def test_every_sample_is_bound_to_its_coroutine(task: Task) -> None:
    """Name and params of each sample fit a coroutine of the catalogue or of the examples."""
    registry = Registry.load(["background_tasks.examples"], services=EveryService())
    bound = registry.bind(task)
    assert not isinstance(bound, Refusal), bound.message


def test_every_task_of_the_catalogue_has_a_sample() -> None:
    """A task that ships is shown."""
    shown = {task.policy.coroutine for task in tasks()}
    assert {entry.split(":")[0] for entry in CATALOGUE} <= shown


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_every_sample_begins_with_what_it_shows(path: Path) -> None:
    """The first line is a comment in words."""
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ")
    assert len(first.split()) > 4
