"""The three layers of the project's image, each a plain tar file: Debian with Python, the dependencies, the project.

The first two are cached outside the checkout; after a change of code only the third is written. A layer holds the same
bytes for the same contents, so an unchanged one is not imported again.
"""

import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from tests.testbed import cache
from tests.testbed.shell import SetupError, run

PROJECT = Path(__file__).parents[2]
LOCK = PROJECT / "requirements-image.lock"
PYTHON = "3.13"
"""Debian trixie's."""
HOME = "opt/background-tasks"
"""A virtual environment at the place where the Containerfile has it; from the root, without its slash."""
PACKAGES = f"{HOME}/lib/python{PYTHON}/site-packages"
BASE = (
    "mmdebstrap",
    "--quiet",
    "--variant=essential",
    "--include=python3-minimal,libpython3-stdlib,ca-certificates,tzdata",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "trixie",
)
LAUNCHER = f"""#!/{HOME}/bin/python3
from background_tasks.cli import main

main()
"""


def base() -> Path:
    """Return the layer with Debian and Python."""
    folder = cache.root() / f"image-base-{_key(*BASE, platform.machine())}"
    told = "bootstrapping Debian trixie for the image once, about 90 seconds"
    return cache.made_once(folder, lambda draft: run(*BASE, str(draft / "layer.tar")), told) / "layer.tar"


def dependencies(uv: Path) -> Path:
    """Return the layer with what the image's lock names, checked against its hashes."""
    key = _key(LOCK.read_text(), PACKAGES, platform.machine(), str(_python(uv) is not None))
    told = "installing the image's dependencies once, about 20 seconds"
    folder = cache.root() / f"image-packages-{key}"
    return cache.made_once(folder, lambda draft: _write_dependencies(uv, draft), told) / "layer.tar"


def _write_dependencies(uv: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as stage:
        packages = Path(stage) / PACKAGES
        where = ("--target", str(packages), "--python-version", PYTHON, "--python-platform", _wheels())
        strict = ("--require-hashes", "--no-deps", "--only-binary", ":all:", "--link-mode", "copy")
        run(str(uv), "pip", "install", "--quiet", *where, *strict, "--requirement", str(LOCK))
        shutil.rmtree(packages / "bin", ignore_errors=True)  # commands for the interpreter that installed
        (packages / ".lock").unlink(missing_ok=True)
        _compile(uv, Path(stage))
        _write_tar(Path(stage), folder / "layer.tar")


def project(uv: Path, out: Path) -> Path:
    """Write the layer with the project's own wheel and the command `bgtasks`."""
    with tempfile.TemporaryDirectory() as folder:
        stage, wheels = Path(folder) / "stage", Path(folder) / "wheels"
        run(str(uv), "build", "--quiet", "--wheel", "--out-dir", str(wheels), str(PROJECT))
        for wheel in wheels.glob("*.whl"):
            with zipfile.ZipFile(wheel) as packed:
                packed.extractall(stage / PACKAGES)
        commands = stage / HOME / "bin"
        commands.mkdir()
        (commands / "bgtasks").write_text(LAUNCHER)
        (commands / "bgtasks").chmod(0o755)
        for name in ("python", "python3"):
            (commands / name).symlink_to("/usr/bin/python3")
        (stage / HOME / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
        _compile(uv, stage)
        _write_tar(stage, out)
    return out


def folder(source: Path, where: str, out: Path) -> Path:
    """Write a layer with a copy of a folder, as COPY does; `where` is a path from the root, without its slash."""
    with tempfile.TemporaryDirectory() as stage:
        shutil.copytree(source, Path(stage) / where, ignore=shutil.ignore_patterns("__pycache__"))
        _write_tar(Path(stage), out)
    return out


def _compile(uv: Path, stage: Path) -> None:
    """Compile for the image's Python, so that a pod with a read-only root starts as fast as any."""
    python = _python(uv)
    if python is None:
        print(f"no Python {PYTHON} here: the image holds no compiled files and starts slower", file=sys.stderr)
        return
    # A hash that nobody checks: the times of files in a layer say nothing.
    how = ("-q", "--invalidation-mode", "unchecked-hash", "-s", str(stage), "-p", "/")
    run(python, "-m", "compileall", *how, str(stage))


def _python(uv: Path) -> str | None:
    """Find an interpreter of the image's version, whose compiled files the image can read."""
    asked = [str(uv), "python", "find", "--no-python-downloads", PYTHON]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None


def _wheels() -> str:
    """Name the platform of wheels that run on Debian trixie."""
    return f"{platform.machine()}-manylinux_2_28"


def _write_tar(root: Path, out: Path) -> None:
    """Write a folder's contents in one order, with no owner and no time."""
    with tarfile.open(out, "w") as tar:
        for path in sorted(root.rglob("*")):
            tar.add(path, str(path.relative_to(root)), recursive=False, filter=_plain)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry


def _key(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def find_uv(candidates: Sequence[Path]) -> Path:
    """Return the uv that installs the dependencies."""
    on_path = shutil.which("uv")
    for candidate in ([Path(on_path)] if on_path else []) + list(candidates):
        if candidate.exists():
            return candidate
    raise SetupError("uv is not installed: install it, or run `make setup`, which brings it")
