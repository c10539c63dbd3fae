"""The image as a node runs it."""

import json

import pytest

from tests.testbed.imagebuild import NAME
from tests.testbed.session import ControlPlane

pytestmark = pytest.mark.e2e
RESTRICTED = {
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["bgtasks", "--version"], id="the command of workers"),
        pytest.param(["python", "-c", "import background_tasks_operator, kopf"], id="the operator's packages"),
    ],
)
def test_the_image_starts_under_restricted_pod_security(
    command: list[str], control_plane: ControlPlane, namespace: str
) -> None:
    """With no root, no capability and nothing to write on, its commands run."""
    enforce = "pod-security.kubernetes.io/enforce=restricted"
    control_plane.kubectl("label", "namespace", namespace, enforce)
    container = {"name": "main", "image": NAME, "command": command, "securityContext": RESTRICTED}
    spec = {
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "image"}, "spec": spec}
    control_plane.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(pod))
    succeeded = "--for=jsonpath={.status.phase}=Succeeded"
    control_plane.kubectl("wait", "-n", namespace, succeeded, "pod/image", "--timeout=60s")
