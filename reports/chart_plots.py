"""Figures about numbers, through matplotlib: Table 2 as bars and as a radar, and ability profiles."""

from __future__ import annotations

from math import pi
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import paper
from .attention_figures import INK, save
from .chart_data import Chart, ChartRow, breakdown, others, overview
from .notices import notices
from .other_tables import measures_paper
from .paper import PaperLine
from .paper_tables import TITLES, Plan, reference_row
from .series import Series, arm_series, paper_series

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RUN_COLOURS = ("#0b62a8", "#b3500a", "#0a7350", "#8a3a94", "#7a6000", "#b31f4e")
PEER, REFERENCE = "#cfc7be", "#655e57"


def write_figures(plan: Plan, out: Path) -> list[Path]:
    """Every figure that there are numbers for."""
    figures = {"table2_bars": bars(plan), "table2_radar": radar(plan)} if measures_paper(plan.runs) else {}
    beside = others(plan)
    if beside is not None:
        figures["others"] = profile(beside, beside.title, plan)
    for number in paper.NUMBERS[2:]:
        task = paper.entries(number)[0].task
        if not plan.runs or any(task in run.results for run in plan.runs):
            figures[f"table{number}_profile"] = profile(breakdown(number, plan), TITLES[number], plan)
    return [path for name, figure in figures.items() for path in save(figure, out, name)]


def bars(plan: Plan) -> Figure:
    """Table 2: one panel a column, one bar a model; runs with their 95 % intervals."""
    from matplotlib.figure import Figure

    series = [paper_series("2", model) for model in paper.models("2")] + [arm_series(arm) for arm in plan.arms]
    figure = Figure(figsize=(13, 1.4 + 3 * (0.9 + 0.19 * len(series))), layout="constrained")
    for axis, entry in zip(figure.subplots(3, 4, sharey=True).flat, paper.entries("main"), strict=True):
        _bar_panel(axis, entry, series)
    _title(figure, "AKI-4B among its peers (paper, Table 2)", plan)
    return figure


def _bar_panel(axis: Any, entry: PaperLine, series: list[Series]) -> None:
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
            fontsize=6.5,
            color=INK if _colour(each, runs) == PEER else "white",
        )
    axis.set_yticks(range(len(series)), [each.label for each in series], fontsize=7, parse_math=False)
    axis.tick_params(axis="x", labelsize=7)
    axis.set_title(entry.label.replace("_", " "), fontsize=9)
    axis.set_ylim(len(series) - 0.4, -0.6)
    axis.spines[["top", "right"]].set_visible(False)


def _colour(series: Series, runs: list[Series]) -> str:
    if series in runs:
        return RUN_COLOURS[runs.index(series) % len(RUN_COLOURS)]
    return REFERENCE if series.key == "aki_4b" else PEER


def radar(plan: Plan) -> Figure:
    """The twelve columns as spokes, each from 0 to the most that can be had; the paper's reference row is dashed."""
    from matplotlib.figure import Figure

    rows = overview(plan).rows
    figure = Figure(figsize=(7, 7.6), layout="constrained")
    axis: Any = figure.add_subplot(projection="polar")
    angles = [2 * pi * place / len(rows) for place in range(len(rows))]
    axis.set_xticks(angles, [row.label.replace("_", " ") for row in rows], fontsize=9)
    axis.tick_params(axis="x", pad=14)
    axis.set_rlim(0, 100)
    axis.tick_params(axis="y", labelsize=7)
    axis.set_theta_zero_location("N")
    axis.set_theta_direction(-1)
    _spoke_line(axis, angles, [row.reference.at if row.reference else None for row in rows], REFERENCE, "--")
    for place in range(len(plan.arms)):
        values = [next((dot.at for dot in row.dots if dot.run == place), None) for row in rows]
        _spoke_line(axis, angles, values, RUN_COLOURS[place % len(RUN_COLOURS)], "-")
    _run_legend(figure, plan, "--", reference_row(plan.reference)[1].label)
    _title(figure, "Twelve columns, per cent of the most possible", plan)
    return figure


def _spoke_line(axis: Any, angles: list[float], values: list[float | None], colour: str, style: str) -> None:
    """Closed where every spoke has a number; otherwise the spokes that have one, unconnected gaps left open."""
    drawn = [float("nan") if value is None else value for value in values]
    axis.plot([*angles, angles[0]], [*drawn, drawn[0]], style, color=colour, linewidth=1.8, marker="o", markersize=3.5)


def profile(chart: Chart, title: str, plan: Plan) -> Figure:
    """Rows of dots with intervals, the paper's reference row as diamonds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.3 + 0.28 * len(chart.rows)), layout="constrained")
    axis = figure.add_subplot()
    for place, row in enumerate(chart.rows):
        _profile_row(axis, place, row, len(plan.arms))
    labels = [f"{row.label} {row.scale}".strip() for row in chart.rows]
    axis.set_yticks(range(len(chart.rows)), labels, fontsize=8, parse_math=False)
    axis.set_ylim(len(chart.rows) - 0.4, -0.6)
    axis.set_xlim(-2, 102)
    axis.set_xlabel("per cent of the most possible", fontsize=8)
    axis.grid(axis="x", color="#e5ded6")
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)
    _run_legend(figure, plan, "D", chart.reference)
    _title(figure, title, plan)
    return figure


def _profile_row(axis: Any, place: int, row: ChartRow, num_runs: int) -> None:
    for tick in row.others:
        axis.plot(tick.at, place, "|", color=PEER, markersize=9)
    if row.reference:
        axis.plot(row.reference.at, place, "D", color="white", markeredgecolor=INK, markersize=6)
    for dot in row.dots:
        run = dot.run or 0
        y = place + 0.22 * (run - (num_runs - 1) / 2)
        colour = RUN_COLOURS[run % len(RUN_COLOURS)]
        if dot.low is not None and dot.high is not None:
            axis.plot([dot.low, dot.high], [y, y], color=colour, alpha=0.4, linewidth=3, solid_capstyle="round")
        if dot.seed_low is not None and dot.seed_high is not None:  # for other seeds: thin, with ends
            axis.plot([dot.seed_low, dot.seed_high], [y, y], color=colour, linewidth=1, marker="|", markersize=6)
        axis.plot(dot.at, y, "o", color=colour, markersize=5)


def _run_legend(figure: Figure, plan: Plan, reference_style: str, reference: str | None) -> None:
    from matplotlib.lines import Line2D

    colours = [RUN_COLOURS[place % len(RUN_COLOURS)] for place in range(len(plan.arms))]
    lines = [
        Line2D([], [], color=colour, marker="o", label=arm.label)
        for colour, arm in zip(colours, plan.arms, strict=True)
    ]
    if reference:
        dashed = reference_style == "--"
        look: dict[str, Any] = {"linestyle": "--"} if dashed else {"linestyle": "", "marker": reference_style}
        lines.append(Line2D([], [], color=REFERENCE, label=f"{reference}, as printed", **look))
    if lines:
        legend = figure.legend(
            handles=lines, loc="outside lower center", ncols=min(4, len(lines)), fontsize=8, frameon=False
        )
        for text in legend.get_texts():
            text.set_parse_math(False)


def _title(figure: Figure, title: str, plan: Plan) -> None:
    """With what must be read before the numbers, so that it travels with the picture."""
    warnings = "\n".join(_wrapped(notice) for notice in notices(plan.runs))
    figure.suptitle(f"{title}\n{warnings}" if warnings else title, fontsize=10, parse_math=False)


def _wrapped(text: str) -> str:
    from textwrap import fill

    return fill(text, 72)
