"""Beside the fixtures of every test (`control_plane`, `namespace`): the launcher, as a person runs it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.testbed import binaries

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
