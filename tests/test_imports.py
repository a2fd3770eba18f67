"""The floors of the house: our packages are ours, imports point down only, and light commands stay light."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {
    "model": set(),
    "benchmarks": set(),
    "train": {
        "model",
        "benchmarks.asked_about",
        "benchmarks.checked",
        "benchmarks.command_line",
        "benchmarks.console",
        "benchmarks.cores",
        "benchmarks.data.root",
        "benchmarks.errors",
        "benchmarks.files",
        "benchmarks.images",
        "benchmarks.printable",
        "benchmarks.redaction",
        "benchmarks.toy_world",
    },
    "reports": {"benchmarks"},
    "aki_eval": {"reports", "benchmarks", "model"},
}
HEAVY = ("torch", "transformers", "vlmeval", "datasets", "openai", "pandas", "scipy", "matplotlib")
LIGHT_MODULES = (
    "aki_eval.cli",
    "aki_eval.commands.compare",
    "aki_eval.commands.gate",
    "benchmarks.tasks",
    "reports.cli",
    "benchmarks.results.folder",
    "reports.tables",
    "train.cli",
)


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_package_lies_in_this_checkout(package: str) -> None:
    """Plain top-level names can be shadowed by a stranger's `model` or `train`: then nothing here means anything."""
    module = importlib.import_module(package)
    assert Path(str(module.__file__)).resolve().parent == ROOT / package


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for package in ALLOWED for path in sorted((ROOT / package).rglob("*.py"))}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def own_imports(module: str) -> set[str]:
    """Dotted names (of modules, or of what is in them) that a module imports from our packages, at whatever depth of
    its code, by absolute or relative import."""
    names: set[str] = set()
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            around = parts[: len(parts) - node.level + 1] if node.level else []
            source = ".".join([*around, *([node.module] if node.module else [])])
            names |= {f"{source}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] in ALLOWED}


def imported_modules(module: str) -> set[str]:
    """The modules of ours that a module needs."""
    found = {name if name in MODULES else name.rpartition(".")[0] for name in own_imports(module)}
    return {name for name in found if name in MODULES} - {module}


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_point_down(package: str) -> None:
    allowed = ALLOWED[package] | {package}
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        if module.split(".")[0] == package
        for name in sorted(own_imports(module))
        if not any(name == floor or name.startswith(floor + ".") for floor in allowed)
    ]
    assert wrong == []


def test_no_circles() -> None:
    """Nor inside a room, nor by an import inside a function: a circle of modules is one module in pieces."""
    TopologicalSorter({module: imported_modules(module) for module in MODULES}).prepare()  # CycleError shows the circle


def test_no_class_name_twice() -> None:
    homes: dict[str, list[str]] = {}
    for module in MODULES:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(module)
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def test_light_modules_import_nothing_heavy() -> None:
    """`aki-eval --help`, `list`, `report`, `compare` and `gate` must start at once."""
    code = (
        "import sys\n"
        + "".join(f"import {name}\n" for name in LIGHT_MODULES)
        + f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
