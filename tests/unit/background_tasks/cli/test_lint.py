"""`bgtasks lint`, as a person and a pipeline see it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from background_tasks.cli import main

TASK = "apiVersion: background-tasks.dev/v1alpha1\nkind: BackgroundTask\n"
POOL = "apiVersion: background-tasks.dev/v1alpha1\nkind: WorkerPool\n"


def lint(*arguments: str) -> int:
    """Run the command and return its exit code."""
    with pytest.raises(SystemExit) as stopped:
        main(["lint", *arguments])
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty directory, so that paths are short."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_sound_files_are_counted_and_pass(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, and one line that says what was read."""
    task = f"{TASK}metadata: {{name: a}}\nspec: {{task: a, schedule: {{interval: 1m}}}}\n"
    (folder / "a.yaml").write_text(f"{task}---\n{POOL}metadata: {{name: default}}\n")

    assert lint("a.yaml") == 0
    assert capsys.readouterr().out == "1 file, 1 task, 1 pool: nothing found\n"


def test_every_finding_is_a_line_with_its_place(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All faults of all files at once, in the order of the files; exit code 1."""
    (folder / "a.yaml").write_text(
        f"{TASK}metadata: {{name: a}}\nspec:\n  task: a\n  schedule:\n    interval: 30\n  foo: 1\n"
    )
    (folder / "b.yml").write_text("a: [1\n")

    assert lint(".") == 1
    assert capsys.readouterr().out.splitlines() == [
        "a.yaml:7: spec.schedule.interval: 30 is a number without a unit; write 30s",
        "a.yaml:8: spec.foo: is not a field; known here: task, poolRef, schedule, runPolicy, missed, overlap, timeout, "
        "retry, breaker, guarantee, group, params, requires, objective, isolation, suspend, historyLimit",
        "b.yml:1: the bracket [ of line 1 is not closed, or a comma is missing",
        "2 files, 1 task, 0 pools: 3 findings",
    ]


def test_json_says_the_same_for_machines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every part of a finding has its own key."""
    (folder / "a.yaml").write_text(f"{TASK}metadata: {{name: a}}\nspec:\n  task: a\n  schedule: {{every: 0s}}\n")

    assert lint("a.yaml", "-o", "json") == 1
    assert json.loads(capsys.readouterr().out) == {
        "files": 1,
        "tasks": 1,
        "pools": 0,
        "findings": [
            {
                "level": "error",
                "file": "a.yaml",
                "line": 6,
                "document": 1,
                "field": "spec.schedule.every",
                "value": '"0s"',
                "message": 'spec.schedule.every: "0s" is too short; write 1ms or more, such as 30s',
            }
        ],
    }


ACROSS = f"""\
{POOL}metadata: {{name: batch}}
spec: {{groups: [{{name: api}}], taskModules: [my_app.tasks]}}
---
{TASK}metadata:
  name: a
  annotations: {{background-tasks.dev/pause-until: forever}}
spec:
  task: other.tasks:digest
  poolRef: {{name: batch}}
  group: apis
  schedule: {{interval: 1m}}
---
{TASK}metadata: {{name: b}}
spec:
  task: my_app.tasks.chat:digest
  poolRef: {{name: bach}}
  group: api
  schedule: {{interval: 1m}}
---
apiVersion: v1
kind: ConfigMap
---
{TASK}metadata: {{name: a}}
spec: {{task: t, group: api, schedule: {{interval: 1m}}}}
"""


def test_documents_are_checked_against_each_other(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A group, a module and a name are faults; a pool that may be elsewhere is a warning; a stranger is a note."""
    (folder / "a.yaml").write_text(ACROSS)

    assert lint("a.yaml") == 1
    assert capsys.readouterr().out.splitlines() == [
        "a.yaml:10: warning: metadata.annotations[background-tasks.dev/pause-until]: "
        '"background-tasks.dev/pause-until" is no annotation of ours; did you mean background-tasks.dev/paused-until?',
        'a.yaml:12: spec.task: "other.tasks:digest" is outside taskModules of pool batch; add other.tasks there',
        'a.yaml:14: spec.group: "apis" is not a group of pool batch; did you mean api?',
        'a.yaml:22: warning: spec.poolRef.name: "bach" is not declared here; did you mean batch?',
        "a.yaml:26: note: ConfigMap is left alone",
        "a.yaml:31: metadata.name: BackgroundTask default/a is declared before, at a.yaml:9 (document 2); "
        "rename or remove one of the two",
        'a.yaml:32: warning: spec.group: "api" is a group of no pool here; '
        "add a WorkerPool named default with this group",
        "1 file, 3 tasks, 1 pool: 3 findings, 3 warnings, 1 note",
    ]


def test_warnings_alone_pass(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What may be right in another place does not stop a pipeline; a refused pool is no reason for more complaints."""
    spec = "spec: {task: a, poolRef: {name: batch}, group: x, schedule: {interval: 1m}}\n"
    (folder / "a.yaml").write_text(f"{TASK}metadata: {{name: a}}\n{spec}")
    assert lint("a.yaml") == 0

    (folder / "p.yaml").write_text(f"{POOL}metadata: {{name: batch}}\nspec: {{slots: 0}}\n")
    assert lint(".") == 1
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "p.yaml:4: spec.slots: 0 is too small; write 1 or more",
        "2 files, 1 task, 1 pool: 1 finding",
    ]


def test_a_path_that_is_not_there_is_a_wrong_call(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2: nothing was checked."""
    assert lint("tsaks") == 2
    assert capsys.readouterr().err == (
        "bgtasks: tsaks: no such file or directory; give a YAML or JSON file, or a directory of them\n"
    )


MODULE = """
from background_tasks import TaskParams, background_task

class Params(TaskParams):
    depth: int = 1

@background_task(interval=60, requires_redis=True, params=Params)
async def lint_me(redis, params: Params):
    pass
"""


def test_names_and_params_are_checked_against_modules(folder: Path) -> None:
    """With `--modules` a task that names no coroutine, or params that do not fit it, are findings."""
    (folder / "linted_module.py").write_text(MODULE)
    rows = ["{task: lint_me, params: {depth: 2}", "{task: lint_em", "{task: lint_me, params: {\n  depth: deep}"]
    documents = [
        f"{TASK}metadata: {{name: t{n}}}\nspec: {row}, schedule: {{interval: 1m}}}}\n" for n, row in enumerate(rows)
    ]
    (folder / "a.yaml").write_text("---\n".join(documents))
    code = "from background_tasks.cli import main; main(['lint', 'a.yaml', '--modules', 'linted_module'])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)

    found = done.stdout.splitlines()
    assert done.returncode == 1, done.stderr
    assert [line.split(": ")[:2] for line in found[:-1]] == [
        ["a.yaml:9", "spec.task"],
        ["a.yaml:15", "spec.params.depth"],
    ]
    assert "did you mean lint_me?" in found[0]


def test_a_module_that_cannot_be_imported_is_a_wrong_call(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2: tasks cannot be checked against what is not there."""
    (folder / "a.yaml").write_text("")

    assert lint("a.yaml", "--modules", "no_such_module_anywhere") == 2
    assert "no_such_module_anywhere" in capsys.readouterr().err
