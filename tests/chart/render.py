"""Renders the chart: for its snapshots, for `manifests/install.yaml`, and the table of values in its README.

`python -m tests.chart.render` writes all three, and copies the definitions into the chart; the tests of this folder
compare them with what is committed.
"""

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.testbed import binaries

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "background-tasks"
SNAPSHOTS = Path(__file__).parent / "snapshots"
INSTALL = ROOT / "manifests" / "install.yaml"
README = CHART / "README.md"
CRDS = ROOT / "manifests" / "crd"
CHART_CRDS = CHART / "files" / "crds"
"""The same files again: a chart can only read what lies in its folder."""
KUBERNETES = "1.34.0"
NAMESPACE = "background-tasks"

CASES: dict[str, tuple[str, ...]] = {
    "defaults": (),
    "namespaced": ("watchNamespaces={team-a,team-b}",),
    "no-crds": ("crds.install=false",),
    "crds-go-with-the-release": ("crds.keep=false",),
    "image-by-digest": (f"image.digest=sha256:{'0' * 64}", "image.pullPolicy=Always", "image.pullSecrets[0].name=pull"),
    "own-account": ("serviceAccount.create=false", "serviceAccount.name=mine", "rbac.create=false"),
    "no-aggregate": ("rbac.aggregate=false",),
    "monitored": ("serviceMonitor.enabled=true", "serviceMonitor.labels.release=prometheus"),
    "bare": ("networkPolicy.enabled=false", "podDisruptionBudget.enabled=false", "operator.replicas=1"),
    "placed": (
        "operator.nodeSelector.disk=ssd",
        "operator.tolerations[0].operator=Exists",
        "operator.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey=zone",
        "operator.priorityClassName=high",
        "operator.podLabels.team=a",
        "operator.podAnnotations.note=b",
        "operator.logLevel=debug",
    ),
    "stores": (
        "defaultPool.services.redis.secretRef.name=stores",
        "defaultPool.services.knowledgeGraph.url=redis://graph:6379",
        "defaultPool.lease.backend=Redis",
    ),
}
"""Each switch of the values, by the name of its snapshot."""


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run helm; the caller looks at the exit code."""
    return subprocess.run([binaries.tool("helm"), *arguments], text=True, capture_output=True, check=False)


def render(values: tuple[str, ...] = (), *, hooks: bool = True) -> str:
    """Return what the chart makes of some values. Raises `ValueError` with Helm's own words."""
    sets = [word for value in values for word in ("--set", value)]
    more = [] if hooks else ["--no-hooks"]
    answer = helm(
        "template", "background-tasks", str(CHART), "-n", NAMESPACE, "--kube-version", KUBERNETES, *sets, *more
    )
    if answer.returncode:
        raise ValueError(answer.stderr)
    return answer.stdout


def snapshot(values: tuple[str, ...]) -> str:
    """Return a rendering without the definitions' schemas, which have a test of their own."""
    return "---\n".join(
        yaml.safe_dump(_short(document), sort_keys=True, width=110)
        for document in yaml.safe_load_all(render(values))
        if document
    )


def _short(document: dict[str, Any]) -> dict[str, Any]:
    if document["kind"] != "CustomResourceDefinition":
        return document
    return {**document, "spec": f"as in manifests/crd, {len(document['spec']['versions'])} version"}


def install() -> str:
    """Return the plain manifests: what Helm would install into the namespace `background-tasks`, and that namespace."""
    head = (
        "# Everything that the chart installs with its defaults, for those without Helm:\n"
        "#   kubectl apply --server-side -f manifests/install.yaml\n"
        "# Made by `make chart` from charts/background-tasks; do not edit.\n"
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: background-tasks\n"
        '  labels:\n    pod-security.kubernetes.io/enforce: "restricted"\n'
    )
    plain = re.sub(r"^ *helm\.sh/.*\n|^# Source: .*\n", "", render(hooks=False), flags=re.MULTILINE)
    plain = plain.replace("app.kubernetes.io/managed-by: Helm\n", "app.kubernetes.io/managed-by: kubectl\n")
    return head + re.sub(r"^( *)annotations:\n(?!\1 +\S)", "", plain, flags=re.MULTILINE)  # those that are empty now


def readme() -> str:
    """Return the chart's README: a table of its values, from the sentences above them."""
    rows = "".join(f"| `{name}` | {meaning} | `{default}` |\n" for name, meaning, default in documented())
    return (
        "# The chart background-tasks\n"
        "Installs the operator, its roles and the two resource definitions. Pools and their worker pods are made by\n"
        "the operator from the resources that you apply.\n"
        "```sh\n"
        "helm install background-tasks charts/background-tasks --namespace background-tasks --create-namespace --wait\n"
        "```\n"
        "Unknown values are refused by name. Definitions are upgraded with the release, and kept when it is\n"
        "uninstalled (`crds.keep`), so that no task is lost by accident.\n\n"
        "| value | meaning | default |\n| --- | --- | --- |\n" + rows
    )


def documented() -> list[tuple[str, str, str]]:
    """Read values.yaml: each value that has a sentence, with its default."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    found: list[tuple[str, str, str]] = []
    path: list[str] = []
    sentence = ""
    for line in (CHART / "values.yaml").read_text().splitlines():
        comment, entry = re.fullmatch(r" *# (-- )?(.*)", line), re.fullmatch(r"( *)([A-Za-z]+):.*", line)
        if comment and (comment[1] or sentence):
            sentence = f"{sentence} {comment[2]}".strip()
        elif entry:
            path = [*path[: len(entry[1]) // 2], entry[2]]
            found += [(".".join(path), sentence, _default(values, path))] if sentence else []
            sentence = ""
    return found


def _default(values: Any, path: list[str]) -> str:
    for part in path:
        values = values[part]
    return yaml.safe_dump(values, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def main() -> None:
    """Write what the tests compare."""
    CHART_CRDS.mkdir(parents=True, exist_ok=True)
    for path in CRDS.glob("*.yaml"):
        (CHART_CRDS / path.name).write_bytes(path.read_bytes())
    SNAPSHOTS.mkdir(exist_ok=True)
    for name, values in CASES.items():
        (SNAPSHOTS / f"{name}.yaml").write_text(snapshot(values))
    INSTALL.write_text(install())
    README.write_text(readme())


if __name__ == "__main__":
    main()
