"""Checkpoints of one training over its steps: which is best, as far as is known.

Runs whose folders end on a number behind `step` or `checkpoint` (`step-500`, `checkpoint-500`) are taken for one
training's. The highest value is the best; every other step is compared with it, question by question, and Holm's
correction is over the steps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

from benchmarks.estimates import ALPHA
from benchmarks.paired_tests import holm
from benchmarks.results.comparison import MetricComparison, compare
from benchmarks.results.folder import RunFolder
from benchmarks.tasks import headline_labels

from .series import run_cell
from .tables import Cell

STEP = re.compile(r"(?:^|.*\D)(?:step|checkpoint)[-_]?(\d+)", re.IGNORECASE)
FEWEST = 3
"""Runs from which on it is a curve and not a pair."""


@dataclass(frozen=True)
class Curve:
    """One column over the steps. `best` is the step of the highest value, `equal` those that cannot be told from it."""

    label: str
    cells: tuple[Cell, ...]
    best: int | None
    equal: tuple[int, ...]


def step_of(run: RunFolder) -> int | None:
    """Of the training that the run's folder names; None where it names none."""
    found = STEP.fullmatch(run.path.resolve().name)
    return int(found[1]) if found else None


def in_steps(runs: Sequence[RunFolder]) -> list[tuple[int, RunFolder]]:
    """The runs by step, if all of them are one training's; else none."""
    steps = [(step, run) for run in runs if (step := step_of(run)) is not None]
    distinct = len({step for step, _ in steps}) == len(runs) >= FEWEST
    return sorted(steps, key=lambda each: each[0]) if distinct else []


Compared = Callable[[int, int], Mapping[str, MetricComparison]]
"""(another step, the best step) -> the comparison by metric; of no metric where they cannot be compared."""


def curves(steps: Sequence[tuple[int, RunFolder]]) -> list[Curve]:
    """Every column that all steps have."""
    runs = dict(steps)
    found = []
    for task, result in steps[0][1].results.items() if steps else ():
        if all(task in run.results for run in runs.values()):
            compared = cache(partial(_compared, runs, task))  # a task's columns often have the same best step
            labels = headline_labels(result.about)
            found += [_curve(runs, task, metric, label, compared) for metric, label in labels.items()]
    return found


def _compared(runs: Mapping[int, RunFolder], task: str, other: int, best: int) -> dict[str, MetricComparison]:
    return compare(runs[other], runs[best], different="leave_out", tasks=[task]).of_task(task)


def _curve(runs: Mapping[int, RunFolder], task: str, metric: str, label: str, compared: Compared) -> Curve:
    cells = tuple(run_cell(run.results[task], metric) for run in runs.values())
    known = [(cell.value, step) for step, cell in zip(runs, cells, strict=True) if cell.value is not None]
    if not known:
        return Curve(label, cells, None, ())
    best = next(step for value, step in known if value == max(each[0] for each in known))
    others = [step for _, step in known if step != best]
    tests = [compared(other, best).get(metric) for other in others]
    holms = holm([test.p if test else None for test in tests])
    equal = tuple(step for step, p in zip(others, holms, strict=True) if p is None or p >= ALPHA)
    return Curve(label, cells, best, equal)
