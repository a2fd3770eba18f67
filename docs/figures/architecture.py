"""Draws architecture.svg: the floors with the imports between them as they are in the code, and the main path.

python docs/figures/architecture.py
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.patches import FancyBboxPatch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BLUE, GREEN, INK = "#dfe8f5", "#dcefe6", "#1f2933"

FLOORS = {  # name: (x, y, what it is)
    "aki_eval": (3.4, 7.4, "runs, judges, imports, compares, gates"),
    "reports": (0.2, 5.0, "tables, pages, figures, model card"),
    "train": (6.8, 7.4, "recipes, stages, data sets, toy"),
    "benchmarks": (2.4, 2.6, "tasks, scoring, statistics, run folder"),
    "model": (6.8, 0.3, "AKI: attention, processor, published form"),
}
PATH = (
    ("load", "aki_eval/run/inputs.py", "tables -> samples -> prompts"),
    ("predict", "aki_eval/run/loop.py", "prompts -> predictions.jsonl"),
    ("score", "benchmarks/scoring.py", "predictions -> scores.jsonl"),
    ("add up", "benchmarks/estimates.py", "scores -> metrics.json"),
    ("show", "reports/tables.py", "metrics -> every table"),
)


def imports() -> set[tuple[str, str]]:
    """(package, package it imports), read from the source."""
    found = set()
    for package in FLOORS:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                    names = [node.module]
                found |= {(package, name.split(".")[0]) for name in names}
    return {(a, b) for a, b in found if b in FLOORS and a != b}


def draw() -> Any:
    mpl.rcParams.update({"svg.hashsalt": "aki", "svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": 9})
    figure = plt.figure(figsize=(11.5, 5.2))
    _floors(figure.add_axes((0.01, 0.02, 0.6, 0.96)))
    _path(figure.add_axes((0.64, 0.02, 0.35, 0.96)))
    return figure


def _box(axes: Any, x: float, y: float, width: float, title: str, detail: str, color: str) -> None:
    axes.add_patch(FancyBboxPatch((x, y), width, 1.2, boxstyle="round,pad=0.06", facecolor=color, edgecolor=INK))
    axes.text(x + width / 2, y + 0.83, title, ha="center", va="center", weight="bold", color=INK)
    axes.text(x + width / 2, y + 0.33, detail, ha="center", va="center", size=7, color=INK)


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": INK, "shrinkA": 2, "shrinkB": 2})


def _floors(axes: Any) -> None:
    axes.set(xlim=(0, 10.2), ylim=(0, 10))
    axes.axis("off")
    axes.text(0.2, 9.5, "Who imports whom (as in the source; a test forbids every other arrow)", color=INK)
    for name, (x, y, detail) in FLOORS.items():
        _box(axes, x, y, 3.1, name, detail, BLUE)
    for upper, lower in sorted(imports()):
        x, y = FLOORS[upper][:2]
        to_x, to_y = FLOORS[lower][:2]
        shift = 0.9 * ((to_x > x) - (to_x < x))
        _arrow(axes, (x + 1.55 + shift, y - 0.08), (to_x + 1.55 - shift, to_y + 1.28))


def _path(axes: Any) -> None:
    axes.set(xlim=(0, 6), ylim=(0, 10))
    axes.axis("off")
    axes.text(0.2, 9.5, "The main path: aki-eval run, aki-eval report", color=INK)
    for number, (verb, file, what) in enumerate(PATH):
        y = 7.4 - 1.78 * number
        _box(axes, 0.4, y, 5.0, f"{verb}: {what}", file, GREEN)
        if number:
            _arrow(axes, (2.9, y + 1.7), (2.9, y + 1.28))


if __name__ == "__main__":
    draw().savefig(HERE / "architecture.svg", metadata={"Date": None})
