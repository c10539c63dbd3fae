"""The package's face: every public name can be imported, and importing the package costs next to nothing."""

import subprocess
import sys

import pytest

import background_tasks

HEAVY = ("openai", "google.genai", "falkordb", "discord", "nio", "redis", "pydantic", "kubernetes", "asyncio")


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_importing_the_package_takes_no_heavy_module() -> None:
    """No client library, no model library, no loop: those come with the name that needs them."""
    code = f"import sys, background_tasks; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert _python(code) == "[]"


def test_importing_the_names_for_authors_takes_no_client_library() -> None:
    """A module of tasks can be imported on any machine."""
    heavy = [name for name in HEAVY if name not in ("pydantic", "asyncio")]
    code = (
        "import sys; from background_tasks import background_task, current_run, RunContext, TaskParams, TaskReport;"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    assert _python(code) == "[]"


def test_the_pytest_plugin_imports_nothing_before_it_is_used() -> None:
    """Every pytest run of every user loads it."""
    heavy = [name for name in HEAVY if name != "asyncio"]
    code = f"import sys, background_tasks.testing.plugin; print([m for m in {heavy!r} if m in sys.modules])"
    assert _python(code) == "[]"


@pytest.mark.parametrize("name", background_tasks.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    """`from background_tasks import <name>` works, and `dir` shows it."""
    assert getattr(background_tasks, name) is not None
    assert name in dir(background_tasks)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As with any other module."""
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = background_tasks.nothing
