"""Arguments: every coroutine is called by the names of its parameters, and what nobody could fill is refused early."""

from collections.abc import Mapping
from typing import Any

import pytest

from background_tasks.authoring import RunContext, TaskParams
from background_tasks.errors import Refused
from background_tasks.testing import a_run
from background_tasks.worker.arguments import KNOWN, Arguments, arguments_of, call_of


class Offered(dict[str, object]):
    """Services of a test, by name."""


def _run(offered: Mapping[str, object]) -> RunContext[Any]:
    with a_run(TaskParams()) as context:
        context.services = Offered(offered)
        return context


async def _everything(
    redis: object,
    kg_manager: object,
    openrouter: object,
    bot_runner: object,
    config: object,
    message_cache: object,
    embedding_queue: object,
    adapters: object,
    ctx: object,
    params: object,
) -> dict[str, object]:
    return locals()


async def test_each_argument_is_found_by_its_name() -> None:
    """Services, config, context and params arrive under the names that the coroutine chose for them."""
    offered = {name: f"the {name}" for name in KNOWN if name not in ("ctx", "params")}
    context = _run(offered)
    got = await call_of(_everything, arguments_of(_everything))(context)
    assert got == {**offered, "ctx": context, "params": context.params}


async def test_a_default_stands_where_the_pool_has_no_such_service() -> None:
    """An optional service is passed when it is there, and left to its default when it is not."""

    async def task(redis: object = "mine", max_channels: int = 10) -> tuple[object, int]:
        return redis, max_channels

    arguments = arguments_of(task)
    assert arguments == Arguments(needed=frozenset(), optional=frozenset({"redis"}), of_run=frozenset())
    assert await call_of(task, arguments)(_run({})) == ("mine", 10)
    assert await call_of(task, arguments)(_run({"redis": "theirs"})) == ("theirs", 10)


async def test_a_missing_config_is_none_and_no_gate() -> None:
    """`config` hands an object over; without one the coroutine gets None."""

    async def task(config: object) -> object:
        return config

    assert not arguments_of(task).needed
    assert await call_of(task, arguments_of(task))(_run({})) is None


async def test_a_coroutine_without_parameters_is_called_bare() -> None:
    """`log_rag_ingest_task()` takes nothing."""

    async def task() -> str:
        return "ran"

    assert await call_of(task, arguments_of(task))(_run({})) == "ran"


async def _near(redsi: object) -> None: ...
async def _far(zebra: object) -> None: ...
async def _positional(redis: object, /) -> None: ...
def _plain(redis: object) -> None: ...


@pytest.mark.parametrize(
    ("func", "sentence"),
    [
        pytest.param(_near, "'redsi'; did you mean redis?", id="a misspelled service is told its name"),
        pytest.param(_far, "known are redis, kg_manager", id="an unknown parameter is told all that is known"),
        pytest.param(_positional, "positional-only", id="a positional-only parameter cannot be passed by name"),
        pytest.param(_plain, "declare it with `async def`", id="a plain function is refused"),
    ],
)
def test_what_cannot_be_called_is_refused_with_the_fix(func: Any, sentence: str) -> None:
    """The refusal comes when the task is bound, not when it first runs."""
    with pytest.raises(Refused) as refused:
        arguments_of(func)
    assert sentence in str(refused.value)


def test_a_catch_all_is_left_alone() -> None:
    """`*args` and `**kwargs` ask for nothing."""

    async def task(*args: object, **kwargs: object) -> None: ...

    assert arguments_of(task) == Arguments(needed=frozenset(), optional=frozenset(), of_run=frozenset())
