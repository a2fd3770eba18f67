"""What fails says so, and what takes tensors says of which shape: the docstrings that ruff cannot ask for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("aki_eval", "benchmarks", "model", "reports", "train")
ERRORS = {"UserError", "ValueError", "TypeError", "KeyError", "RuntimeError", "RowError", "Unreadable", "Unusable"}
ARRAYS = {"Tensor", "NDArray", "ndarray", "Floats", "Bools"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_functions(node: ast.AST, of_class: str = "") -> Iterator[tuple[Function, str]]:
    """Each with the docstrings that a caller reads: its own, and its class's."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from public_functions(child, ast.get_docstring(child) or " ")
        elif isinstance(child, Function) and (child.name == "__init__" or not child.name.startswith("_")):
            yield child, (of_class if child.name == "__init__" else "") + (ast.get_docstring(child) or "")


def raised(function: Function) -> set[str]:
    """The errors that its own lines make."""
    waiting, names = list(function.body), set()
    while waiting:
        node: ast.AST = waiting.pop()
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            names.add(ast.unparse(node.exc.func))
        if not isinstance(node, Function | ast.Lambda | ast.ClassDef):
            waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.AST)]
    return names & ERRORS


@pytest.mark.parametrize("package", PACKAGES)
def test_what_fails_says_so_and_arrays_have_shapes(package: str) -> None:
    """Of commands the docstring is the `--help`: that what can be fixed is one line is said of all of them at once."""
    silent = []
    for path in sorted((ROOT / package).rglob("*.py")):
        commands = path.parent.name == "commands" or path.name == "cli.py"
        for function, text in public_functions(ast.parse(path.read_text("utf-8"))):
            where = f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
            if not commands and (errors := raised(function)) and "Raises" not in text and "See `" not in text:
                silent.append(f"{where} raises {', '.join(sorted(errors))}")
            signature = ast.walk(ast.Module([ast.Expr(function.args), ast.Expr(function.returns)], []))
            named = {node.id for node in signature if isinstance(node, ast.Name)}
            if named & ARRAYS and not text.strip():
                silent.append(f"{where} takes or gives arrays")
    assert not silent
