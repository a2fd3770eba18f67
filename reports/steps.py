"""Checkpoints of one training over its steps, as a table and a figure: score with interval against step.

The best is marked (`curves`). Where others cannot be told from it, that is said: the highest of several equal ones is
picked by noise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .curves import Curve, in_steps
from .notices import notices
from .paper_tables import Plan
from .tables import Cell, Column, Row, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def step_table(plan: Plan) -> Table | None:
    """Steps as rows; None where the runs are not one training's."""
    steps, found = in_steps(plan.runs), plan.curves
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

    steps, found = in_steps(plan.runs), plan.curves
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
