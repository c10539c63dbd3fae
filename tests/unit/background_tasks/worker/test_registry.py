"""The registry: a task's name leads to one coroutine or to one sentence that says what to do."""

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import Field

from background_tasks.authoring import Declaration, RunContext, TaskParams
from background_tasks.domain.model import Interval, Isolation, Policy, Schedule, Task, TaskUid
from background_tasks.engine.scheduler import Binding
from background_tasks.ports import Refusal
from background_tasks.testing import a_run
from background_tasks.worker.registry import Registry


class Params(TaskParams):
    """Of `decay`."""

    factor: float = Field(0.95, gt=0, le=1)


async def decay(redis: object, params: Params) -> tuple[object, Params]:
    """Return what it was given."""
    return redis, params


async def plain() -> None:
    """Need nothing."""


async def chatty(openrouter: object) -> None:
    """Need a chat model."""


def declare(func: Any, name: str, **more: Any) -> Declaration:
    """Declare without the process-wide registry."""
    return Declaration(name=name, func=func, interval=60, **more)


def registry(*declarations: Declaration, flags: Mapping[str, object] | None = None, **services: object) -> Registry:
    """A registry of what a test declares, in a pool with the services it names."""
    return Registry(declarations or ALL, services=services, flags=flags or {}, modules=[__name__])


ALL = (
    declare(decay, "kg_decay", params=Params, requires=frozenset({"redis"})),
    declare(plain, "plain_task"),
    declare(chatty, "chatty", requires_chat_llm=True, opt_in_config_flag="chatty_on"),
)


def task(coroutine: str, params: Mapping[str, object] | None = None, **policy: Any) -> Task:
    """Name a coroutine in a task."""
    schedule = Schedule(cadence=Interval(seconds=60))
    return Task(
        uid=TaskUid("u"),
        name="default/t",
        policy=Policy(coroutine=coroutine, schedule=schedule, **policy),
        params=params or {},
    )


def refused(answer: Binding | Refusal) -> tuple[str, str]:
    """Return a refusal's reason and sentence."""
    assert isinstance(answer, Refusal), answer
    assert (answer.where, answer.uid) == ("default/t", "u")
    return answer.reason, answer.message


async def test_a_bound_task_calls_its_coroutine_with_services_and_params() -> None:
    """What the engine calls is the coroutine, its arguments found by name."""
    binding = registry(redis="the redis").bind(task("kg_decay", {"factor": 0.5}))
    assert isinstance(binding, Binding)
    with a_run(Params(factor=0.5)) as context:
        context.services = {"redis": "the redis"}
        assert await binding.call(context) == ("the redis", Params(factor=0.5))
    assert binding.params == Params(factor=0.5)
    assert binding.entry == f"{__name__}:decay" or binding.entry is None


@pytest.mark.parametrize("name", ["kg_decay", "decay", f"{__name__}:decay"])
def test_a_task_answers_to_all_its_names(name: str) -> None:
    """The registry name, the coroutine's own name, and `module:attribute` bind the same coroutine."""
    assert isinstance(registry(redis="r").bind(task(name)), Binding)


@pytest.mark.parametrize(
    ("asked", "reason", "sentence"),
    [
        pytest.param(task("kg_decya"), "UnknownTask", "did you mean kg_decay?", id="a near miss is suggested"),
        pytest.param(task("zebra"), "UnknownTask", "known: chatty, kg_decay, plain_task", id="else all are listed"),
        pytest.param(task("os:system"), "UnknownTask", "not one of the pool's taskModules", id="only allowed modules"),
        pytest.param(task(f"{__name__}:nothing"), "UnknownTask", "defines no coroutine", id="the attribute must exist"),
        pytest.param(task(f"{__name__}:task"), "UnknownTask", "declare it there with `async def`", id="and be async"),
        pytest.param(task("kg_decay", {"facto": 1}), "InvalidParams", "did you mean factor?", id="params are checked"),
        pytest.param(
            task("plain", {"a": 1}), "InvalidParams", "spec.params.a: plain_task takes no params", id="or none"
        ),
        pytest.param(task("kg_decay"), "MissingService", "no service 'redis'; add it", id="a service is missing"),
        pytest.param(
            task("plain", requires=frozenset({"chatModel"})), "MissingService", "'openrouter'", id="more needs"
        ),
        pytest.param(
            task("plain", requires=frozenset({"my_flag"})), "FlagOff", "flag 'my_flag' is off", id="more flags"
        ),
    ],
)
def test_what_cannot_run_here_is_one_sentence_with_the_fix(asked: Task, reason: str, sentence: str) -> None:
    """Never a crash, never silence: a refusal with the condition's reason and what to do."""
    found, message = refused(registry().bind(asked))
    assert (found, sentence in message) == (reason, True), message


def test_every_unmet_gate_is_told_at_once() -> None:
    """A missing service, the chat flag and an opt-in come in one message, the first one's reason in front."""
    flags = {"background_scheduler_chat_llm_enabled": False}
    reason, message = refused(registry(flags=flags).bind(task("chatty")))
    assert reason == "MissingService"
    assert all(word in message for word in ("'openrouter'", "'background_scheduler_chat_llm_enabled'", "'chatty_on'"))
    bound = registry(flags={"chatty_on": True}, openrouter="model").bind(task("chatty"))
    assert isinstance(bound, Binding)


def test_a_name_belongs_to_one_coroutine() -> None:
    """The first keeps it; another function under the same name is refused, the same function twice is once."""
    built = registry(declare(plain, "plain_task"), declare(plain, "plain_task"), declare(chatty, "plain_task"))
    assert {name: found.func for name, found in built.names.items()} == {"plain_task": plain, "plain": plain}
    (only,) = built.refusals
    assert (only.reason, only.value) == ("NameTaken", "plain_task")
    assert "chatty" in only.message
    assert "belongs to" in only.message


def test_a_coroutine_that_nobody_could_call_is_refused_when_bound() -> None:
    """An unknown parameter is a sentence in status, and the other tasks go on."""

    async def odd(zebra: object) -> None: ...

    built = registry(declare(odd, "odd"), declare(plain, "plain"))
    reason, message = refused(built.bind(task("odd")))
    assert (reason, "nothing is known for parameter 'zebra'" in message) == ("UnknownTask", True)
    assert isinstance(built.bind(task("plain")), Binding)


def test_tasks_without_params_share_one_binding() -> None:
    """100,000 tasks of one coroutine cost one."""
    built = registry()
    assert built.bind(task("plain")) is built.bind(task("plain"))


def test_a_child_process_cannot_be_handed_services() -> None:
    """Process isolation is refused where the coroutine asks for what lives in the worker."""
    reason, message = refused(registry(redis="r").bind(task("kg_decay", isolation=Isolation.PROCESS)))
    assert reason == "InvalidIsolation"
    assert "Process" in message


def test_only_a_coroutine_that_touches_no_client_may_be_moved() -> None:
    """The engine may move a blocking coroutine to a thread if it holds nothing of the worker's loop."""

    async def with_context(ctx: RunContext[Any]) -> None: ...

    built = registry(*ALL, declare(with_context, "with_context"), redis="r")
    moved = {name: built.bind(task(name)) for name in ("plain", "kg_decay", "with_context")}
    movable = {name: binding.movable for name, binding in moved.items() if isinstance(binding, Binding)}
    assert movable == {"plain": True, "kg_decay": False, "with_context": False}
