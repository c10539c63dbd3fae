"""What the operator is told: frozen, read from a mapping, all faults at once.

Not here: the environment itself (`__main__` hands it down), and what follows from a setting (`plan`, `app`).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from background_tasks.api import hints, names
from background_tasks.api.fields import LABEL_LENGTH, check_label
from background_tasks.api.pool import PoolSpec
from background_tasks.api.refusals import refusals_of, value_text
from background_tasks.errors import InvalidSettings

PREFIX = "BGTASKS_OPERATOR_"
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
LOG_LEVELS = ("debug", "info", "warning", "error")
IMAGE_LENGTH = 512
LAST_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One operator process."""

    image: str
    """BGTASKS_OPERATOR_IMAGE: the workers' image where a pool names none; required."""
    image_pull_policy: str = "IfNotPresent"
    """BGTASKS_OPERATOR_IMAGE_PULL_POLICY: goes with `image`."""
    namespace: str = names.DEFAULT_NAMESPACE
    """BGTASKS_OPERATOR_NAMESPACE: where the operator's own Leases and slot table are."""
    pod_name: str = "operator"
    """BGTASKS_OPERATOR_POD_NAME: the beginning of its member id."""
    pod_uid: str | None = None
    """BGTASKS_OPERATOR_POD_UID: the owner of its Lease; None: the Lease has none."""
    watch_namespaces: tuple[str, ...] = ()
    """BGTASKS_OPERATOR_WATCH_NAMESPACES, separated by commas; empty: the whole cluster."""
    default_pool: Mapping[str, Any] | None = None
    """BGTASKS_OPERATOR_DEFAULT_POOL: JSON, the `spec` of the pool `default` that is made on demand; `{}` where nothing
    is said. None (JSON `null`): none is made."""
    port: int = 8081
    """BGTASKS_OPERATOR_PORT: probes and metrics; 0: any free one."""
    log_level: str = "info"
    """BGTASKS_OPERATOR_LOG_LEVEL."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read the settings. Raises `InvalidSettings` with every fault in one sentence each."""
        reader = _Reader(env)
        settings = cls(
            image=reader.required("IMAGE", _image, "give the image that workers run, such as background-tasks:0.1.0"),
            image_pull_policy=reader.read("IMAGE_PULL_POLICY", _one_of(PULL_POLICIES), "IfNotPresent"),
            namespace=reader.read("NAMESPACE", _namespace, names.DEFAULT_NAMESPACE),
            pod_name=reader.read("POD_NAME", str, "operator"),
            pod_uid=reader.read("POD_UID", str, None),
            watch_namespaces=reader.read("WATCH_NAMESPACES", _namespaces, ()),
            default_pool=reader.read("DEFAULT_POOL", _pool_spec, {}),
            port=reader.read("PORT", _port, 8081),
            log_level=reader.read("LOG_LEVEL", _one_of(LOG_LEVELS), "info"),
        )
        if reader.faults:
            raise InvalidSettings("; ".join(reader.faults))
        return settings


class _Reader:
    """Reads one variable after another and keeps what is wrong with each. Empty counts as not given."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.faults: list[str] = []

    def read[T, D](self, name: str, parse: Callable[[str], T], default: D) -> T | D:
        """Return the parsed value; the default where nothing is given, or nothing usable."""
        text = self._env.get(f"{PREFIX}{name}", "").strip()
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as error:
            self.faults.append(f"{PREFIX}{name}: {value_text(text)} {error}")
            return default

    def required(self, name: str, parse: Callable[[str], str], fix: str) -> str:
        """Return the parsed value; a missing one is a fault."""
        if not self._env.get(f"{PREFIX}{name}", "").strip():
            self.faults.append(f"{PREFIX}{name} is missing; {fix}")
        return self.read(name, parse, "")


def _image(text: str) -> str:
    if len(text.split()) > 1 or len(text) > IMAGE_LENGTH:
        raise ValueError("is no image; write one such as registry.example/background-tasks:0.1.0")
    return text


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= LAST_PORT):
        raise ValueError(f"is no port; write a number from 0 to {LAST_PORT}")
    return int(text)


def _one_of(known: Sequence[str]) -> Callable[[str], str]:
    """Accept one of some words, in any case."""

    def parse(text: str) -> str:
        found = {word.lower(): word for word in known}.get(text.lower())
        if found is None:
            raise ValueError(f"is not known; {hints.choice(text, known)}")
        return found

    return parse


def _namespace(text: str) -> str:
    if len(text) > LABEL_LENGTH:
        raise ValueError(f"is too long; write at most {LABEL_LENGTH} characters")
    try:
        return check_label(text)
    except PydanticCustomError as error:
        raise ValueError(error.message()) from error


def _namespaces(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_namespace(part.strip()) for part in text.split(",") if part.strip()))


def _pool_spec(text: str) -> Mapping[str, Any] | None:
    """Accept the spec of a pool. It is kept as it was written: defaults are the cluster's."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON ({error}); write the spec of a WorkerPool, such as {{}}") from error
    if body is None:
        return None
    try:
        PoolSpec.model_validate(body)
    except ValidationError as error:
        found = refusals_of(error, PoolSpec, lambda path: names.DEFAULT_POOL, None)
        raise ValueError("; ".join(["is not the spec of a WorkerPool", *(one.message for one in found)])) from error
    return MappingProxyType(body)
