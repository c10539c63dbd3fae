"""How kopf reaches the cluster: the same way as our own client, so that there is one answer to "which cluster?".

Not here: finding it (`services.kubernetes.access`).
"""

import ssl
from typing import Any

import kopf

from background_tasks.services.kubernetes.access import Access, find_access


class Connection(kopf.ConnectionInfo):
    """A connection with the certificate checks of our own client."""

    def as_ssl_context(self) -> ssl.SSLContext:
        """Check chain and host name, but accept authorities without RFC 5280's newer extensions: clusters have such."""
        context = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


async def login(**_: Any) -> kopf.ConnectionInfo:
    """Read the credentials (again): called at the start, and after the API server refused them."""
    return await connection(await find_access(None, None))


async def connection(access: Access) -> Connection:
    """Tell kopf what our own client knows."""
    found = access.configuration
    scheme, token = "", ""
    settings: Any = await found.auth_settings()
    for auth in settings.values():
        if str(auth["key"]).lower() == "authorization" and auth["value"]:
            scheme, _, token = str(auth["value"]).partition(" ")
    return Connection(
        server=found.host,
        ca_path=found.ssl_ca_cert,
        ca_data=found.ca_cert_data,
        insecure=not found.verify_ssl,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
        scheme=scheme or None,
        token=token or None,
        default_namespace=access.namespace,
        proxy_url=found.proxy,
    )
