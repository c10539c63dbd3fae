"""A real node beside the control plane: containerd, kubelet, kube-proxy and DNS in a network of their own (root).

The network is a namespace with a bridge and no way out, so a test can reach nothing by accident.
"""

import json
import shutil
import signal
import subprocess
from pathlib import Path

from tests.testbed import binaries, leftovers, ociimage
from tests.testbed.shell import SetupError, run, stop, wait_for
from tests.testbed.state import DNS_SERVICE, NETNS, NODE, POD_CIDR, Cluster

BRIDGE = "tb0"
RUNTIME = f"/run/{NETNS}-containerd"
SOCKET = f"{RUNTIME}/containerd.sock"
CTR = ("ctr", "--address", SOCKET, "-n", "k8s.io")
NEEDED = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",
    "nft": "nftables",
    "conntrack": "conntrack",
    "dnsmasq": "dnsmasq-base",
    "gcc": "gcc",
}
"""What a node runs, and the Debian package that brings it."""
PAUSE = "localhost/pause:local"
CONTAINERD = """version = 2
root = "{folder}/containerd"
state = "{runtime}"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  disable_apparmor = true
  restrict_oom_score_adj = true  # without CAP_SYS_RESOURCE a negative score is refused and every sandbox dies
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/containerd-opt"
"""


def require() -> None:
    """Raise where the machine lacks a program that a node needs, naming the packages that bring it."""
    missing = missing_packages(NEEDED)
    if missing:
        raise SetupError(f"a node needs packages that are not installed: apt-get install {' '.join(missing)}")


def missing_packages(needed: dict[str, str]) -> list[str]:
    """Name the packages of those programs that are not here."""
    return sorted({package for program, package in needed.items() if not shutil.which(program)})


def lay_network() -> None:
    """Lay the cluster's own network: a bridge in a namespace with no way out."""
    require()
    if Path(f"/run/netns/{NETNS}").exists():
        raise SetupError(
            f"the network namespace {NETNS} exists: a machine has one node cluster, take that one down first"
        )
    run("ip", "netns", "add", NETNS)
    try:
        _lay_bridge()
    except SetupError:
        run("ip", "netns", "del", NETNS)
        raise


def _lay_bridge() -> None:
    for words in (
        ("link", "set", "lo", "up"),
        ("link", "add", BRIDGE, "type", "bridge"),
        ("addr", "add", "10.243.0.1/24", "dev", BRIDGE),
        ("link", "set", BRIDGE, "up"),
        ("route", "add", "default", "via", "10.243.0.254", "dev", BRIDGE),
    ):
        run("ip", "-n", NETNS, *words)
    kernel = ("net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1")
    run("nsenter", f"--net=/run/netns/{NETNS}", "sysctl", "-qw", *kernel)


def start(cluster: Cluster) -> None:
    """Start the node's processes and return when the node is Ready and names resolve."""
    _start_containerd(cluster)
    _load_pause(cluster.folder)
    _start_kubelet(cluster)
    _start_proxy(cluster)
    ready = ("get", "node", NODE, "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}")
    cluster.wait_for("the node", lambda: "True" in cluster.answers(*ready))
    refresh_names(cluster)


def _start_containerd(cluster: Cluster) -> None:
    folder = cluster.folder
    (folder / "cni").mkdir()
    addresses = {
        "type": "host-local",
        "dataDir": f"{folder}/ipam",
        "ranges": [[{"subnet": POD_CIDR}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "hairpinMode": True}
    plugins = [{**bridge, "ipam": addresses}, {"type": "portmap", "capabilities": {"portMappings": True}}]
    network = {"cniVersion": "0.4.0", "name": "testbed", "plugins": plugins}
    (folder / "cni" / "10-testbed.conflist").write_text(json.dumps(network))
    config = folder / "containerd.toml"
    config.write_text(CONTAINERD.format(folder=folder, runtime=RUNTIME, socket=SOCKET, pause=PAUSE))
    cluster.spawn("containerd", "containerd", "--config", str(config))
    asked = [*CTR, "version"]
    cluster.wait_for(
        "containerd", lambda: subprocess.run(asked, capture_output=True, check=False, timeout=10).returncode == 0
    )


def _load_pause(folder: Path) -> None:
    """Build the image that holds a pod's namespaces open, and import it."""
    build = folder / "pause"
    build.mkdir()
    source = Path(__file__).parent / "tools" / "node" / "pause.c"
    run("gcc", "-Os", "-static", "-s", "-o", str(build / "pause"), str(source))
    run("tar", "-C", str(build), "-cf", str(build / "layer.tar"), "pause")
    image = ociimage.Image(PAUSE, layers=(build / "layer.tar",), entrypoint=("/pause",))
    ociimage.write(build / "image.tar", image)
    load(build / "image.tar")


def load(image: Path) -> None:
    """Import an OCI archive into the node."""
    run(*CTR, "images", "import", str(image))


def _start_kubelet(cluster: Cluster) -> None:
    folder = cluster.folder
    (folder / "resolv.conf").write_text(f"nameserver {DNS_SERVICE}\n")
    # A test may fill the disk or the memory of its machine: the node must not evict its pods for that.
    evict_never = ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available")
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "maxOpenFiles": 20000,
        "maxPods": 60,
        "nodeStatusUpdateFrequency": "5s",
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS_SERVICE],
        "podLogsDir": f"{folder}/pod-logs",
        "resolvConf": str(folder / "resolv.conf"),
        "imageGCHighThresholdPercent": 100,
        "evictionHard": dict.fromkeys(evict_never, "0%"),
        "containerLogMaxSize": "100Mi",  # a test reads all that a pod said
    }
    (folder / "kubelet.yaml").write_text(json.dumps(config))
    cluster.spawn(
        "kubelet",
        str(binaries.control_plane() / "kubelet"),
        f"--config={folder}/kubelet.yaml",
        f"--kubeconfig={folder}/node.kubeconfig",
        f"--root-dir={folder}/kubelet",
        f"--cert-dir={folder}/pki/kubelet",
        f"--hostname-override={NODE}",
        f"--node-ip={cluster.address}",
    )


