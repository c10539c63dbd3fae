"""`bgtasks worker` says what it lacks before it opens anything."""

import pytest

from background_tasks import cli


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "a worker needs --file and --redis-url, or --cluster alone"),
        (["--file", "x.yaml"], "a worker needs --file and --redis-url, or --cluster alone"),
        (["--cluster", "--redis-url", "redis://r"], "--cluster takes all it needs from BGTASKS_"),
        (["--cluster"], "BGTASKS_POOL is missing; set it to the pool's name; BGTASKS_NAMESPACE is missing"),
    ],
)
def test_what_is_missing_is_told(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, with exit code 2."""
    for name in ("POOL", "NAMESPACE", "POD_NAME"):
        monkeypatch.delenv(f"BGTASKS_{name}", raising=False)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["worker", *arguments])
    assert (stopped.value.code, told in capsys.readouterr().err) == (2, True)
