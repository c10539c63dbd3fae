"""The words of `cluster.py`: arguments in, exit code out."""

import argparse
import os
import sys
from pathlib import Path

from tests.testbed import lifecycle, node
from tests.testbed.binaries import component
from tests.testbed.shell import SetupError
from tests.testbed.state import Cluster


def main(about: str | None) -> int:
    """Run one command; what is wrong with the machine is told in a sentence."""
    options = _parser(about).parse_args()
    try:
        _perform(options)
    except SetupError as problem:
        print(f"cluster.py {options.verb}: {problem}", file=sys.stderr)
        return 1
    return 0


def _parser(about: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=lambda text: Path(text).resolve(), default=Path(".cluster").resolve())
    verbs = parser.add_subparsers(dest="verb", required=True)
    start = verbs.add_parser("up")
    for part in lifecycle.PARTS:
        start.add_argument(f"--{part}", dest="parts", action="append_const", const=part, default=[])
    verbs.add_parser("down")
    verbs.add_parser("dns")
    verbs.add_parser("guard")
    verbs.add_parser("load").add_argument("image", type=Path)
    verbs.add_parser("run").add_argument("command", nargs=argparse.REMAINDER)
    return parser


def _perform(options: argparse.Namespace) -> None:
    folder: Path = options.dir
    match options.verb:
        case "up":
            cluster = lifecycle.up(folder, frozenset(options.parts))
            print(f"export KUBECONFIG={cluster.kubeconfig}")
        case "down":
            lifecycle.down(folder)
        case "guard":
            sys.stdin.buffer.read()  # until whoever started us closes it, in whichever way they end
            lifecycle.down(folder)
        case "dns":
            node.refresh_names(_with_node(folder))
        case "load":
            _with_node(folder)
            node.load(options.image)
        case "run":
            _become(Cluster.load(folder), options.command)


def _with_node(folder: Path) -> Cluster:
    """Return the folder's cluster where it has a node: that of another folder is not ours to touch."""
    cluster = Cluster.load(folder)
    if not cluster.node:
        raise SetupError(f"the cluster in {folder} has no node: start it by `up --node`")
    return cluster


def _become(cluster: Cluster, words: list[str]) -> None:
    """Run a command in the cluster's network instead of this one."""
    path = f"{Path(component('kubectl')).parent}{os.pathsep}{os.environ['PATH']}"
    command = [*cluster.inside, *words]
    os.execvpe(command[0], command, {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "PATH": path})
