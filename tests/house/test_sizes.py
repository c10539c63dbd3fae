"""The house stays readable: rooms, functions and tests have sizes."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("tasks/**/*.py"), *ROOT.glob("operator/**/*.py")])
TESTS = sorted(ROOT.glob("tests/**/*.py"))
NESTING = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.With, ast.AsyncWith, ast.Match)

PROMISED_SIGNATURES = {
    "register": "BackgroundScheduler.register is the original's public signature (its users call it so)"
}

type Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[Function]:
    """Yield every function of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(node: Function) -> int:
    """Count the lines of a function's body, without its docstring."""
    body = node.body
    documented = isinstance(body[0], ast.Expr) and isinstance(getattr(body[0], "value", None), ast.Constant)
    if documented and len(body) == 1:
        return 1
    first = body[1] if documented else body[0]
    return (node.end_lineno or first.lineno) - first.lineno + 1


def positional(node: Function) -> list[str]:
    """Name the arguments that may be given by position."""
    return [argument.arg for argument in node.args.args if argument.arg not in ("self", "cls")]


def depth(node: ast.AST, level: int = 0) -> int:
    """Count how deep control flow nests below a node; an `elif` is no deeper than its `if`."""
    deepest = level
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and child in node.orelse
        deeper = isinstance(child, NESTING) and not is_elif
        deepest = max(deepest, depth(child, level + deeper))
    return deepest


def name(path: Path) -> str:
    """Name a file as a person would."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_module_asks_one_question(path: Path) -> None:
    """A module has at most 300 lines, a decision at most 200."""
    limit = 200 if "/domain/" in str(path) or "/operator/background_tasks_operator/plan/" in str(path) else 300
    lines = len(path.read_text().splitlines())
    assert lines <= limit, f"{name(path)} has {lines} lines: two questions in here?"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_function_is_read_at_once(path: Path) -> None:
    """A function has at most 40 lines, five positional arguments and three levels."""
    faults = [
        f"{name(path)}:{node.lineno} {node.name}: {what}"
        for node in functions(path)
        for what, wrong in (
            (f"{length(node)} lines", length(node) > 40),
            (f"{len(positional(node))} arguments", len(positional(node)) > 5 and node.name not in PROMISED_SIGNATURES),
            (f"{depth(node)} levels", depth(node) > 3),
        )
        if wrong
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("path", TESTS, ids=name)
def test_a_test_is_a_sentence(path: Path) -> None:
    """A test has at most 30 lines and says its promise in a docstring."""
    faults = [
        f"{name(path)}:{node.lineno} {node.name}: {length(node)} lines, docstring: {bool(ast.get_docstring(node))}"
        for node in functions(path)
        if node.name.startswith("test_") and (length(node) > 30 or not ast.get_docstring(node))
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("path", TESTS, ids=name)
def test_a_test_waits_for_conditions(path: Path) -> None:
    """No test sleeps for a fixed time: a literal `sleep(0.5)` outside a polling loop is a guess."""
    if "house" in path.parts or "bench" in path.parts:
        return
    faults = [f"{name(path)}:{call.lineno}" for call in _time_sleeps(ast.parse(path.read_text()))]
    assert not faults, "\n".join(faults)


def _time_sleeps(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield calls of `time.sleep` that stand in no loop."""
    looped = {id(inner) for loop in ast.walk(tree) if isinstance(loop, ast.While | ast.For) for inner in ast.walk(loop)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep" and id(node) not in looped:
            yield node
