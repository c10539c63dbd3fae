"""The words of `image.py`: choose who builds the image, and say who did."""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path

from tests.testbed import layers, ociimage, ownimage
from tests.testbed.layers import HOME, PROJECT
from tests.testbed.shell import SetupError

VERSION = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
NAME = f"background-tasks:{VERSION}"
"""What the chart asks for where nobody says otherwise, so that `make image` is all that its first command takes."""
LIBRARY = "docker.io/library"
FULL_NAME = f"{LIBRARY}/{NAME}"
"""What a node makes of NAME when a pod asks for it."""
ENGINES = ("docker", "podman", "buildah")
ARCHIVE = PROJECT / "build" / "image.tar"


def main(about: str | None) -> int:
    """Build the image; what is missing is told in a sentence."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("auto", "none", *ENGINES), default="auto")
    parser.add_argument("--out", type=Path, default=ARCHIVE, help="the archive that our own writer writes")
    options = parser.parse_args()
    try:
        build(options.engine, options.out)
    except SetupError as problem:
        print(f"image.py: {problem}", file=sys.stderr)
        return 1
    return 0


def build(engine: str, out: Path) -> str:
    """Build by one of ENGINES, by "none" or by "auto": the first that works. Return who did it."""
    chosen = _working_engine() if engine == "auto" else engine
    if chosen != "none" and _build_by(chosen, must=engine != "auto"):
        return chosen
    write_archive(out)
    return "none"


def _build_by(engine: str, *, must: bool) -> bool:
    """Build from the Containerfile; where it need not be this engine, a failure is told and no end."""
    if not works(engine):
        raise SetupError(f"{engine} does not answer: start it, or build without an engine by --engine none")
    print(f"building {NAME} from the Containerfile by {engine}", flush=True)
    command = [engine, "build", "-f", "Containerfile", "-t", NAME, "."]
    built = subprocess.run(command, cwd=PROJECT, check=False).returncode == 0
    if must and not built:
        raise SetupError(f"{engine} could not build the image: its words stand above")
    if not built:
        print(f"{engine} could not build the image (its words stand above)", flush=True)
    return built


def _working_engine() -> str:
    """Name the first engine that is installed and answers, where there is a Containerfile; else none."""
    if not (PROJECT / "Containerfile").exists():
        return "none"
    return next((engine for engine in ENGINES if works(engine)), "none")


def works(engine: str) -> bool:
    """Tell whether an engine answers: docker is often installed where no daemon runs."""
    if not shutil.which(engine):
        return False
    try:
        return subprocess.run([engine, "info"], capture_output=True, check=False, timeout=20).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def write_archive(out: Path, own: Mapping[str, Path] | None = None) -> None:
    """Write the image as an OCI archive, with no engine and no registry.

    `own` are images on top of it that go into the same archive: a folder with a Containerfile by the image's reference.
    """
    begun = time.monotonic()
    print(f"writing {', '.join((NAME, *(own or {})))} without an engine", flush=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        image = _image(Path(folder))
        more = [ownimage.read(path, image, f"{LIBRARY}/{name}", Path(folder)) for name, path in (own or {}).items()]
        ociimage.write(out, image, *more)
    size = out.stat().st_size / 1e6
    print(f"{out}: {FULL_NAME}, {size:.0f} MB, {time.monotonic() - begun:.1f} s", flush=True)


def _image(scratch: Path) -> ociimage.Image:
    uv = layers.find_uv((PROJECT / ".tools" / "bin" / "uv", PROJECT / ".venv" / "bin" / "uv"))
    return ociimage.Image(
        FULL_NAME,
        (layers.base(), layers.dependencies(uv), layers.project(uv, scratch / "project.tar")),
        entrypoint=("bgtasks",),
        command=("--help",),
        folder="/tmp",
        env={
            "PATH": f"/{HOME}/bin:{ociimage.PATHS}",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )
