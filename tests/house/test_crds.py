"""What is committed of the resources' definitions is what the models say today; `make manifests` writes it."""

from pathlib import Path

import pytest

from background_tasks.api import names
from background_tasks.api.crd import crd_text
from background_tasks.api.crd_page import page

ROOT = Path(__file__).parents[2]
FILES = {names.TASK_KIND: "backgroundtasks.yaml", names.POOL_KIND: "workerpools.yaml"}


@pytest.mark.parametrize("kind", names.KINDS)
def test_a_committed_definition_is_what_the_models_say(kind: str) -> None:
    """A change of a model comes with its definition: run `make manifests`."""
    assert (ROOT / "manifests" / "crd" / FILES[kind]).read_text() == crd_text(kind)


def test_the_reference_page_is_what_the_models_say() -> None:
    """A change of a model comes with its page: run `make manifests`."""
    assert (ROOT / "docs" / "resources.md").read_text() == page()