def _start_proxy(cluster: Cluster) -> None:
    untouched = ("max-per-core", "min", "tcp-timeout-established", "tcp-timeout-close-wait")
    cluster.spawn(
        "kube-proxy",
        str(binaries.control_plane() / "kube-proxy"),
        f"--kubeconfig={cluster.folder}/proxy.kubeconfig",
        "--proxy-mode=nftables",
        f"--cluster-cidr={POD_CIDR}",
        f"--hostname-override={NODE}",
        "--oom-score-adj=0",
        *(f"--conntrack-{name}=0" for name in untouched),
    )


def refresh_names(cluster: Cluster) -> None:
    """Serve by dnsmasq the name of every Service that there is now; call it again after adding one."""
    listed = json.loads(cluster.kubectl("get", "service", "-A", "-o", "json"))["items"]
    hosts = [
        f"{item['spec']['clusterIP']} {name}.svc.cluster.local {name}.svc\n"
        for item in listed
        if item["spec"].get("clusterIP") not in (None, "None")
        for name in [f"{item['metadata']['name']}.{item['metadata']['namespace']}"]
    ]
    (cluster.folder / "hosts").write_text("".join(hosts))
    if "dnsmasq" in cluster.processes:
        cluster.signal("dnsmasq", signal.SIGHUP)
        return
    expose(cluster, "kube-dns", "kube-system", port=53, protocol="UDP", address=DNS_SERVICE)
    cluster.spawn(
        "dnsmasq",
        "dnsmasq",
        "--keep-in-foreground",
        "--no-resolv",
        "--no-hosts",
        f"--addn-hosts={cluster.folder}/hosts",
        f"--listen-address={cluster.address}",
        "--bind-interfaces",
        "--user=root",
        "--log-facility=-",
    )


def expose(
    cluster: Cluster, name: str, namespace: str, *, port: int, protocol: str = "TCP", address: str | None = None
) -> None:
    """Put a process of the node behind a Service that selects no pod."""
    spec: dict[str, object] = {"ports": [{"port": port, "protocol": protocol, "targetPort": port}]}
    if address:
        spec["clusterIP"] = address
    metadata = {"name": name, "namespace": namespace}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**metadata, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"port": port, "protocol": protocol}],
        "endpoints": [{"addresses": [cluster.address], "conditions": {"ready": True}}],
    }
    for body in (service, slice_):
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(body))


def stop_pods(cluster: Cluster) -> None:
    """Stop the kubelet, which would start them again, and then every container."""
    if "kubelet" in cluster.processes:
        stop([cluster.processes["kubelet"].id])
    if not Path(SOCKET).exists():
        return
    for task in _listed("tasks"):
        _try("tasks", "kill", "-s", "SIGKILL", task)
    wait_for("the end of every container", lambda: not _running(), seconds=20)
    for task in _listed("tasks"):
        _try("tasks", "delete", "-f", task)
    for container in _listed("containers"):
        _try("containers", "delete", container)


def clean(cluster: Cluster) -> None:
    """Remove what the machine still holds for the cluster: mounts, networks, cgroups, folders."""
    leftovers.unmount_below(str(cluster.folder), RUNTIME)
    leftovers.remove(cluster.foreign)
    shutil.rmtree(RUNTIME, ignore_errors=True)


def _listed(kind: str) -> list[str]:
    return _try(kind, "ls", "-q").split()


def _running() -> bool:
    return "RUNNING" in _try("tasks", "ls")


def _try(*arguments: str) -> str:
    """Ask containerd where a refusal is expected: what is to be stopped may have ended by itself."""
    try:
        return subprocess.run([*CTR, *arguments], capture_output=True, text=True, check=False, timeout=20).stdout
    except subprocess.TimeoutExpired:
        return ""
