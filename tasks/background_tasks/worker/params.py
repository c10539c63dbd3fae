"""`spec.params`, checked by the coroutine's own model; every fault is told with its field, its value and the fix.

Not here: what the params mean.
"""

import inspect
import traceback
import typing
from collections.abc import Mapping

from pydantic import BaseModel, ValidationError

from background_tasks.api.refusals import refusals_of
from background_tasks.authoring import TaskCoroutine
from background_tasks.errors import InvalidParams, Refused

FIELD = "spec.params"


def model_of(func: TaskCoroutine, declared: type[BaseModel] | None) -> type[BaseModel] | None:
    """Return the model of the params: the declared one, else that of `params: Model` or `ctx: RunContext[Model]`."""
    if declared is not None:
        return declared
    parameters = inspect.signature(func).parameters
    for name in ("params", "ctx"):
        if name in parameters:
            found = _annotated(func, parameters[name].annotation)
            if found is not None:
                return found
    return None


def check(model: type[BaseModel] | None, given: Mapping[str, object], *, task: str) -> BaseModel | None:
    """Return the validated params, or None where the coroutine takes none. Raises `InvalidParams` with all faults."""
    if model is None:
        if given:
            names = ", ".join(f"{FIELD}.{name}" for name in given)
            raise InvalidParams(f"{names}: {task} takes no params; remove {'it' if len(given) == 1 else 'them'}")
        return None
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        faults = refusals_of(error, model, lambda _: task, None)
        raise InvalidParams("; ".join(_sentence(fault.field, fault.message) for fault in faults)) from error
    except Refused as error:
        raise InvalidParams(f"{FIELD}: {error}") from error
    except Exception as error:  # a user's validator may raise anything; the other tasks go on
        said = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
        raise InvalidParams(f"{FIELD}: the model of {task} fails on them: {said}; correct one of the two") from error


def _sentence(field: str, message: str) -> str:
    return f"{FIELD}.{message}" if field else f"{FIELD}: {message}"


def _annotated(func: TaskCoroutine, annotation: object) -> type[BaseModel] | None:
    """Find a model in an annotation, or in its text where annotations are not evaluated."""
    if isinstance(annotation, str):
        annotation = getattr(func, "__globals__", {}).get(annotation.removeprefix("RunContext[").removesuffix("]"))
    for candidate in (annotation, *typing.get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
