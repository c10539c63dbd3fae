"""The command itself: help, version, exit codes, and what it does not import."""

import subprocess
import sys
import types

import pytest

from background_tasks import cli
from background_tasks.errors import InvalidSettings, Unavailable


def run(*arguments: str) -> int:
    """Run `bgtasks` in this process and return its exit code."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> dict[str, BaseException]:
    """Give a command `fail` that raises what the test puts under `error`."""
    held: dict[str, BaseException] = {}

    def fail() -> None:
        """Fail as told."""
        raise held["error"]

    module = types.ModuleType("background_tasks.cli.fail")
    module.fail = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "background_tasks.cli.fail", module)
    monkeypatch.setitem(cli.COMMANDS, "fail", "Fail.")
    return held


def test_help_names_every_command_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """The overview fits a screen; no arguments at all mean the same."""
    assert run("--help") == 0
    shown = capsys.readouterr().out
    for name, line in cli.COMMANDS.items():
        assert f"{name} " in shown
        assert line.split()[0] in shown
    assert "Exit codes: 0 fine, 1 something was found or failed, 2 the command" in shown
    assert run() == 2
    assert "Usage: bgtasks" in "".join(capsys.readouterr())


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    """One line, for bug reports."""
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("bgtasks 0.")


def test_a_misspelled_command_has_a_neighbour(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2: the call is wrong."""
    assert run("lnt") == 2
    assert "No such command 'lnt'. Did you mean 'lint'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(Unavailable("redis: no answer"), 1, id="what fails is 1"),
        pytest.param(InvalidSettings("slots is 0; give 1 or more"), 2, id="wrong input is 2"),
        pytest.param(KeyboardInterrupt(), 130, id="Ctrl-C is 130"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(
    failing: dict[str, BaseException], error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """What we raise on purpose is no traceback."""
    failing["error"] = error

    assert run("fail") == code
    assert capsys.readouterr().err == (f"bgtasks: {error}\n" if str(error) else "")


def test_a_fault_of_ours_keeps_its_traceback(failing: dict[str, BaseException]) -> None:
    """A bug must be seen, not dressed up."""
    failing["error"] = ZeroDivisionError("ours")

    with pytest.raises(ZeroDivisionError):
        cli.main(["fail"])


def test_a_command_shows_its_own_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The command that is named is the real one."""
    assert run("lint", "-h") == 0
    assert "--modules" in capsys.readouterr().out


def test_help_imports_no_room_and_no_client_library() -> None:
    """The overview costs what Typer costs: neither pydantic nor YAML nor asyncio is needed to print it."""
    code = (
        "import sys\nfrom background_tasks.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'pydantic', 'yaml', 'redis', 'watchfiles'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.splitlines()[-1] == "[]"
