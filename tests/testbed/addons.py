"""What a cluster may have beside Kubernetes: metrics-server and KEDA, as processes behind aggregated APIs."""

import json
from collections.abc import Sequence

from tests.testbed import binaries, node
from tests.testbed.credentials import write_own_authority
from tests.testbed.shell import free_port
from tests.testbed.state import Cluster


def start_metrics(cluster: Cluster) -> None:
    """Serve metrics.k8s.io, so that `kubectl top` and autoscaling by CPU or memory work (needs a node)."""
    port = 4443
    cluster.spawn(
        "metrics-server",
        str(binaries.tool("metrics-server")),
        "--kubelet-insecure-tls",
        "--kubelet-preferred-address-types=InternalIP",
        "--kubelet-use-node-status-port",
        "--metric-resolution=11s",
        "--kubelet-request-timeout=5s",
        f"--kubeconfig={cluster.kubeconfig}",
        f"--secure-port={port}",
        f"--cert-dir={cluster.folder}/pki/metrics",
        *_delegated(cluster),
    )
    aggregate(cluster, "metrics.k8s.io", "metrics-server", "kube-system", port)


def start_keda(cluster: Cluster) -> None:
    """Serve external.metrics.k8s.io: KEDA's adapter asks its operator, which reads the triggers."""
    built = binaries.keda()
    pki = cluster.folder / "pki" / "keda"
    write_own_authority(pki, "keda")  # both ends show this certificate and trust it
    cluster.kubectl("create", "namespace", "keda")
    # By the server, as they are too large for the annotation of a client-side apply.
    cluster.kubectl("apply", "--server-side", "-f", str(built / "crd"))
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all")
    service = f"127.0.0.1:{free_port()}"
    env = {
        "KUBECONFIG": str(cluster.kubeconfig),
        "WATCH_NAMESPACE": "",
        "POD_NAMESPACE": "keda",
        "KEDA_CLUSTER_OBJECT_NAMESPACE": "keda",
    }
    _start_keda_operator(cluster, service, env)
    port = free_port()
    cluster.spawn(
        "keda-adapter",
        str(built / "adapter"),
        f"--cert-dir={pki}",
        f"--metrics-service-address={service}",
        "--port=0",
        f"--bind-address={cluster.address}",
        f"--secure-port={port}",
        f"--lister-kubeconfig={cluster.kubeconfig}",
        *_delegated(cluster),
        env=env,
    )
    aggregate(cluster, "external.metrics.k8s.io", "keda-metrics-apiserver", "keda", port)
    path = "/apis/external.metrics.k8s.io/v1beta1"
    cluster.wait_for("KEDA", lambda: cluster.answers("get", "--raw", path))


def _start_keda_operator(cluster: Cluster, service: str, env: dict[str, str]) -> None:
    cluster.spawn(
        "keda-operator",
        *_names_of_the_cluster(cluster),
        str(binaries.keda() / "operator"),
        f"--cert-dir={cluster.folder}/pki/keda",
        f"--metrics-service-bind-address={service}",
        "--metrics-bind-address=0",
        f"--health-probe-bind-address=127.0.0.1:{free_port()}",
        env=env,
    )


def _names_of_the_cluster(cluster: Cluster) -> Sequence[str]:
    """Prefix a command so that it resolves the names of Services, as a pod does."""
    if not cluster.node:
        return ()
    script = f'mount --bind {cluster.folder}/resolv.conf /etc/resolv.conf; exec "$@"'
    return ("unshare", "--mount", "sh", "-ec", script, "sh")


def _delegated(cluster: Cluster) -> tuple[str, str]:
    """Let a server ask the API server who calls it and whether they may."""
    return (
        f"--authentication-kubeconfig={cluster.kubeconfig}",
        f"--authorization-kubeconfig={cluster.kubeconfig}",
    )


def aggregate(cluster: Cluster, group: str, name: str, namespace: str, port: int) -> None:
    """Hand an API group to a process of ours.

    With no node it stands behind an external name, as no endpoint may be on the loopback.
    """
    if cluster.node:
        node.expose(cluster, name, namespace, port=port)
    else:
        outside = f"--external-name={cluster.address}"
        cluster.kubectl("create", "service", "externalname", name, "-n", namespace, outside)
    spec = {
        "group": group,
        "version": "v1beta1",
        "service": {"name": name, "namespace": namespace, "port": port},
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "insecureSkipTLSVerify": True,
    }
    metadata = {"name": f"v1beta1.{group}"}
    body = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": metadata, "spec": spec}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(body))
