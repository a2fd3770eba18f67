"""The page of what image tokens know: a chart for each property over the layers, and a table beside each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.results.arms import Arm
from benchmarks.results.inside import ArmInside, arm_inside

from ..inside_figures import LayerPanel, attention_panels, probe_panels
from ..inside_tables import inside_tables, pair_table

INSIDE_PAGE = "inside.html"
WIDTH, HEIGHT, LEFT, EDGE = 420.0, 200.0, 34.0, 14.0
STYLES = ("6 4", "2 3")


@dataclass(frozen=True)
class Mark:
    """A point in the units of the chart."""

    x: float
    y: float
    low: float
    high: float
    title: str


@dataclass(frozen=True)
class Line:
    """An arm's points; `run` is its number."""

    run: int
    path: str
    marks: list[Mark]


@dataclass(frozen=True)
class Level:
    """A dashed line across the chart."""

    name: str
    y: float
    dashes: str
    text: str


@dataclass(frozen=True)
class Drawn:
    """A panel ready to be drawn; `ticks` are (place, label) pairs of both axes."""

    title: str
    lines: list[Line]
    levels: list[Level]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    description: str


def inside_page(arms: Sequence[Arm], baseline: Arm | None) -> dict[str, Any] | None:
    """What the template is given; None where nobody looked inside any run."""
    places = {place: found for place, arm in enumerate(arms) if (found := arm_inside(arm)) is not None}
    if not places:
        return None
    seen = list(places.values())
    numbers = list(places)
    base = next((found for place, found in places.items() if arms[place] is baseline), seen[0])
    *probes, attention_table = inside_tables(seen)
    charts = [(_drawn(panel, seen, numbers), table) for panel, table in zip(probe_panels(seen), probes, strict=True)]
    attention = [_drawn(panel, seen, numbers) for panel in attention_panels(seen)]
    return {
        "active": "inside",
        "charts": charts,
        "attention": attention,
        "attention_table": attention_table,
        "pairs": pair_table(seen, base),
        "data": sorted({record.data for arm in seen for record in arm.records.values()}),
        "left_out": [arm.label for place, arm in enumerate(arms) if place not in places],
    }


def _drawn(panel: LayerPanel, arms: Sequence[ArmInside], numbers: Sequence[int]) -> Drawn:
    ends = [point.high for points in panel.lines.values() for point in points]
    top = _round_up(max([*ends, *panel.levels.values(), 1e-9]))
    step = (WIDTH - LEFT - EDGE) / max(1, panel.last - panel.first)

    def at(value: float) -> float:
        return round(HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * value / top, 1)

    def over(layer: int) -> float:
        return round(LEFT + step * (layer - panel.first), 1)

    lines, said = [], []
    for place, points in panel.lines.items():
        label = arms[place].label
        marks = [
            Mark(over(p.layer), at(p.value), at(p.low), at(p.high), f"{label}, layer {p.layer}: {p.text}")
            for p in points
        ]
        lines.append(Line(numbers[place], " ".join(f"{mark.x:g},{mark.y:g}" for mark in marks), marks))
        said.append(f"{label} " + ", ".join(f"{point.value:.1f}" for point in points))
    levels = [
        Level(name, at(value), dashes, f"{value:.1f}")
        for (name, value), dashes in zip(panel.levels.items(), STYLES, strict=False)
    ]
    said += [f"{level.name} {level.text}" for level in levels]
    every = max(1, -(-(panel.last - panel.first + 1) // 12))
    return Drawn(
        title=panel.title,
        lines=lines,
        levels=levels,
        x_ticks=[(over(layer), str(layer)) for layer in range(panel.first, panel.last + 1, every)],
        y_ticks=[(at(top * part / 4), f"{top * part / 4:g}") for part in range(5)],
        description=f"{panel.title}, per cent by layer from {panel.first} to {panel.last}: " + "; ".join(said),
    )


def _round_up(value: float) -> float:
    """To an end of the scale whose quarters are short numbers."""
    return next((end for end in (1, 2, 4, 8, 20, 40, 60, 80, 100) if value <= end), 100 * -(-value // 100))
