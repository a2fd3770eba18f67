"""The page of probes: of each run its tables, a picture of every column, and what is right without the picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.results.comparison import MetricComparison
from benchmarks.results.folder import RunFolder
from benchmarks.results.looking import PICTURE, ColumnLooks, Looks
from benchmarks.tasks import TASKS

from ..chart_data import LARGEST, Dot
from ..links import samples_link
from ..probe_tables import looks_of, probe_tables

LISTED = 60
"""Questions of a task that are linked; the sample browser has the others."""

PROBES_PAGE = "probes.html"


def probes_page(runs: Sequence[RunFolder]) -> dict[str, Any] | None:
    """What the template is given; None where no run has probes."""
    found = looks_of(runs)
    if not found:
        return None
    return {"active": "probes", "parts_of_runs": [_of_run(each, place) for place, each in enumerate(found)]}


def _of_run(found: Looks, place: int) -> dict[str, Any]:
    return {
        "run": found.run,
        "tables": probe_tables(found, f"probes{place}"),
        "columns": [(column.label, _scale(column), list(_dots(column))) for column in found.columns],
        "blind": [_questions(found, task) for task in found.blind if found.blind[task]],
    }


def _scale(column: ColumnLooks) -> float:
    return LARGEST.get(column.metric, 100.0)


def _dots(column: ColumnLooks) -> Iterator[Dot]:
    """The plain score, the score without the picture, then every other probe and the orders of the options."""
    largest = _scale(column)
    gain, orders = column.gain, column.consistency
    plain = next(iter(column.effects.values()), None)
    if gain is not None:
        yield _dot("with the picture", gain, "b", largest, highlight=True)
        yield _dot("without it", gain, "a", largest)
    elif plain is not None:
        yield _dot("plainly", plain, "a", largest, highlight=True)
    for name, effect in column.effects.items():
        yield _dot(name, effect, "b", largest)
    if orders is not None:
        yield _dot("mean of all orders", orders, "a", largest)
        yield _dot("right in all orders", orders, "b", largest)


def _dot(label: str, comparison: MetricComparison, side: Any, largest: float, *, highlight: bool = False) -> Dot:
    value = comparison.a if side == "a" else comparison.b
    interval = comparison.ci95_of(side)
    low, high = (None, None) if interval is None else (_at(end, largest) for end in interval)
    text = "–" if value is None else f"{value:.1f}"
    return Dot(label=label, text=text, at=_at(value or 0.0, largest), low=low, high=high, highlight=highlight)


def _at(value: float, largest: float) -> float:
    return min(100.0, max(0.0, 100 * value / largest))


def _questions(found: Looks, task: str) -> dict[str, Any]:
    indices = found.blind[task]
    return {
        "title": TASKS[task].title if task in TASKS else task,
        "num": len(indices),
        "of": found.num_questions[task],
        "links": [(index, samples_link(task, a=found.run, id=index)) for index in indices[:LISTED]],
        "more": max(0, len(indices) - LISTED),
        "probe": PICTURE,
    }
