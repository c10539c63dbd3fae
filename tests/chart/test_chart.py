"""The chart: what it renders is what is committed, a real API server's schemas accept it, and slips are refused."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.chart import render, schemas
from tests.testbed import binaries, session

pytestmark = pytest.mark.controlplane
CASES = pytest.mark.parametrize("case", render.CASES)


@pytest.fixture(scope="session")
def known_kinds(control_plane: session.ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder of schemas as the API server tells them, our own kinds among them."""
    folder = tmp_path_factory.mktemp("schemas")
    schemas.write(folder, json.loads(control_plane.kubectl("get", "--raw", "/openapi/v2")))
    return folder


def test_helm_lint_finds_nothing() -> None:
    """Not even a warning."""
    answer = render.helm("lint", "--strict", "--quiet", "--kube-version", render.KUBERNETES, str(render.CHART))
    assert answer.returncode == 0, answer.stdout + answer.stderr


@CASES
def test_each_switch_renders_as_committed(case: str) -> None:
    """A change of the chart is read as a change of its snapshots; `make chart` writes them anew."""
    committed = (render.SNAPSHOTS / f"{case}.yaml").read_text()
    assert render.snapshot(render.CASES[case]) == committed


def test_no_snapshot_is_left_over() -> None:
    """Each committed snapshot belongs to a case."""
    assert {path.stem for path in render.SNAPSHOTS.glob("*.yaml")} == set(render.CASES)


@CASES
def test_kubeconform_accepts_each_rendering(case: str, known_kinds: Path) -> None:
    """Every object has the fields of its kind and no other."""
    assert conforms(render.render(render.CASES[case]), known_kinds) == (0, "")


def test_kubeconform_accepts_the_plain_manifests_and_the_samples(known_kinds: Path) -> None:
    """What people apply by hand is held to the same."""
    samples = [path.read_text() for path in sorted((render.ROOT / "manifests/samples").glob("*.yaml"))]
    assert conforms("\n---\n".join([render.INSTALL.read_text(), *samples]), known_kinds) == (0, "")


def test_kubeconform_sees_a_field_that_does_not_exist(known_kinds: Path) -> None:
    """The check above can fail."""
    wrong = render.render().replace("replicas: 2", "replica: 2")
    code, told = conforms(wrong, known_kinds)
    assert (code, "replica" in told) == (1, True)


def test_the_plain_manifests_are_the_charts() -> None:
    """`manifests/install.yaml` comes from the same source."""
    assert render.INSTALL.read_text() == render.install()


def test_the_charts_definitions_are_the_projects() -> None:
    """A copy, byte for byte."""
    project, chart = (
        {p.name: p.read_text() for p in folder.glob("*.yaml")} for folder in (render.CRDS, render.CHART_CRDS)
    )
    assert project
    assert chart == project


def test_the_readme_of_the_chart_tells_every_value() -> None:
    """Its table is made of the sentences in values.yaml."""
    assert render.README.read_text() == render.readme()


def test_every_value_has_a_sentence() -> None:
    """No value without one, whole groups aside."""
    told = {name for name, _, _ in render.documented()}
    values = yaml.safe_load((render.CHART / "values.yaml").read_text())
    leaves = {
        name if name in told else f"{name}.{key}"
        for name, value in values.items()
        for key in (value if isinstance(value, dict) and value else ("",))
    }
    assert leaves == told


@pytest.mark.parametrize(
    ("value", "told"),
    [
        pytest.param("operator.replica=3", "additional properties 'replica' not allowed", id="an unknown value"),
        pytest.param("image.pullPolicy=Sometimes", "value must be one of", id="a wrong choice"),
        pytest.param("operator.replicas=many", "got string, want integer", id="a wrong type"),
        pytest.param("defaultPool.replica=1", "additional properties 'replica' not allowed", id="a pool's slip"),
        pytest.param("image.digest=latest", "does not match pattern", id="a digest that is none"),
        pytest.param("watchNamespaces={Team A}", "does not match pattern", id="a namespace that is none"),
    ],
)
def test_a_slip_in_the_values_is_refused(value: str, told: str) -> None:
    """Helm names the value and what is wrong with it."""
    with pytest.raises(ValueError, match=told):
        render.render((value,))


def conforms(documents: str, known: Path) -> tuple[int, str]:
    """Ask kubeconform; definitions are checked by the API server itself."""
    location = f"{known}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    skipped = "CustomResourceDefinition,ServiceMonitor"
    answer = subprocess.run(
        [binaries.tool("kubeconform"), "-strict", "-skip", skipped, "-schema-location", location],
        input=documents,
        text=True,
        capture_output=True,
        check=False,
    )
    return answer.returncode, answer.stdout + answer.stderr
