"""Task modules: what can be imported is found, what cannot is a sentence, and nobody reaches what was not offered."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from background_tasks.authoring import _BACKGROUND_TASKS_REGISTRY
from background_tasks.catalogue import CATALOGUE, coroutines, entries, files
from background_tasks.worker.registry import Registry
from background_tasks.worker.task_modules import attribute_of, entry_of, load

GOOD = """
from asyncio import sleep
from background_tasks import background_task

@background_task(interval=60, name="my_digest")
async def digest() -> None: ...

async def undecorated() -> None: ...

async def _private() -> None: ...

def plain() -> None: ...
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the import path; what was imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    own = {
        name for name, module in sys.modules.items() if str(getattr(module, "__file__", "")).startswith(str(tmp_path))
    }
    for name in own:
        del sys.modules[name]
    _BACKGROUND_TASKS_REGISTRY[:] = [
        entry for entry in _BACKGROUND_TASKS_REGISTRY if entry["func"].__module__ not in own
    ]


def test_the_decorated_coroutines_of_a_module_are_found(folder: Path) -> None:
    """Again and again: a module that was imported before gives the same."""
    (folder / "good_tasks.py").write_text(GOOD)
    for _ in range(2):
        assert [found.name for found in load([], ["good_tasks"]).declarations] == ["my_digest"]


def test_a_package_gives_what_lies_below_it_and_what_it_shows(folder: Path) -> None:
    """`taskModules: [shop]` is enough for tasks in `shop.inner` that `shop` imports."""
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").write_text("from shop import inner")
    (folder / "shop" / "inner.py").write_text(GOOD)
    assert [found.name for found in load([], ["shop"]).declarations] == ["my_digest"]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        pytest.param(None, "there is no module 'bad_tasks'", id="a module that is not there"),
        pytest.param("1 / 0", "ZeroDivisionError: division by zero at", id="a module that raises"),
        pytest.param("import nowhere", "No module named 'nowhere'", id="a module whose own import fails"),
        pytest.param("def (", "SyntaxError", id="a module that is not Python"),
        pytest.param("raise SystemExit(3)", "SystemExit: 3", id="a script that exits"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_sentence(folder: Path, source: str | None, sentence: str) -> None:
    """The refusal names the module, the error, the place and the fix; the other modules are there."""
    (folder / "good_tasks.py").write_text(GOOD)
    if source is not None:
        (folder / "bad_tasks.py").write_text(source)
    loaded = load([], ["bad_tasks", "good_tasks"])
    (refusal,) = loaded.refusals
    assert sentence in refusal.message
    assert refusal.message.startswith("spec.taskModules: ")
    assert "correct the " in refusal.message
    assert [found.name for found in loaded.declarations] == ["my_digest"]


def test_only_what_a_module_defines_or_decorates_can_be_named(folder: Path) -> None:
    """`module:attribute` reaches no private name, no plain function, nothing that was merely imported."""
    (folder / "good_tasks.py").write_text(GOOD)
    load([], ["good_tasks"])
    names = ("digest", "undecorated", "_private", "plain", "sleep", "nothing")
    assert {name: attribute_of("good_tasks", name) is not None for name in names} == {
        "digest": True,
        "undecorated": True,
        "_private": False,
        "plain": False,
        "sleep": False,
        "nothing": False,
    }


def test_a_child_process_finds_a_function_at_the_top_of_a_module_only(folder: Path) -> None:
    """An inner function has no address."""
    (folder / "good_tasks.py").write_text(GOOD)
    load([], ["good_tasks"])

    async def inner() -> None: ...

    digest = attribute_of("good_tasks", "digest")
    assert digest is not None
    assert (entry_of(digest), entry_of(inner)) == ("good_tasks:digest", None)


def test_a_user_cannot_take_a_name_of_the_catalogue(folder: Path) -> None:
    """The catalogue comes first; the other one is refused and told."""
    (folder / "rival.py").write_text(GOOD.replace("my_digest", "kg_decay"))
    built = Registry.load(["rival"], services={})
    assert built.names["kg_decay"].func.__module__ == "background_tasks.catalogue.kg_decay"
    assert ("NameTaken", "kg_decay") in [(refusal.reason, refusal.value) for refusal in built.refusals]


def test_the_catalogue_is_whole() -> None:
    """Every entry can be imported, no two share a name, and each says what it needs."""
    built = Registry.load(services={})
    assert built.refusals == ()
    assert len(load(entries(), []).declarations) == len(CATALOGUE) == len(coroutines())
    assert files() == {entry.partition(":")[0] for entry in CATALOGUE}
    needs = {found.name: sorted(found.requires) for found in built.names.values()}
    assert needs == {
        "scheduled_prompt_tick": ["redis"],
        "scheduled_prompt_cleanup": ["redis"],
        "kg_decay": ["kg_manager"],
        "journal_stream": ["redis"],
        "limbic_maintenance": ["bot_runner"],
    }
    assert {"kg_decay_task", "journal_stream_task", "limbic_maintenance_task"} < built.names.keys()
