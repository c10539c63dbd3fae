"""Which needs of a task its pool does not meet: services that are absent, flags that are off.

Not here: whether a service answers right now; that is health, and a run finds out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

CHAT_FLAG = "background_scheduler_chat_llm_enabled"
"""Off: no task that declares `requires_chat_llm` runs. On where nobody set it."""
OFF_WORDS = frozenset({"", "0", "false", "no", "off"})
"""What a flag's text may say for off, in any case; every other text is on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A need unmet. The task is not started until it is met."""

    reason: Literal["MissingService", "FlagOff"]
    name: str
    message: str


def is_on(value: object) -> bool:
    """Say whether a flag's value means on; text is read as people write it."""
    return value.strip().lower() not in OFF_WORDS if isinstance(value, str) else bool(value)


def unmet(
    task_requires: frozenset[str],
    chat_llm: bool,
    flag: str | None,
    *,
    services: frozenset[str],
    flags: Mapping[str, object],
) -> tuple[Gate, ...]:
    """Name every need that is not met: services by name, the chat flag, then the flag that the task opts in by."""
    gates = [
        Gate(reason="MissingService", name=name, message=f"the pool has no service {name!r}; add it to the pool")
        for name in sorted(task_requires - services)
    ]
    wanted = ((CHAT_FLAG, True),) if chat_llm else ()
    for name, default in (*wanted, *(((flag, False),) if flag is not None else ())):
        if not is_on(flags.get(name, default)):
            message = f"flag {name!r} is off; set it to true in the pool's flags"
            gates.append(Gate(reason="FlagOff", name=name, message=message))
    return tuple(gates)
