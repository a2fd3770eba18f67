"""How the numbers of many runs went, in the order in which the runs were begun: a panel for each of the columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.results.folder import RunFolder
from benchmarks.tasks import COLUMNS

from ..chart_data import LARGEST
from ..series import run_cell
from ..tables import Cell

FEWEST = 3
"""Runs from which on there is a history to be seen."""
WIDTH, HEIGHT, EDGE = 240.0, 110.0, 12.0


@dataclass(frozen=True)
class Point:
    """Where a run's value lies in a panel, in its units; `low` and `high` end its interval."""

    run: int
    label: str
    x: float
    y: float
    low: float | None
    high: float | None
    text: str
    cell: Cell


@dataclass(frozen=True)
class Panel:
    """One column of the paper over the runs. `bottom` and `top` are the values at the panel's ends."""

    label: str
    points: tuple[Point, ...]
    bottom: str
    top: str
    missing: tuple[str, ...]

    @property
    def path(self) -> str:
        return " ".join(f"{point.x:g},{point.y:g}" for point in self.points)

    @property
    def description(self) -> str:
        parts = [f"{point.label} {point.text}" for point in self.points]
        return f"{self.label}: " + "; ".join([*parts, *(f"{label} not measured" for label in self.missing)])


def history(runs: Sequence[RunFolder]) -> list[Panel]:
    """A panel for each column that at least two of the runs measured; none for fewer than three runs."""
    if len(runs) < FEWEST:
        return []
    begun = [run.record.created if run.record else "" for run in runs]
    order = sorted(range(len(runs)), key=begun.__getitem__)
    panels = []
    for column in COLUMNS:
        cells = [
            (place, replace(run_cell(runs[place].results[column.task], column.metric), run=runs[place].label))
            for place in order
            if column.task in runs[place].results
        ]
        known = [(place, cell) for place, cell in cells if cell.value is not None]
        if len(known) > 1:
            panels.append(_panel(column.label, LARGEST.get(column.metric, 100.0), order, known, runs))
    return panels


def _panel(
    label: str, largest: float, order: Sequence[int], known: Sequence[tuple[int, Cell]], runs: Sequence[RunFolder]
) -> Panel:
    ends = [end for _, cell in known for end in (cell.ci95 or (cell.value or 0.0,))]
    low, high = min(ends), max(ends)
    margin = max(0.05 * (high - low), 0.005 * largest)
    low, high = low - margin, high + margin

    def at(value: float) -> float:
        return round(HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * (value - low) / (high - low), 1)

    step = (WIDTH - 2 * EDGE) / max(1, len(order) - 1)
    points = [
        Point(
            run=place,
            label=runs[place].label,
            x=round(EDGE + step * order.index(place), 1),
            y=at(cell.value or 0.0),
            low=at(cell.ci95[0]) if cell.ci95 else None,
            high=at(cell.ci95[1]) if cell.ci95 else None,
            text=f"{cell.number} {cell.interval}".strip(),
            cell=cell,
        )
        for place, cell in known
    ]
    missing = tuple(runs[place].label for place in order if place not in {own for own, _ in known})
    return Panel(label, tuple(points), f"{low:.0f}", f"{high:.0f}", missing)
