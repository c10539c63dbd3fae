"""Where the API server is and who we are: a pod's service account, or a kubeconfig.

Not here: requests. In a cluster the library reads the token file anew every minute (bound tokens live an hour).
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import incluster_config, kube_config
from kubernetes.aio.config.config_exception import ConfigException

from background_tasks.errors import Refused

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True)
class Access:
    """A way to reach one API server; `renew` reads the credentials again, into the same `configuration`."""

    configuration: Configuration
    namespace: str
    """The pod's own, or the kubeconfig context's."""
    renew: Callable[[], Awaitable[None]]


async def find_access(kubeconfig: Path | None, context: str | None) -> Access:
    """Find the cluster. Raises `Refused` when there is none, naming what was looked for."""
    configuration = Configuration()
    # Python 3.13 began to refuse certificate authorities that lack an extension of RFC 5280; clusters in use have
    # such. The chain and the host name are checked all the same.
    configuration.disable_strict_ssl_verification = True
    if kubeconfig is None and context is None and _is_pod():
        return await _of_pod(configuration)
    return await _of_kubeconfig(configuration, kubeconfig, context)


@contextmanager
def usable(what: str) -> Iterator[None]:
    """Refuse what the library cannot read; it tells so by whatever error its own code ran into."""
    unreadable = (ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, LookupError, AttributeError)
    try:
        yield
    except unreadable as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise Refused(f"kubernetes: find the cluster: {what} cannot be used: {told}; check {what}") from error


def _is_pod() -> bool:
    return (SERVICE_ACCOUNT / "token").exists()


def _pod_namespace() -> str:
    return (SERVICE_ACCOUNT / "namespace").read_text().strip() or DEFAULT_NAMESPACE


async def _of_pod(configuration: Configuration) -> Access:
    async def renew() -> None:
        with usable(f"the pod's service account in {SERVICE_ACCOUNT}"):
            incluster_config.InClusterConfigLoader(  # type: ignore[no-untyped-call]
                token_filename=str(SERVICE_ACCOUNT / "token"), cert_filename=str(SERVICE_ACCOUNT / "ca.crt")
            ).load_and_set(configuration)

    await renew()
    return Access(configuration, _pod_namespace(), renew)


async def _of_kubeconfig(configuration: Configuration, kubeconfig: Path | None, context: str | None) -> Access:
    file = str(kubeconfig) if kubeconfig is not None else None
    what = f"the kubeconfig {file or kube_config.KUBE_CONFIG_DEFAULT_LOCATION}"

    async def renew() -> None:
        with usable(what):
            await kube_config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=file, context=context, client_configuration=configuration, persist_config=False
            )

    await renew()
    with usable(what):
        contexts, active = kube_config.list_kube_config_contexts(file)  # type: ignore[no-untyped-call]
        chosen = next((one for one in contexts if one["name"] == context), active)
        return Access(configuration, chosen["context"].get("namespace") or DEFAULT_NAMESPACE, renew)
