"""`build_scheduler`: which tasks register with which services, and why the others do not."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from background_tasks import BackgroundScheduler, build_scheduler
from background_tasks.authoring import _SERVICE_GATES, Declaration, TaskCoroutine
from background_tasks.errors import Refused
from background_tasks.worker.build import register_declared


async def _redis(redis: object) -> None: ...
async def _kg(kg_manager: object) -> None: ...
async def _nothing() -> None: ...
async def _bot(bot_runner: object) -> None: ...
async def _model(kg_manager: object, openrouter: object) -> None: ...
async def _all(redis: object, kg_manager: object, openrouter: object) -> None: ...
async def _with_config(redis: object, kg_manager: object, openrouter: object, config: object = None) -> None: ...


ROWS: tuple[tuple[int, str, Any, dict[str, Any]], ...] = (
    (1, "scheduled_prompt_tick", _redis, {"redis": True, "chat": True}),
    (2, "scheduled_prompt_cleanup", _redis, {"redis": True}),
    (
        3,
        "auto_kg_extraction",
        _with_config,
        {"redis": True, "kg": True, "openrouter": True, "chat": True, "config": True},
    ),
    (4, "agentic_kg_bulk_incremental", _all, {"redis": True, "kg": True, "openrouter": True, "chat": True}),
    (5, "channel_summarization", _redis, {"redis": True, "chat": True}),
    (6, "kg_consolidation", _model, {"kg": True, "openrouter": True, "chat": True}),
    (7, "kg_decay", _kg, {"kg": True}),
    (8, "journal_stream", _redis, {"redis": True}),
    (9, "log_rag_ingest", _nothing, {"flag": "background_scheduler_log_rag_ingest_enabled"}),
    (10, "gemini_key_probe", _nothing, {}),
    (
        11,
        "anamnesis_digest",
        _with_config,
        {"redis": True, "kg": True, "openrouter": True, "chat": True, "config": True},
    ),
    (13, "channel_heartbeat", _bot, {"bot_runner": True, "chat": True}),
    (14, "starwiki_lint", _bot, {"bot_runner": True, "flag": "starwiki_enabled"}),
    (15, "limbic_anchoring", _bot, {"bot_runner": True}),
    (16, "limbic_sunset", _bot, {"bot_runner": True}),
    (17, "limbic_dedup_worker", _bot, {"bot_runner": True, "supervised": True}),
    (18, "limbic_org_worker", _bot, {"bot_runner": True, "supervised": True}),
    (19, "limbic_maintenance", _bot, {"bot_runner": True}),
)
"""Number, registry name, a coroutine with the task's parameters, gates; #12 is not decorated."""
NUMBERS = {name: number for number, name, _, _ in ROWS}
ALL = {"redis": "redis", "kg_manager": "kg", "openrouter": "model", "bot_runner": "runner"}
OPTED_IN = {"starwiki_enabled": True, "background_scheduler_log_rag_ingest_enabled": True}


def _own(func: TaskCoroutine, name: str) -> TaskCoroutine:
    """Give every row a function of its own: no two tasks may share a name."""

    async def task(**arguments: object) -> object:
        return await func(**arguments)

    task.__name__ = f"{name}_task"
    task.__signature__ = __import__("inspect").signature(func)  # type: ignore[attr-defined]
    return task


def _declaration(name: str, func: TaskCoroutine, gates: Mapping[str, Any]) -> Declaration:
    services = {_SERVICE_GATES[f"requires_{gate}"] for gate in gates if f"requires_{gate}" in _SERVICE_GATES}
    return Declaration(
        name=name,
        func=_own(func, name),
        interval=60,
        requires=frozenset(services),
        requires_chat_llm=gates.get("chat", False),
        requires_config=gates.get("config", False),
        opt_in_config_flag=gates.get("flag"),
        supervised=gates.get("supervised", False),
    )


def built(offered: Mapping[str, object], config: object = None) -> BackgroundScheduler:
    """Register the table."""
    return register_declared(
        [_declaration(name, func, gates) for _, name, func, gates in ROWS], offered=offered, config=config
    )


