"""The decorator: it records what it was told and changes nothing; a run's context is there inside a run only."""

from typing import Any

import pytest

import background_tasks
from background_tasks.authoring import (
    _BACKGROUND_TASKS_REGISTRY,
    RunContext,
    TaskParams,
    background_task,
    current_run,
    declaration_of,
)
from background_tasks.errors import Refused
from background_tasks.testing import a_run


@pytest.fixture(autouse=True)
def _clean_registry() -> Any:
    """Take back what a test declared."""
    before = list(_BACKGROUND_TASKS_REGISTRY)
    yield
    _BACKGROUND_TASKS_REGISTRY[:] = before


async def digest(redis: object) -> None:
    """Do nothing."""


def test_the_coroutine_itself_comes_back() -> None:
    """Decorated code can be called and tested as if it were not."""
    assert background_task(interval=300)(digest) is digest


def test_each_decoration_appends_one_dict() -> None:
    """The registry of the original holds what the decorator was told, under the original's keys."""
    before = len(_BACKGROUND_TASKS_REGISTRY)
    background_task(
        300, 10, name="my_digest", requires_redis=True, requires_chat_llm=True, opt_in_config_flag="digest_on"
    )(digest)
    assert len(_BACKGROUND_TASKS_REGISTRY) == before + 1
    entry = dict(_BACKGROUND_TASKS_REGISTRY[-1])
    assert entry.pop("declaration") is declaration_of(digest)
    assert entry == {
        "name": "my_digest",
        "func": digest,
        "interval": 300.0,
        "initial_delay": 10.0,
        "requires_redis": True,
        "requires_kg": False,
        "requires_openrouter": False,
        "requires_bot_runner": False,
        "requires_chat_llm": True,
        "requires_config": False,
        "opt_in_config_flag": "digest_on",
    }


def test_the_registry_is_the_packages_own() -> None:
    """`background_tasks._BACKGROUND_TASKS_REGISTRY` is the same list."""
    assert background_tasks._BACKGROUND_TASKS_REGISTRY is _BACKGROUND_TASKS_REGISTRY


def test_needs_become_services_by_the_names_of_parameters() -> None:
    """`requires_kg` asks for `kg_manager`; the config is handed over and is no need."""
    background_task(60, requires_kg=True, requires_bot_runner=True, requires_config=True)(digest)
    declaration = declaration_of(digest)
    assert declaration is not None
    assert (declaration.requires, declaration.requires_config) == (frozenset({"kg_manager", "bot_runner"}), True)
    assert declaration.names == {"digest"}


def test_a_task_answers_to_its_name_and_to_that_of_its_function() -> None:
    """Both may stand in `spec.task`."""
    background_task(60, name="other")(digest)
    declaration = declaration_of(digest)
    assert declaration is not None
    assert declaration.names == {"other", "digest"}


@pytest.mark.parametrize("interval", [0, -1, float("nan"), float("inf")])
def test_an_interval_that_is_not_positive_is_refused(interval: float) -> None:
    """The message names the value and what to give instead, and nothing is registered."""
    before = len(_BACKGROUND_TASKS_REGISTRY)
    with pytest.raises(Refused, match=r"interval is .*; give a positive number of seconds"):
        background_task(interval)(digest)
    assert len(_BACKGROUND_TASKS_REGISTRY) == before


def test_a_negative_delay_is_refused() -> None:
    """A first run in the past makes no sense."""
    with pytest.raises(Refused, match="initial_delay is -1; give 0 or more seconds"):
        background_task(60, -1)(digest)


def test_a_function_that_is_not_async_is_refused() -> None:
    """The message says how to declare it."""

    def plain() -> None: ...

    with pytest.raises(Refused, match=r"'plain'.*declare it with `async def`"):
        background_task(60)(plain)  # type: ignore[type-var]


def test_there_is_no_run_outside_a_run() -> None:
    """A plain script sees None."""
    assert current_run() is None
    assert RunContext.current() is None


def test_the_run_is_there_inside_it_and_gone_after_it() -> None:
    """Both ways of asking give the same context."""
    with a_run(TaskParams()) as context:
        assert current_run() is context is RunContext.current()
    assert current_run() is None
