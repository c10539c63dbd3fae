"""The catalogue in a program of its own: every task whose needs are met, and for each of the others the reason why not.

Not here: pools and workers (`registry` binds tasks there, by the same gates).
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from background_tasks.authoring import Declaration, TaskCoroutine, declaration_of
from background_tasks.catalogue import entries
from background_tasks.domain.gates import Gate, unmet
from background_tasks.errors import Refused
from background_tasks.ports import Clock
from background_tasks.worker.background_scheduler import AlreadyRegistered, BackgroundScheduler, Registered
from background_tasks.worker.declared import policy_of
from background_tasks.worker.params import check
from background_tasks.worker.registry import Ready, named, ready
from background_tasks.worker.task_modules import load

INTERVAL_SETTINGS = {"starwiki_lint": "starwiki_lint_interval_minutes"}
"""Config settings, in minutes, that override a task's interval."""
OF_BOT_RUNNER = ("message_cache", "embedding_queue", "adapters")
"""Services that a bot runner brings along."""

_log = logging.getLogger("background_tasks")


def build_scheduler(
    redis: object | None = None,
    kg_manager: object | None = None,
    openrouter: object | None = None,
    bot_runner: object | None = None,
    *,
    config: object | None = None,
    tasks: Iterable[TaskCoroutine] = (),
    clock: Clock | None = None,
) -> BackgroundScheduler:
    """Return a scheduler with every catalogue task whose needs are met, and `tasks`, decorated coroutines of your own.

    `config` is an object with attributes, or a mapping; without one the chat flag is on and opt-ins are off. What was
    left out stands in `not_registered` with its reason, and in the log. Start it with `await scheduler.start()`.

    Raises `AlreadyRegistered` (a `ValueError`) for one name with two functions, `Refused` for a coroutine that cannot
    be run and for an interval in the config that is not a positive number of minutes.
    """
    loaded = load(entries(), ())
    own = [_decorated(func) for func in tasks]
    offered = {
        "redis": redis,
        "kg_manager": kg_manager,
        "openrouter": openrouter,
        "bot_runner": bot_runner,
        **{name: getattr(bot_runner, name, None) for name in OF_BOT_RUNNER},
    }
    scheduler = register_declared((*loaded.declarations, *own), offered=offered, config=config, clock=clock)
    failed = {refusal.where: refusal.message for refusal in loaded.refusals}
    scheduler.not_registered = MappingProxyType({**scheduler.not_registered, **failed})
    for name, reason in scheduler.not_registered.items():
        _log.info("%s not registered: %s", name, reason)
    return scheduler


def register_declared(
    declarations: Iterable[Declaration],
    *,
    offered: Mapping[str, object | None],
    config: object | None = None,
    clock: Clock | None = None,
) -> BackgroundScheduler:
    """Register every declaration whose gates are met by `offered` and `config`."""
    names, taken = named(declarations)
    if taken:
        raise AlreadyRegistered("; ".join(refusal.message for refusal in taken))
    services = {name: service for name, service in offered.items() if service is not None}
    flags = ConfigFlags(config)
    scheduler = BackgroundScheduler(
        clock=clock, services={**services, **({} if config is None else {"config": config})}
    )
    left_out: dict[str, str] = {}
    for declaration in {declaration.name: declaration for declaration in names.values()}.values():
        found = ready(declaration)
        reasons = list(_reasons(found, frozenset(services), flags))
        if reasons:
            left_out[declaration.name] = "; ".join(reasons)
        else:
            _register(scheduler, found, flags, services)
    scheduler.not_registered = MappingProxyType(left_out)
    return scheduler


class ConfigFlags(Mapping[str, object]):
    """A config of any shape as a mapping: attributes of an object, or a mapping itself. None means not set."""

    def __init__(self, config: object | None) -> None:
        self._config = config

    def __getitem__(self, name: str) -> object:
        config = self._config
        value = config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        known = self._config if isinstance(self._config, Mapping) else vars(self._config) if self._config else ()
        return (name for name in known if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _decorated(func: TaskCoroutine) -> Declaration:
    declaration = declaration_of(func)
    if declaration is None:
        raise Refused(f"{func!r} is not decorated; put @background_task(interval=...) on it")
    return declaration


def _reasons(found: Ready, services: frozenset[str], flags: Mapping[str, object]) -> Iterator[str]:
    own = found.declaration
    if own.supervised:
        yield "a TaskSupervisor runs it"
    for gate in unmet(found.needs, own.requires_chat_llm, own.opt_in_config_flag, services=services, flags=flags):
        yield _reason(gate)


def _reason(gate: Gate) -> str:
    return f"needs {gate.name}" if gate.reason == "MissingService" else f"flag {gate.name} is off"


def _register(
    scheduler: BackgroundScheduler, found: Ready, flags: Mapping[str, object], services: Mapping[str, object]
) -> None:
    declaration = found.declaration
    interval = _interval_of(declaration, flags)
    given = found.arguments.needed | found.arguments.optional
    shown = Registered(
        name=declaration.name,
        func=declaration.func,
        interval=interval or declaration.interval,
        initial_delay=declaration.initial_delay,
        kwargs=MappingProxyType({name: services[name] for name in given if name in services}),
    )
    params = check(found.model, {}, task=declaration.name)
    scheduler.add(shown, policy_of(declaration, interval=interval), found.call, params)


def _interval_of(declaration: Declaration, flags: Mapping[str, object]) -> float | None:
    """Read the config's interval of a task, in seconds; None: the decorator's stands."""
    setting = INTERVAL_SETTINGS.get(declaration.name)
    value = None if setting is None else flags.get(setting)
    if value is None:
        return None
    try:
        minutes = float(str(value))
    except ValueError:
        minutes = float("nan")
    if not 0 < minutes < float("inf"):
        raise Refused(f"config {setting} is {value!r}; give a positive number of minutes")
    return minutes * 60
