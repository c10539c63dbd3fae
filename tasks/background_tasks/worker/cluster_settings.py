"""What a worker's pod tells its process: read from its environment, checked once, all faults at once.

Not here: who sets the variables (the operator, from a WorkerPool). An address may hold a password: its value is in no
message.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from background_tasks.api.pool import PoolSpec
from background_tasks.api.refusals import refusals_of
from background_tasks.domain.model import MemberId
from background_tasks.errors import InvalidSettings
from background_tasks.services.graph import GRAPH_NAME
from background_tasks.worker.pool_options import options_of
from background_tasks.worker.settings import WorkerSettings

PREFIX = "BGTASKS_"
ANY_HOST = "0.0.0.0"
"""A kubelet and a Prometheus ask from outside."""
PORT = 8080
REDIS_SCHEMES = ("redis", "rediss", "unix")
MODEL_SCHEMES = ("http", "https")
REQUIRED = {
    "POOL": "the pool's name",
    "NAMESPACE": "the pod's namespace",
    "POD_NAME": "the pod's name",
}
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
"""As Kubernetes names things, for example `default` or `night-workers-7d4b9c-x2x9p`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEndpoint:
    """An OpenAI-compatible endpoint."""

    url: str = field(repr=False)
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """One worker of one pool in a cluster."""

    worker: WorkerSettings
    namespace: str
    pod_name: str
    pod_uid: str | None = None
    """Of the pod, which then owns the member's Lease; None outside a cluster."""
    leases_in_redis: bool = False
    kubeconfig: Path | None = None
    """None in a pod: its service account is used."""
    chat: ModelEndpoint | None = field(default=None, repr=False)
    embeddings: ModelEndpoint | None = field(default=None, repr=False)

    @classmethod
    def from_env(cls, env: Mapping[str, str], *, unique: str) -> "ClusterSettings":
        """Read the environment; `unique` (six hexadecimal digits) makes a restarted worker another member.

        Raises `InvalidSettings` naming every variable that is missing or wrong.
        """
        own = {name.removeprefix(PREFIX): value for name, value in env.items() if name.startswith(PREFIX)}
        spec = _pool_spec(own)
        faults = [*_missing(own), *_addresses(own), *(spec if isinstance(spec, list) else ())]
        port = own.get("PORT", str(PORT))
        if not (port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65535):
            faults.append(f"{PREFIX}PORT is {port!r}; give 0 to 65535, or leave it out for {PORT}")
        if faults or isinstance(spec, list):
            raise InvalidSettings("; ".join(faults))
        redis_url = own.get("REDIS_URL")
        return cls(
            worker=WorkerSettings(
                pool=own["POOL"],
                store_key=f"{own['NAMESPACE']}/{own['POOL']}",
                member=MemberId(f"{own['POD_NAME']}.{unique}"),
                redis_url=redis_url,
                graph_url=own.get("GRAPH_URL"),
                graph_name=own.get("GRAPH_NAME", GRAPH_NAME),
                host=own.get("HOST", ANY_HOST),
                port=int(port),
                env={name: value for name, value in env.items() if not name.startswith(PREFIX)},
                **options_of(spec),
            ),
            namespace=own["NAMESPACE"],
            pod_name=own["POD_NAME"],
            pod_uid=own.get("POD_UID") or None,
            leases_in_redis=spec.lease.backend == "Redis",
            kubeconfig=Path(env["KUBECONFIG"]) if env.get("KUBECONFIG") else None,
            chat=_endpoint(own, "CHAT"),
            embeddings=_endpoint(own, "EMBEDDINGS"),
        )


def _missing(own: Mapping[str, str]) -> Iterator[str]:
    for name, meaning in REQUIRED.items():
        value = own.get(name, "")
        if not value:
            yield f"{PREFIX}{name} is missing; set it to {meaning}"
        elif not NAME.fullmatch(value):
            yield f"{PREFIX}{name} is {value[:80]!r}, which is no name in Kubernetes; set it to {meaning}"


def _pool_spec(own: Mapping[str, str]) -> PoolSpec | list[str]:
    """Read the partial spec, or say what is wrong with it. That there is a Redis stands in a variable of its own."""
    name = f"{PREFIX}POOL_SPEC"
    try:
        raw = json.loads(own.get("POOL_SPEC") or "{}")
    except (ValueError, RecursionError) as error:
        return [f"{name} is no JSON ({error}); give the pool's spec, such as {{}}"]
    if not isinstance(raw, dict):
        return [f"{name} is a {type(raw).__name__}; give an object, such as {{}}"]
    if own.get("REDIS_URL"):
        raw = {**raw, "services": {"redis": {"url": "redis://"}}}
    try:
        return PoolSpec.model_validate(raw)
    except ValidationError as error:
        return [f"{name}: {refusal.message}" for refusal in refusals_of(error, PoolSpec, lambda _: name, None)]


def _addresses(own: Mapping[str, str]) -> Iterator[str]:
    for name, schemes, example in (
        ("REDIS_URL", REDIS_SCHEMES, "redis://redis:6379/0"),
        ("GRAPH_URL", REDIS_SCHEMES, "redis://falkordb:6379"),
        ("CHAT_URL", MODEL_SCHEMES, "https://openrouter.ai/api/v1"),
        ("EMBEDDINGS_URL", MODEL_SCHEMES, "https://openrouter.ai/api/v1"),
    ):
        if name in own and not _is_address(own[name], schemes):
            kinds = " or ".join(f"{scheme}://" for scheme in schemes)
            yield f"{PREFIX}{name} is no address that begins with {kinds}; write one such as {example}"


def _is_address(value: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in schemes and bool(parts.netloc or parts.path) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _endpoint(own: Mapping[str, str], name: str) -> ModelEndpoint | None:
    url = own.get(f"{name}_URL")
    if url is None:
        return None
    return ModelEndpoint(url=url, model=own.get(f"{name}_MODEL"), api_key=own.get(f"{name}_API_KEY"))
