"""Benchmarks outside the paper: which runs measured some, and their columns beside the twelve."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.catalogue import in_order
from benchmarks.results.folder import RunFolder
from benchmarks.tasks import TASKS, headline_labels

from .paper import PaperLine

OTHERS = "others"
"""Number and key of their table."""


def measures_paper(runs: Sequence[RunFolder]) -> bool:
    """Whether some run says something about the paper's columns; True without runs, where the paper stands alone."""
    return not runs or any(task in TASKS for run in runs for task in (*run.results, *run.unscored))


def other_tasks(runs: Sequence[RunFolder]) -> list[str]:
    return [task for task in in_order(task for run in runs for task in run.results) if task not in TASKS]


def other_entries(runs: Sequence[RunFolder]) -> tuple[PaperLine, ...]:
    """Their columns, as lines that the paper does not have."""
    found: dict[tuple[str, str], PaperLine] = {}
    for task in other_tasks(runs):
        for run in runs:
            for metric, label in headline_labels(run.results[task].about).items() if task in run.results else ():
                line = PaperLine(table=OTHERS, section="", label=label, task=task, metric=metric, num_questions=None)
                found.setdefault((task, metric), line)
    return tuple(found.values())


def largest_of(entry: PaperLine, runs: Sequence[RunFolder]) -> float | None:
    """The most that a metric can be; None where it has no end."""
    for run in runs:
        result = run.results.get(entry.task)
        if result is not None and result.definition:
            scale = result.definition["scales"].get(entry.metric)
            return None if scale is None else float(scale)
    return None
