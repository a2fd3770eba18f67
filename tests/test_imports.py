"""The floors of the house: our packages are ours, imports point down only, and light commands stay light."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {
    "model": set(),
    "benchmarks": set(),
    "train": {"model", "benchmarks.toy_world"},
    "reports": {"benchmarks"},
    "aki_eval": {"reports", "benchmarks", "model"},
}
HEAVY = ("torch", "transformers", "vlmeval", "datasets", "openai", "pandas", "scipy", "matplotlib")
LIGHT_MODULES = (
    "aki_eval.cli",
    "aki_eval.compare",
    "aki_eval.gate",
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


def own_imports(path: Path) -> set[str]:
    """Dotted names that a file imports from our packages; relative imports stay on their floor and do not count."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] in ALLOWED}


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_point_down(package: str) -> None:
    allowed = ALLOWED[package] | {package}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for name in sorted(own_imports(path))
        if not any(name == floor or name.startswith(floor + ".") for floor in allowed)
    ]
    assert wrong == []


def test_light_modules_import_nothing_heavy() -> None:
    """`aki-eval --help`, `list`, `report`, `compare` and `gate` must start at once."""
    code = (
        "import sys\n"
        + "".join(f"import {name}\n" for name in LIGHT_MODULES)
        + f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
