"""Beside the fixtures of every test (`control_plane`, `namespace`): the launcher, as a person runs it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.controlplane.operators import Operator, Place
from tests.testbed import binaries
from tests.testbed.session import ControlPlane

type Launcher = Callable[..., subprocess.CompletedProcess[str]]
LAUNCHER = Path(__file__).parents[1] / "testbed" / "cluster.py"


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launcher]:
    """Give `launch("up", "--controllers", NAME=value)`: the launcher on a folder of the test's own, ended after it."""

    def launch(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(LAUNCHER), "--dir", str(tmp_path / "cluster"), *words]
        return subprocess.run(command, text=True, capture_output=True, check=False, env={**os.environ, **env})

    yield launch
    launch("down")


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    """Give a folder of the kind that KUBEBUILDER_ASSETS names: links to our own binaries."""
    folder = tmp_path / "assets"
    folder.mkdir()
    for name in binaries.ASSETS:
        (folder / name).symlink_to(binaries.component(name))
    return folder


@pytest.fixture
def place(control_plane: ControlPlane, namespace: str) -> Place:
    """Give the test's own namespace, as kubectl sees it."""
    return Place(control_plane, namespace)


@pytest.fixture
def operate(tmp_path: Path) -> Iterator[Callable[..., Operator]]:
    """Give `operate(place, "a", NAME=value)`: an operator process for a place, killed after the test."""
    started: list[Operator] = []

    def operate(place: Place, name: str = "operator-a", **env: str) -> Operator:
        started.append(Operator(place, tmp_path, name, env))
        return started[-1]

    yield operate
    for operator in started:
        operator.kill()
