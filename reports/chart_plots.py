"""Figures about numbers, through matplotlib: Table 2 as bars and as a radar, and ability profiles."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import paper
from .attention_figures import INK, save
from .chart_data import Chart, ChartRow, breakdown, others, overview
from .notices import for_figure
from .other_tables import measures_paper
from .paper import PaperLine
from .paper_tables import TITLES, Plan, reference_row
from .series import Series, arm_series, paper_series
from .steps import step_figure
from .styles import SCREEN, Style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RUN_COLOURS = ("#0b62a8", "#b3500a", "#0a7350", "#8a3a94", "#7a6000", "#b31f4e")
PEER, REFERENCE = "#cfc7be", "#655e57"
NARROW = 8.0
"""Inches: below, panels stand in three columns."""


def write_figures(plan: Plan, out: Path, style: Style = SCREEN) -> list[Path]:
    """Every figure that there are numbers for."""
    import matplotlib

    with matplotlib.rc_context(dict(style.settings)):
        figures: dict[str, Figure] = {}
        if measures_paper(plan.runs):
            figures = {"table2_bars": bars(plan, style), "table2_radar": radar(plan, style)}
        by_step = step_figure(plan)
        if by_step is not None:
            figures["steps"] = by_step
        beside = others(plan)
        if beside is not None:
            figures["others"] = profile(beside, beside.title, plan, style)
        for number in paper.NUMBERS[2:]:
            task = paper.entries(number)[0].task
            if not plan.runs or any(task in run.results for run in plan.runs):
                figures[f"table{number}_profile"] = profile(breakdown(number, plan), _own_title(number), plan, style)
        return [path for name, figure in figures.items() for path in save(figure, out, name)]


def bars(plan: Plan, style: Style = SCREEN) -> Figure:
    """Table 2: one panel a column, one bar a model; runs with their 95 % intervals."""
    from matplotlib.figure import Figure

    series = [paper_series("2", model) for model in paper.models("2")] + [arm_series(arm) for arm in plan.arms]
    rows, columns = (3, 4) if style.width > NARROW else (4, 3)
    line = 0.19 * style.size(7) / 7
    figure = Figure(figsize=(style.width, 1.4 + rows * (0.7 + line * len(series))), layout="constrained")
    for axis, entry in zip(figure.subplots(rows, columns, sharey=True).flat, paper.entries("main"), strict=True):
        _bar_panel(axis, entry, series, style)
    _title(figure, "AKI-4B among its peers (paper, Table 2)", plan, style)
    return figure


def _bar_panel(axis: Any, entry: PaperLine, series: list[Series], style: Style) -> None:
    runs = [each for each in series if each.kind == "run"]
    for place, each in enumerate(series):
        cell = each.cell(entry)
        if cell.value is None:
            continue
        spread = None if cell.ci95 is None else [[cell.value - cell.ci95[0]], [cell.ci95[1] - cell.value]]
        axis.barh(place, cell.value, color=_colour(each, runs), xerr=spread, ecolor=INK, capsize=2, height=0.75)
        axis.text(
            0,
            place,
            f" {cell.number}",
            va="center",
            fontsize=style.size(6.5),
            color=INK if _colour(each, runs) == PEER else "white",
        )
    axis.set_yticks(range(len(series)), [each.label for each in series], fontsize=style.size(7), parse_math=False)
    axis.tick_params(axis="x", labelsize=style.size(7))
    axis.set_title(entry.label.replace("_", " "), fontsize=style.size(9))
    axis.set_ylim(len(series) - 0.4, -0.6)
    axis.spines[["top", "right"]].set_visible(False)


def _colour(series: Series, runs: list[Series]) -> str:
    if series in runs:
        return RUN_COLOURS[runs.index(series) % len(RUN_COLOURS)]
    return REFERENCE if series.key == "aki_4b" else PEER


def radar(plan: Plan, style: Style = SCREEN) -> Figure:
    """The twelve columns as spokes, each from 0 to the most that can be had; the paper's reference row is dashed."""
    from matplotlib.figure import Figure

    rows = overview(plan).rows
    width = min(7.0, style.width)
    figure = Figure(figsize=(width, width + 0.6), layout="constrained")
    axis: Any = figure.add_subplot(projection="polar")
    angles = [2 * pi * place / len(rows) for place in range(len(rows))]
    axis.set_xticks(angles, [row.label.replace("_", " ") for row in rows], fontsize=style.size(9))
    axis.tick_params(axis="x", pad=14)
    axis.set_rlim(0, 100)
    axis.tick_params(axis="y", labelsize=style.size(7))
    axis.set_theta_zero_location("N")
    axis.set_theta_direction(-1)
    _spoke_line(axis, angles, [row.reference.at if row.reference else None for row in rows], REFERENCE, "--")
    for place in range(len(plan.arms)):
        values = [next((dot.at for dot in row.dots if dot.run == place), None) for row in rows]
        _spoke_line(axis, angles, values, RUN_COLOURS[place % len(RUN_COLOURS)], "-")
    colours = [RUN_COLOURS[place % len(RUN_COLOURS)] for place in range(len(plan.arms))]
    marks = [(_spoke_look(colour, "-"), arm.label) for colour, arm in zip(colours, plan.arms, strict=True)]
    marks.append((_spoke_look(REFERENCE, "--"), _as_printed(reference_row(plan.reference)[1].label)))
    _legend(figure, [((look,), label) for look, label in marks], style)
    _title(figure, "Twelve columns, per cent of the most possible", plan, style)
    return figure


