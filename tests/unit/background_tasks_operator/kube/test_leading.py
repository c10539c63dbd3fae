"""What a leader does before it leads: it asks what there is to watch, until it is told."""

from collections.abc import Iterator
from typing import Any

import pytest

from background_tasks.engine.clock import SystemClock
from background_tasks.errors import Unavailable
from background_tasks_operator.kube import leading
from background_tasks_operator.kube.kinds import OPTIONAL
from background_tasks_operator.reconcile.meter import Meter
from background_tasks_operator.settings import Settings


class Answers:
    """An API server of which only the optional kinds are asked."""

    def __init__(self, *answers: Any) -> None:
        self._answers: Iterator[Any] = iter(answers)

    async def capabilities(self) -> Any:
        """Give the next answer."""
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_definition_that_is_still_being_set_up_does_not_end_the_operator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An API server that answers 429 for a kind that was defined a moment ago is asked again."""
    monkeypatch.setattr(leading, "ASK_AGAIN_S", 0.0)
    unasked: Any = None
    leader = leading.Leading(unasked, Settings(image="i:1"), clock=SystemClock(), meter=Meter(), may_act=lambda: True)
    early = Unavailable("kubernetes: get servicemonitors: storage is (re)initializing (429)")
    leader._api = Answers(early, frozenset(OPTIONAL.values()))  # type: ignore[assignment]
    assert "ServiceMonitor" in await leader._kinds()
