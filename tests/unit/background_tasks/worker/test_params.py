"""Params: a task's own model checks them, and each fault is one clause with field, value and fix."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, Self

import pytest
from pydantic import Field, model_validator

from background_tasks.authoring import RunContext, TaskParams
from background_tasks.errors import InvalidParams, Refused
from background_tasks.worker.params import check, model_of


class Params(TaskParams):
    """Of a task that decays something."""

    factor: float = Field(0.95, gt=0, le=1)
    keep: timedelta = timedelta(days=7)
    mode: Literal["soft", "hard"] = "soft"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.mode == "hard" and self.factor == 1:
            raise Refused("mode 'hard' with factor 1 does nothing; give a smaller factor")
        return self


def test_good_params_become_the_model() -> None:
    """YAML values are converted as the fields say; what is absent has its default."""
    assert check(Params, {"factor": 0.5, "keep": "P1D"}, task="decay") == Params(factor=0.5, keep=timedelta(days=1))
    assert check(Params, {}, task="decay") == Params()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        pytest.param({"facto": 1}, "spec.params.facto: is not a field; did you mean factor?", id="a near miss is told"),
        pytest.param({"factor": 2}, "spec.params.factor: 2 is too large; write 1", id="a bound names value and limit"),
        pytest.param({"factor": "x"}, 'spec.params.factor: "x"', id="a wrong type names field and value"),
        pytest.param({"mode": "hart"}, "did you mean hard?", id="a closed list suggests the nearest word"),
        pytest.param(
            {"mode": "hard", "factor": 1}, "spec.params: mode 'hard' with factor 1", id="a rule between fields"
        ),
    ],
)
def test_bad_params_name_field_value_and_fix(given: Mapping[str, object], sentence: str) -> None:
    """One sentence, and no traceback of a library."""
    with pytest.raises(InvalidParams) as refused:
        check(Params, given, task="decay")
    assert sentence in str(refused.value)
    assert "pydantic" not in str(refused.value)


def test_all_faults_come_at_once() -> None:
    """A second attempt is not needed to see the second fault."""
    with pytest.raises(InvalidParams, match=r"spec\.params\.factor.*; spec\.params\.other"):
        check(Params, {"factor": 2, "other": 1}, task="decay")


class Faulty(TaskParams):
    """A model whose own check breaks."""

    share: int = 1

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if 1 / self.share > 1:
            raise RuntimeError("not reached")
        return self


def test_a_model_that_breaks_is_told_and_breaks_nothing_else() -> None:
    """What a validator of a user raises by mistake is a refusal of this one task."""
    with pytest.raises(InvalidParams, match=r"spec\.params: the model of share fails on them: ZeroDivisionError"):
        check(Faulty, {"share": 0}, task="share")


def test_a_coroutine_without_a_model_takes_no_params() -> None:
    """`params` that nothing reads are a mistake, and said to be one."""
    assert check(None, {}, task="plain") is None
    with pytest.raises(InvalidParams, match=r"spec\.params\.a, spec\.params\.b: plain takes no params; remove them"):
        check(None, {"a": 1, "b": 2}, task="plain")


async def _by_params(params: Params) -> None: ...
async def _by_context(ctx: RunContext[Params]) -> None: ...
async def _by_text(params: "Params") -> None: ...
async def _by_context_text(ctx: "RunContext[Params]") -> None: ...
async def _by_nothing(ctx: RunContext[Any], params: object) -> None: ...


@pytest.mark.parametrize(
    ("func", "model"),
    [(_by_params, Params), (_by_context, Params), (_by_text, Params), (_by_context_text, Params), (_by_nothing, None)],
)
def test_the_model_may_stand_in_the_signature(func: Any, model: type[TaskParams] | None) -> None:
    """`params: Model` or `ctx: RunContext[Model]` is enough, whether annotations are evaluated or not."""
    assert model_of(func, None) is model


def test_the_decorator_has_the_last_word() -> None:
    """A declared model wins over an annotation."""
    assert model_of(_by_params, TaskParams) is TaskParams
