"""What a node leaves on its machine outside the cluster's folder, and how to remove that and nothing else.

Kubelet, containerd and the network plugins know these places by heart. What was there before `up` belongs to others.
"""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

FOLDERS = ("/var/lib/kubelet", "/var/lib/cni", "/var/log/pods", "/var/log/containers", "/run/containerd")
NETWORKS = Path("/run/netns")
CGROUPS = Path("/sys/fs/cgroup")


def found() -> list[str]:
    """Name what of it is on the machine now."""
    folders = [Path(folder) for folder in FOLDERS if Path(folder).exists()]
    networks = [NETWORKS, *NETWORKS.iterdir()] if NETWORKS.exists() else []
    return [str(path) for path in (*folders, *networks, *_cgroups())]


def remove(foreign: list[str]) -> None:
    """Remove what was not found before: pod networks, cgroups, folders."""
    known = set(foreign)
    for path in _cgroups():
        if str(path) not in known:
            with contextlib.suppress(OSError):  # not empty: a neighbour moved in
                path.rmdir()
    for folder in FOLDERS:
        if folder not in known:
            shutil.rmtree(folder, ignore_errors=True)
    _remove_networks(known)


def unmount_below(*folders: str) -> None:
    """Unmount whatever is still mounted below our folders, the deepest first."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    ours = [mount for mount in mounts if mount.startswith(tuple(f"{folder}/" for folder in folders))]
    for mount in sorted(ours, key=len, reverse=True):
        _try("umount", "-l", mount)


def _remove_networks(known: set[str]) -> None:
    if not NETWORKS.exists():
        return
    for path in NETWORKS.iterdir():
        if str(path) not in known:
            _try("ip", "netns", "del", path.name)
    if str(NETWORKS) not in known and not any(NETWORKS.iterdir()):
        _try("umount", str(NETWORKS))  # `ip netns add` made it a mount of its own
        with contextlib.suppress(OSError):
            NETWORKS.rmdir()


def _cgroups() -> list[Path]:
    """List the kubelet's cgroups, the deepest first; version 1 has a tree for each controller."""
    tops = [*CGROUPS.glob("kubepods"), *CGROUPS.glob("*/kubepods")]
    return [Path(folder) for top in tops for folder, _, _ in os.walk(top, topdown=False)]


def _try(*command: str) -> None:
    """Run a command where a refusal is fine: what is to be removed may be gone."""
    subprocess.run(command, check=False, capture_output=True)