@pytest.mark.parametrize(
    ("offered", "config", "numbers"),
    [
        pytest.param({}, None, {10}, id="nothing: 1"),
        pytest.param({"kg_manager": 1}, None, {7, 10}, id="kg_manager only: 2"),
        pytest.param({"redis": 1}, None, {1, 2, 5, 8, 10}, id="redis only: 5"),
        pytest.param(
            {"redis": 1, "kg_manager": 1, "openrouter": 1}, None, {*range(1, 9), 10, 11}, id="three services: 10"
        ),
        pytest.param(ALL, None, set(range(1, 20)) - {9, 12, 14, 17, 18}, id="everything, no config: 14"),
        pytest.param(ALL, {}, set(range(1, 20)) - {9, 12, 14, 17, 18}, id="everything, config defaults: 14"),
        pytest.param(ALL, OPTED_IN, set(range(1, 20)) - {12, 17, 18}, id="everything and both opt-ins: 16"),
        pytest.param(
            ALL,
            {**OPTED_IN, "background_scheduler_chat_llm_enabled": False},
            {2, 7, 8, 9, 10, 14, 15, 16, 19},
            id="opted in, chat flag off: 9",
        ),
    ],
)
@pytest.mark.parametrize("shape", [dict, lambda config: SimpleNamespace(**config)], ids=["mapping", "object"])
def test_what_registers_is_what_the_table_says(
    offered: Mapping[str, object], config: Mapping[str, object] | None, numbers: set[int], shape: Any
) -> None:
    """Each combination of services and flags gives its exact set, whatever the config is made of."""
    scheduler = built(offered, None if config is None else shape(config))
    assert {NUMBERS[name] for name in scheduler.tasks} == numbers
    assert scheduler.tasks.keys() | scheduler.not_registered.keys() == NUMBERS.keys()


def test_what_was_left_out_says_why() -> None:
    """Each reason names what is missing."""
    reasons = built({"redis": 1}, {"background_scheduler_chat_llm_enabled": "off"}).not_registered
    assert reasons["kg_decay"] == "needs kg_manager"
    assert reasons["kg_consolidation"] == (
        "needs kg_manager; needs openrouter; flag background_scheduler_chat_llm_enabled is off"
    )
    assert reasons["starwiki_lint"] == "needs bot_runner; flag starwiki_enabled is off"
    assert reasons["limbic_dedup_worker"] == "a TaskSupervisor runs it; needs bot_runner"


def test_the_lint_interval_comes_from_the_config() -> None:
    """Minutes, in any spelling; without the setting the decorator's interval stands."""
    on: dict[str, object] = {"starwiki_enabled": True}
    assert built(ALL, on).tasks["starwiki_lint"].interval == 60
    assert built(ALL, on | {"starwiki_lint_interval_minutes": "90"}).tasks["starwiki_lint"].interval == 5400
    with pytest.raises(Refused, match="starwiki_lint_interval_minutes is -1; give a positive number of minutes"):
        built(ALL, on | {"starwiki_lint_interval_minutes": -1})


@pytest.mark.parametrize(
    ("services", "names"),
    [
        pytest.param({}, set(), id="nothing"),
        pytest.param({"kg_manager": 1}, {"kg_decay"}, id="a graph"),
        pytest.param(
            {"redis": 1}, {"scheduled_prompt_tick", "scheduled_prompt_cleanup", "journal_stream"}, id="a Redis"
        ),
        pytest.param({"bot_runner": SimpleNamespace()}, {"limbic_maintenance"}, id="a bot runner"),
    ],
)
def test_the_tasks_that_ship_register_by_the_same_rules(services: dict[str, Any], names: set[str]) -> None:
    """The real catalogue, as far as it exists."""
    scheduler = build_scheduler(**services)
    assert scheduler.tasks.keys() == names
    assert len(scheduler.not_registered) == 5 - len(names)


def test_tasks_of_ones_own_may_join() -> None:
    """A decorated coroutine is gated like the others; one that is not decorated is refused."""
    from background_tasks import background_task

    @background_task(interval=30, name="my_own", requires_redis=True)
    async def my_own(redis: object) -> None: ...

    async def bare() -> None: ...

    assert build_scheduler(redis=1, tasks=[my_own]).tasks["my_own"].interval == 30
    assert build_scheduler(tasks=[my_own, my_own]).not_registered["my_own"] == "needs redis"
    with pytest.raises(Refused, match="is not decorated; put @background_task"):
        build_scheduler(tasks=[bare])


def test_one_name_for_two_functions_is_an_error() -> None:
    """Silence would run one of them."""
    twins = [_declaration("twin", _redis, {}), _declaration("twin", _redis, {})]
    with pytest.raises(ValueError, match="the name 'twin' belongs to"):
        register_declared(twins, offered={"redis": 1})
