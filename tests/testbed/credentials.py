"""Keys, certificates, tokens and kubeconfigs of one cluster; they die with its folder."""

import base64
import json
import secrets
from pathlib import Path

from tests.testbed.shell import run
from tests.testbed.state import NODE, Cluster

USERS = {
    "admin": ("admin", '"system:masters"'),
    "node": (f"system:node:{NODE}", '"system:nodes"'),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
}
"""Name of the kubeconfig: user and groups."""


def write_keys(pki: Path) -> None:
    """Make the key of service account tokens, and the certificate by which the API server calls aggregated APIs."""
    pki.mkdir()
    openssl("genrsa", "-out", f"{pki}/sa.key", "2048")
    openssl("rsa", "-in", f"{pki}/sa.key", "-pubout", "-out", f"{pki}/sa.pub")
    authority = ("-keyout", f"{pki}/front-ca.key", "-out", f"{pki}/front-ca.crt")
    openssl("req", "-x509", *_new_key("front-proxy-ca"), "-days", "30", *authority)
    openssl("req", *_new_key("front-proxy-client"), "-keyout", f"{pki}/front.key", "-out", f"{pki}/front.csr")
    signer = ("-CA", f"{pki}/front-ca.crt", "-CAkey", f"{pki}/front-ca.key", "-CAcreateserial")
    openssl("x509", "-req", "-in", f"{pki}/front.csr", *signer, "-days", "30", "-out", f"{pki}/front.crt")


def write_own_authority(pki: Path, name: str) -> None:
    """Make a certificate for the loopback that is its own authority: nothing to rotate and no secret to share."""
    pki.mkdir()
    files = ("-keyout", f"{pki}/tls.key", "-out", f"{pki}/tls.crt")
    openssl("req", "-x509", *_new_key(name), "-days", "30", "-addext", "subjectAltName=IP:127.0.0.1", *files)
    (pki / "ca.crt").symlink_to("tls.crt")


def write_tokens(folder: Path) -> dict[str, str]:
    """Give each of USERS a token, in the file that the API server reads."""
    tokens = {name: secrets.token_hex(16) for name in USERS}
    lines = [f"{tokens[name]},{user},{name},{groups}\n" for name, (user, groups) in USERS.items()]
    _write_private(folder / "tokens.csv", "".join(lines))
    return tokens


def write_kubeconfigs(cluster: Cluster, port: int, tokens: dict[str, str]) -> None:
    """Write `NAME.kubeconfig` for each of USERS; the API server has written its certificate before."""
    authority = base64.b64encode((cluster.folder / "pki" / "apiserver.crt").read_bytes()).decode()
    server = {"server": f"https://{cluster.address}:{port}", "certificate-authority-data": authority}
    for name, token in tokens.items():
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "testbed",
            "clusters": [{"name": "testbed", "cluster": server}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": name}}],
        }
        _write_private(cluster.folder / f"{name}.kubeconfig", json.dumps(config))


def openssl(*arguments: str) -> None:
    """Run openssl, in silence."""
    run("openssl", *arguments)


def _new_key(name: str) -> tuple[str, ...]:
    return ("-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}")


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
