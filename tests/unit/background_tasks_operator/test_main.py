"""The operator's door: settings that cannot be used end it with one line."""

import pytest

from background_tasks_operator.__main__ import main


def test_a_fault_in_the_settings_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All faults at once, each with its variable and what to write; exit code 2, no traceback."""
    monkeypatch.delenv("BGTASKS_OPERATOR_IMAGE", raising=False)
    monkeypatch.setenv("BGTASKS_OPERATOR_PORT", "many")
    assert main() == 2
    told = capsys.readouterr().err
    assert "BGTASKS_OPERATOR_IMAGE is missing" in told
    assert "BGTASKS_OPERATOR_PORT" in told
    assert told.count("\n") == 1
