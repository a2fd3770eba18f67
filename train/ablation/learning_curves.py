"""Learning curves: the share of questions right against optimizer steps, as means over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

Points = Sequence[Sequence[float]]
"""(step, share of questions right) of one training."""


class LearningCurve(NamedTuple):
    """One line: its label, each seed's points, and how it looks."""

    label: str
    seeds: Mapping[str, Points]
    color: str
    style: str = "-"


def by_step(seeds: Mapping[str, Points]) -> dict[int, list[float]]:
    """Step -> per cent right of every seed that was asked there; steps ascend."""
    found: dict[int, list[float]] = {}
    for points in seeds.values():
        for step, share in points:
            found.setdefault(int(step), []).append(100 * share)
    return dict(sorted(found.items()))


def draw(
    path: Path,
    curves: Iterable[LearningCurve],
    *,
    height: float,
    font_size: int,
    marker_size: int = 6,
    each_seed: bool = False,
) -> None:
    """The means, with the seeds' own lines behind them if `each_seed`; the key stands below, where it covers none."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, height), layout="constrained")
    axes = figure.subplots()
    for curve in curves:
        if each_seed:
            for points in curve.seeds.values():
                steps, shares = zip(*points, strict=True) if points else ((), ())
                axes.plot(steps, [100 * share for share in shares], color=curve.color, alpha=0.3)
        if values := by_step(curve.seeds):
            means = [mean(each) for each in values.values()]
            axes.plot(
                list(values),
                means,
                curve.style,
                marker="o",
                markersize=marker_size,
                color=curve.color,
                label=curve.label,
            )
    axes.set(xlabel="optimizer steps of all stages", ylabel="questions right, per cent")
    axes.grid(visible=True, alpha=0.3)
    figure.legend(loc="outside lower center", fontsize=font_size, ncols=4)
    figure.savefig(path, dpi=120)
