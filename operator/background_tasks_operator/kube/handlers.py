"""What is watched, and where it goes: a table of contents. A handler hands on and decides nothing.

Not here, for reasons that were measured: indices, worker limits, timers, daemons, handlers of creation or change. They
do not scale, put finalizers or annotations on other people's objects, or act on edges that a restart loses.
"""

from collections.abc import Callable, Iterable
from typing import Any

import kopf

from background_tasks_operator.kube.kinds import RESOURCES
from background_tasks_operator.kube.login import login
from background_tasks_operator.reconcile.memory import LISTED

LOGIN_BACKOFF_S = 5.0

type Tell = Callable[[str, dict[str, Any]], None]


def registry(tell: Tell, kinds: Iterable[str]) -> kopf.OperatorRegistry:
    """Register one handler for every kind."""
    made = kopf.OperatorRegistry()
    kopf.on.login(registry=made, id="login", backoff=LOGIN_BACKOFF_S)(login)
    for kind in kinds:
        resource = RESOURCES[kind]
        kopf.on.event(resource.group, resource.version, resource.plural, registry=made, id=kind)(_handler(tell))
    return made


def _handler(tell: Tell) -> Callable[..., Any]:
    async def told(event: kopf.RawEvent, **_: Any) -> None:
        """Hand an event on. kopf gives no type to an object that a list told of."""
        tell(event["type"] or LISTED, dict(event["object"]))

    return told