def _spoke_line(axis: Any, angles: list[float], values: list[float | None], colour: str, style: str) -> None:
    """Closed where every spoke has a number; otherwise the spokes that have one, unconnected gaps left open."""
    drawn = [float("nan") if value is None else value for value in values]
    axis.plot([*angles, angles[0]], [*drawn, drawn[0]], **_spoke_look(colour, style))


def _spoke_look(colour: str, style: str) -> dict[str, Any]:
    return {"linestyle": style, "color": colour, "linewidth": 1.8, "marker": "o", "markersize": 3.5}


def profile(chart: Chart, title: str, plan: Plan, style: Style = SCREEN) -> Figure:
    """Rows of dots with intervals, the paper's reference row as diamonds."""
    from matplotlib.figure import Figure

    height = 0.28 * style.size(8) / 8
    figure = Figure(figsize=(min(8.0, style.width), 1.3 + height * len(chart.rows)), layout="constrained")
    axis = figure.add_subplot()
    for place, row in enumerate(chart.rows):
        _profile_row(axis, place, row, len(plan.arms))
    labels = [f"{row.label} {row.scale}".strip() for row in chart.rows]
    axis.set_yticks(range(len(chart.rows)), labels, fontsize=style.size(8), parse_math=False)
    axis.set_ylim(len(chart.rows) - 0.4, -0.6)
    axis.set_xlim(-2, 102)
    axis.set_xlabel("per cent of the most possible", fontsize=style.size(8))
    axis.tick_params(axis="x", labelsize=style.size(8))
    axis.grid(axis="x", color="#e5ded6")
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)
    marks: list[tuple[Looks, str]] = [
        ((_interval_look(place), _dot_look(place)), arm.label) for place, arm in enumerate(plan.arms)
    ]
    if any(dot.seed_low is not None for row in chart.rows for dot in row.dots):
        marks.append(((_seeds_look(0),), "for other seeds"))
    if chart.reference:
        marks.append(((DIAMOND,), _as_printed(chart.reference)))
    if any(row.others for row in chart.rows):
        marks.append(((TICK,), "other rows of the paper"))
    _legend(figure, marks, style)
    _title(figure, title, plan, style)
    return figure


Looks = tuple[dict[str, Any], ...]
"""Arguments of `axis.plot`, one for each mark on top of another: the legend draws with what the figure draws."""
TICK: dict[str, Any] = {"linestyle": "", "marker": "|", "color": PEER, "markersize": 9}
DIAMOND: dict[str, Any] = {
    "linestyle": "",
    "marker": "D",
    "color": "white",
    "markeredgecolor": INK,
    "markersize": 6,
}
MARKERS = "os^vPX"
"""Runs differ by form as well as by colour."""


def _interval_look(run: int) -> dict[str, Any]:
    colour = RUN_COLOURS[run % len(RUN_COLOURS)]
    return {"linestyle": "-", "color": colour, "alpha": 0.4, "linewidth": 3, "solid_capstyle": "round"}


def _seeds_look(run: int) -> dict[str, Any]:
    """For other seeds: thin, with ends."""
    return {"color": RUN_COLOURS[run % len(RUN_COLOURS)], "linewidth": 1, "marker": "|", "markersize": 6}


def _dot_look(run: int) -> dict[str, Any]:
    colour, marker = RUN_COLOURS[run % len(RUN_COLOURS)], MARKERS[run % len(MARKERS)]
    return {"linestyle": "", "marker": marker, "color": colour, "markersize": 5}


def _profile_row(axis: Any, place: int, row: ChartRow, num_runs: int) -> None:
    for tick in row.others:
        axis.plot(tick.at, place, **TICK)
    if row.reference:
        axis.plot(row.reference.at, place, **DIAMOND)
    for dot in row.dots:
        run = dot.run or 0
        y = place + 0.22 * (run - (num_runs - 1) / 2)
        if dot.low is not None and dot.high is not None:
            axis.plot([dot.low, dot.high], [y, y], **_interval_look(run))
        if dot.seed_low is not None and dot.seed_high is not None:
            axis.plot([dot.seed_low, dot.seed_high], [y, y], **_seeds_look(run))
        axis.plot(dot.at, y, **_dot_look(run))


def _own_title(number: str) -> str:
    """`MME by subtask (paper, Table 7)`: a caption's own `Figure 3:` comes before it."""
    table, _, rest = TITLES[number].partition(". ")
    return f"{rest} (paper, {table})"


def _as_printed(label: str) -> str:
    return f"{label}, as printed"


def _legend(figure: Figure, marks: Sequence[tuple[Looks, str]], style: Style) -> None:
    from matplotlib.legend_handler import HandlerTuple
    from matplotlib.lines import Line2D

    handles = [tuple(Line2D([], [], **look) for look in looks) for looks, _ in marks]
    legend = figure.legend(
        handles=handles,
        labels=[label for _, label in marks],
        handler_map={tuple: HandlerTuple(ndivide=1)},
        loc="outside lower center",
        ncols=min(4 if style.width > NARROW else 2, len(marks)),
        fontsize=style.size(8),
        frameon=False,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _title(figure: Figure, title: str, plan: Plan, style: Style) -> None:
    """With what must be read before the numbers, so that it travels with the picture."""
    lines = [title] if style.titled else []
    lines += [_wrapped(notice) for notice in for_figure(plan.runs)]
    if lines:
        figure.suptitle("\n".join(lines), fontsize=style.size(10), parse_math=False)


def _wrapped(text: str) -> str:
    from textwrap import fill

    return fill(text, 72)
