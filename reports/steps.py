"""Checkpoints of one training over its steps: score with interval against step, and which is best, as far as is known.

Runs whose folders end on a number behind `step` or `checkpoint` (`step-500`, `checkpoint-500`) are taken for one
training's. The highest value is marked; every other step is compared with it, question by question, and Holm's
correction is over the steps. Where others cannot be told from it, that is said: the highest of several equal ones is
picked by noise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmarks.estimates import ALPHA
from benchmarks.paired_tests import holm
from benchmarks.results.comparison import compare
from benchmarks.results.folder import RunFolder
from benchmarks.tasks import headline_labels

from .notices import notices
from .paper_tables import Plan
from .series import run_cell
from .tables import Cell, Column, Row, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEP = re.compile(r"(?:^|.*\D)(?:step|checkpoint)[-_]?(\d+)", re.IGNORECASE)
FEWEST = 3
"""Runs from which on it is a curve and not a pair."""


@dataclass(frozen=True)
class Curve:
    """One column over the steps. `best` is the step of the highest value, `equal` those that cannot be told from it."""

    label: str
    cells: tuple[Cell, ...]
    best: int | None
    equal: tuple[int, ...]


def step_of(run: RunFolder) -> int | None:
    """Of the training that the run's folder names; None where it names none."""
    found = STEP.fullmatch(run.path.resolve().name)
    return int(found[1]) if found else None


def in_steps(plan: Plan) -> list[tuple[int, RunFolder]]:
    """The runs by step, if all of them are one training's; else none."""
    steps = [(step, run) for run in plan.runs if (step := step_of(run)) is not None]
    distinct = len({step for step, _ in steps}) == len(plan.runs) >= FEWEST
    return sorted(steps, key=lambda each: each[0]) if distinct else []


def curves(steps: list[tuple[int, RunFolder]]) -> list[Curve]:
    """Every column that all steps have."""
    first = steps[0][1]
    found = []
    for task, result in first.results.items():
        if all(task in run.results for _, run in steps):
            found += [_curve(steps, task, metric, label) for metric, label in headline_labels(result.about).items()]
    return found


def _curve(steps: list[tuple[int, RunFolder]], task: str, metric: str, label: str) -> Curve:
    cells = tuple(run_cell(run.results[task], metric) for _, run in steps)
    known = [(cell.value, step, run) for (step, run), cell in zip(steps, cells, strict=True) if cell.value is not None]
    if not known:
        return Curve(label, cells, None, ())
    best, run = next((step, run) for value, step, run in known if value == max(each[0] for each in known))
    others = [(step, other) for _, step, other in known if step != best]
    holms = holm([_p(other, run, task, metric) for _, other in others])
    equal = tuple(step for (step, _), p in zip(others, holms, strict=True) if p is None or p >= ALPHA)
    return Curve(label, cells, best, equal)


def _p(other: RunFolder, best: RunFolder, task: str, metric: str) -> float | None:
    """Of no difference between the two; None where they cannot be compared."""
    found = compare(other, best, different="leave_out", tasks=[task]).of_task(task).get(metric)
    return found.p if found else None


def step_table(plan: Plan) -> Table | None:
    """Steps as rows; None where the runs are not one training's."""
    steps = in_steps(plan)
    found = curves(steps) if steps else []
    if not found:
        return None
    rows = [
        Row(label=f"step {step}", kind="run", cells=tuple(_marked(curve, place, step) for curve in found))
        for place, (step, _) in enumerate(steps)
    ]
    return Table(
        key="steps",
        title="By training step",
        corner="Checkpoint",
        columns=tuple(Column(label=curve.label, kind="run") for curve in found),
        rows=tuple(rows),
        notices=notices(plan.runs),
        remarks=tuple(_sentence(curve) for curve in found if curve.best is not None),
    )


def _marked(curve: Curve, place: int, step: int) -> Cell:
    cell = curve.cells[place]
    if cell.value is None:
        return cell
    mark = " ★" if step == curve.best else " ≈" if step in curve.equal else ""
    return replace(cell, suffix=cell.suffix + mark)


def _sentence(curve: Curve) -> str:
    if not curve.equal:
        return f"{curve.label}: step {curve.best} (★) is ahead of every other step (p < 0.05 after Holm's correction)."
    names = ", ".join(map(str, curve.equal))
    return (
        f"{curve.label}: step {curve.best} (★) has the highest value, but step{'s' if len(curve.equal) > 1 else ''} "
        f"{names} (≈) cannot be told from it on these questions: picking it would be picking by noise."
    )


def step_figure(plan: Plan) -> Figure | None:
    """A panel a column: value with its interval against step, the best marked, those equal to it hollow."""
    from matplotlib.figure import Figure

    steps = in_steps(plan)
    found = curves(steps) if steps else []
    if not found:
        return None
    wide = min(4, len(found))
    high = -(-len(found) // wide)
    figure = Figure(figsize=(3.4 * wide, 2.6 * high + 0.6), layout="constrained")
    panels = figure.subplots(high, wide, squeeze=False).flat
    for axis, curve in zip(panels, found, strict=False):
        _panel(axis, curve, [step for step, _ in steps])
    for axis in list(panels)[len(found) :]:
        axis.set_axis_off()
    figure.suptitle("★ highest; hollow: cannot be told from it; bars: 95 % intervals", fontsize=9)
    return figure


def _panel(axis: Any, curve: Curve, steps: list[int]) -> None:
    points = [(step, cell) for step, cell in zip(steps, curve.cells, strict=True) if cell.value is not None]
    axis.plot(
        [step for step, _ in points], [cell.value for _, cell in points], color="#b9cfe4", linewidth=1.2, zorder=1
    )
    for step, cell in points:
        if cell.ci95 is not None:
            axis.plot([step, step], cell.ci95, color="#0b62a8", alpha=0.45, linewidth=2.5, zorder=2)
        shape = "*" if step == curve.best else "o"
        inside = "white" if step in curve.equal else "#0b62a8"
        size = 12 if shape == "*" else 5
        axis.plot(step, cell.value, shape, color=inside, markeredgecolor="#0b62a8", markersize=size, zorder=3)
    axis.set_title(curve.label, fontsize=9)
    axis.tick_params(labelsize=7)
    axis.set_xlabel("step", fontsize=7)
    axis.spines[["top", "right"]].set_visible(False)
