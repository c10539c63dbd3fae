"""The control plane as plain processes: etcd, kube-apiserver, and, where asked, the two that act on what it holds."""

from tests.testbed import binaries
from tests.testbed.credentials import write_keys, write_kubeconfigs, write_tokens
from tests.testbed.shell import free_port
from tests.testbed.state import POD_CIDR, SERVICE_CIDR, Cluster


def start(cluster: Cluster, port: int, etcd_port: int, *, audit: bool = False) -> None:
    """Start etcd and the API server and return when it is ready."""
    pki = cluster.folder / "pki"
    write_keys(pki)
    tokens = write_tokens(cluster.folder)
    etcd = f"http://127.0.0.1:{etcd_port}"
    _start_etcd(cluster, etcd, f"http://127.0.0.1:{free_port()}")
    cluster.spawn(
        "kube-apiserver",
        binaries.component("kube-apiserver"),
        f"--etcd-servers={etcd}",
        f"--secure-port={port}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--allow-privileged=true",
        "--profiling=false",
        *_where(cluster),
        *_who(cluster),
        *_front_proxy(cluster),
        *(_audit(cluster) if audit else ()),
    )
    cluster.wait_for("kube-apiserver", lambda: (pki / "apiserver.crt").exists())
    write_kubeconfigs(cluster, port, tokens)
    cluster.wait_for_ready()


def _start_etcd(cluster: Cluster, client: str, peer: str) -> None:
    cluster.spawn(
        "etcd",
        binaries.component("etcd"),
        f"--data-dir={cluster.folder}/etcd",
        "--unsafe-no-fsync",  # a test's data need not outlive the machine
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--quota-backend-bytes=2147483648",
        "--log-level=warn",
    )


def _where(cluster: Cluster) -> tuple[str, ...]:
    """Say where the API server listens; with no node there is no network in which its address means something."""
    if cluster.node:
        return ("--bind-address=0.0.0.0", f"--advertise-address={cluster.address}", "--enable-aggregator-routing=true")
    return (
        "--bind-address=127.0.0.1",
        f"--advertise-address={cluster.address}",
        "--endpoint-reconciler-type=none",
        "--enable-aggregator-routing=false",
    )


def _who(cluster: Cluster) -> tuple[str, ...]:
    """Say how callers are known and what they may do."""
    pki = cluster.folder / "pki"
    return (
        f"--cert-dir={pki}",
        f"--token-auth-file={cluster.folder}/tokens.csv",
        "--anonymous-auth=true",
        "--authorization-mode=Node,RBAC",
        # The second is what stricter distributions add: who owns what has to be allowed as well.
        "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        "--kubelet-preferred-address-types=InternalIP",
    )


def _audit(cluster: Cluster) -> tuple[str, ...]:
    """Say that each request is written down: who asked what of which kind, not what was in it."""
    policy = cluster.folder / "audit.yaml"
    policy.write_text(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n"
    )
    return (f"--audit-policy-file={policy}", f"--audit-log-path={cluster.audit_log}", "--audit-log-mode=blocking")


def _front_proxy(cluster: Cluster) -> tuple[str, ...]:
    """Say how the API server makes itself known to the aggregated APIs behind it."""
    pki = cluster.folder / "pki"
    return (
        f"--requestheader-client-ca-file={pki}/front-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki}/front.crt",
        f"--proxy-client-key-file={pki}/front.key",
    )


def start_controllers(cluster: Cluster) -> None:
    """Start controller-manager and scheduler: Deployments, garbage collection, namespaces that end, autoscaling."""
    folder, admin = cluster.folder, cluster.kubeconfig
    cluster.spawn(
        "kube-controller-manager",
        binaries.component("kube-controller-manager"),
        f"--kubeconfig={admin}",
        f"--authentication-kubeconfig={admin}",
        f"--authorization-kubeconfig={admin}",
        f"--service-account-private-key-file={folder}/pki/sa.key",
        f"--root-ca-file={folder}/pki/apiserver.crt",
        f"--secure-port={free_port()}",
        f"--cert-dir={folder}/pki/kcm",
        "--bind-address=127.0.0.1",
        "--kube-api-qps=400",  # the default of 20 a second makes its own start take three seconds longer
        "--kube-api-burst=400",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--cluster-cidr={POD_CIDR}",
        "--horizontal-pod-autoscaler-sync-period=5s",
        "--horizontal-pod-autoscaler-downscale-stabilization=20s",
        "--horizontal-pod-autoscaler-initial-readiness-delay=5s",
        "--node-monitor-grace-period=20s",
    )
    _start_scheduler(cluster)
    accounts = ("get", "serviceaccount", "-n", "default")
    cluster.wait_for("the default service account", lambda: "default" in cluster.answers(*accounts))


def _start_scheduler(cluster: Cluster) -> None:
    folder = cluster.folder
    mine = f"{folder}/scheduler.kubeconfig"
    (folder / "scheduler.yaml").write_text(
        "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
        f"clientConnection: {{kubeconfig: {mine}}}\nleaderElection: {{leaderElect: false}}\n"
    )
    cluster.spawn(
        "kube-scheduler",
        binaries.component("kube-scheduler"),
        f"--config={folder}/scheduler.yaml",
        "--bind-address=127.0.0.1",
        f"--secure-port={free_port()}",
        f"--cert-dir={folder}/pki/scheduler",
        f"--authentication-kubeconfig={mine}",
        f"--authorization-kubeconfig={mine}",
    )
