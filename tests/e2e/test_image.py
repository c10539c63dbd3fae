"""The image as a node runs it."""

import pytest

from tests.e2e.kubectl import Kubectl
from tests.e2e.recorder import RESTRICTED, UNPRIVILEGED
from tests.testbed.imagebuild import NAME

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["bgtasks", "--version"], id="the command of workers"),
        pytest.param(["python", "-c", "import background_tasks_operator, kopf"], id="the operator's packages"),
    ],
)
def test_the_image_starts_under_restricted_pod_security(command: list[str], kube: Kubectl, namespace: str) -> None:
    """With no root, no capability and nothing to write on, its commands run."""
    here = kube.within(namespace)
    container = {"name": "main", "image": NAME, "command": command, "securityContext": RESTRICTED}
    spec = {"restartPolicy": "Never", "securityContext": UNPRIVILEGED, "containers": [container]}
    here.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "image"}, "spec": spec})
    here("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/image", "--timeout=60s")
