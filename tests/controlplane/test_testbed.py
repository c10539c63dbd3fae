"""The testbed itself: what it starts answers, what it stops is gone, what is missing is told."""

from tests.testbed.session import ControlPlane


def test_the_control_plane_answers(control_plane: ControlPlane, namespace: str) -> None:
    """A namespace of the test's own is there to be read."""
    assert namespace in control_plane.kubectl("get", "namespace", namespace)
