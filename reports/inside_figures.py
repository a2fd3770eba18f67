"""What image tokens know, as figures: a line for each arm over the layers. `inside_tables` has the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.arms import ArmEstimate, arm_estimate
from benchmarks.results.inside import ArmInside, Looked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0b62a8", "#b3500a", "#0a7350", "#8a3a94", "#7a6000", "#b31f4e")
MARKERS = "os^vPX"


@dataclass(frozen=True)
class LinePoint:
    """`low` and `high` end the 95 % interval by pictures."""

    layer: int
    value: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class LayerPanel:
    """`lines`: an arm's points by its number. `levels`: what is known without the image tokens, by name."""

    title: str
    lines: dict[int, list[LinePoint]]
    levels: dict[str, float]
    first: int
    last: int
    """Of any arm's layers."""


def _point(layer: int, found: ArmEstimate) -> LinePoint | None:
    value = found.mean.value
    if value is None:
        return None
    low, high = found.question_interval or (value, value)
    return LinePoint(layer, value, low, high, f"{value:.1f} ({low:.1f} to {high:.1f})")


def probe_panels(arms: Sequence[ArmInside]) -> list[LayerPanel]:
    """A panel for each property of the first arm."""
    panels = []
    for name in [each.name for each in arms[0].first.properties]:
        own = {place: arm for place, arm in enumerate(arms) if any(each.name == name for each in arm.first.properties)}
        lines = {
            place: [
                point
                for layer in range(len(arm.first.layers) + 1)
                if (point := _point(layer, arm_estimate(arm.accuracy(name, layer))))
            ]
            for place, arm in own.items()
        }
        levels = {
            "picture alone": arms[0].picture_alone(name).value or 0.0,
            "words alone": arms[0].words_alone(name).value or 0.0,
        }
        panels.append(LayerPanel(f"{name} of the object asked about", lines, levels, 0, _last(arms)))
    return panels


def attention_panels(arms: Sequence[ArmInside]) -> list[LayerPanel]:
    """How much image tokens attend to the question, and how far it moves them."""
    titles: dict[Looked, str] = {
        "image_to_question": "image tokens' attention to the question",
        "change": "change of image tokens by another question",
    }
    panels = []
    for what, title in titles.items():
        lines = {
            place: [
                point
                for layer in range(1, len(arm.first.layers) + 1)
                if (point := _point(layer, arm.number(what, layer)))
            ]
            for place, arm in enumerate(arms)
        }
        panels.append(LayerPanel(title, lines, {}, 1, _last(arms)))
    return panels


def _last(arms: Sequence[ArmInside]) -> int:
    return max(len(arm.first.layers) for arm in arms)


def probe_figure(arms: Sequence[ArmInside]) -> Figure:
    return _figure(probe_panels(arms), arms, "per cent right")


def attention_figure(arms: Sequence[ArmInside]) -> Figure:
    return _figure(attention_panels(arms), arms, "per cent")


def _figure(panels: Sequence[LayerPanel], arms: Sequence[ArmInside], unit: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(panels), 3.2 + 0.18 * len(arms)), layout="constrained")
    for axis, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for place, points in panel.lines.items():
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
            layers = [point.layer for point in points]
            axis.plot(layers, [point.value for point in points], marker=marker, color=colour, label=arms[place].label)
            for point in points:
                axis.plot([point.layer] * 2, [point.low, point.high], color=colour, alpha=0.4, linewidth=3)
        for (name, level), style in zip(panel.levels.items(), ("--", ":"), strict=False):
            axis.axhline(level, color="#655e57", linestyle=style, linewidth=1.2, label=name)
        axis.set_title(panel.title, fontsize=9)
        axis.set_xlabel("layer", fontsize=8)
        axis.set_ylabel(unit, fontsize=8)
        axis.tick_params(labelsize=8)
        if panel.last < 13:
            axis.set_xticks(range(panel.first, panel.last + 1))
        axis.set_ylim(bottom=0)
        axis.grid(visible=True, color="#e5ded6")
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=7, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure
