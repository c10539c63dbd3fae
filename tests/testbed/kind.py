#!/usr/bin/env python3
"""Create a kind cluster with the project's image, for machines with docker.

kind.py          the cluster `background-tasks`; one that exists is used again
"""

import shutil
import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # the project, so that this runs from anywhere

from tests.testbed import imagebuild
from tests.testbed.imagebuild import ARCHIVE
from tests.testbed.shell import SetupError, run

CLUSTER = "background-tasks"
ADVICE = "or use the cluster that needs neither: make cluster-up"


def main() -> int:
    """Create and fill the cluster; what is missing is told in a sentence."""
    try:
        create()
    except SetupError as problem:
        print(f"make kind: {problem}", file=sys.stderr)
        return 1
    return 0


def create() -> None:
    """Create the cluster and load the image; definitions come with the chart."""
    for needed, where in (("docker", "https://docs.docker.com/engine/install"), ("kind", "https://kind.sigs.k8s.io")):
        if not shutil.which(needed):
            raise SetupError(f"{needed} is not installed: get it from {where}, {ADVICE}")
    if not imagebuild.works("docker"):
        raise SetupError(f"docker is installed, but its daemon does not answer: start it, {ADVICE}")
    if CLUSTER not in run("kind", "get", "clusters").split():
        _shown("kind", "create", "cluster", "--name", CLUSTER)
    if imagebuild.build("auto", ARCHIVE) == "docker":
        _shown("kind", "load", "docker-image", imagebuild.NAME, "--name", CLUSTER)
    else:
        _shown("kind", "load", "image-archive", str(ARCHIVE), "--name", CLUSTER)
    print(f"kind has {imagebuild.NAME}: go on with `helm install`, as in README.md.")
    print(f"Take it down by: kind delete cluster --name {CLUSTER}")


def _shown(*command: str) -> None:
    """Run a command whose words a person wants to see."""
    if subprocess.run(command, check=False).returncode:
        raise SetupError(f"{' '.join(command)} failed: its words stand above")


if __name__ == "__main__":
    sys.exit(main())
