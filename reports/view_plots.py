"""The views of a run's answers as figures: one of each task, a panel for each view."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.results.folder import RunFolder

from .attention_figures import save
from .views import AnswerView, views_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BAR, TICK = "#0b62a8", "#b3500a"


def write_view_figures(runs: Sequence[RunFolder], out: Path) -> list[Path]:
    """For each run and task that there are scores of; metrics alone say nothing about answers."""
    paths = []
    for place, run in enumerate(runs):
        for task in run.results:
            views = views_of(run, task) if (run.path / task / "scores.jsonl").is_file() else []
            if views:
                name = f"answers_{task}" if len(runs) == 1 else f"answers_{task}_{place}"
                paths += save(view_figure(views, f"{run.results[task].about.title}: {run.label}"), out, name)
    return paths


def view_figure(views: Sequence[AnswerView], title: str) -> Figure:
    """Bars are shares in percent; their numbers of answers stand beside them."""
    from matplotlib.figure import Figure

    rows = sum(len(view.bars) + 2 for view in views)
    figure = Figure(figsize=(7, 0.8 + 0.24 * rows), layout="constrained")
    heights = [len(view.bars) + 1 for view in views]
    axes: Any = figure.subplots(len(views), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axis, view in zip(axes[:, 0], views, strict=True):
        places = range(len(view.bars))
        axis.barh(places, [bar.share for bar in view.bars], color=BAR, height=0.7)
        for place, bar in zip(places, view.bars, strict=True):
            axis.text(101, place, str(bar.count), va="center", fontsize=7)
            if bar.beside is not None:
                axis.plot([bar.beside] * 2, [place - 0.45, place + 0.45], color=TICK, linewidth=2)
        axis.set_yticks(list(places), [bar.label for bar in view.bars], fontsize=7)
        axis.set_title(view.title + (f" (mark: {view.tick})" if view.tick else ""), fontsize=8, loc="left")
        axis.set_xlim(0, 100)
        axis.invert_yaxis()
        axis.tick_params(axis="x", labelsize=7)
    figure.suptitle(title, fontsize=9)
    return figure
