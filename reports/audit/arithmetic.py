"""What the checks share: a finding, and the printed numbers to do arithmetic on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .. import paper
from ..paper import PaperValue

Verdict = Literal["agrees", "contradicts", "unattainable", "unlike"]
APPENDIX = ("baseline_it_it", "cca", "dot", "mma", "aki_4b")
"""The models of the per-subtask tables."""
MAIN_TABLE = {**dict.fromkeys(APPENDIX[:4], "1"), "aki_4b": "2"}


@dataclass(frozen=True)
class Finding:
    """One check. `unlike`: the two numbers are measured on different things and must not be compared."""

    table: str
    model: str
    check: str
    printed: str
    recomputed: str
    verdict: Verdict


def printed(table: str, model: str) -> dict[str, float]:
    """Printed numbers of one model in a per-subtask table, by metric."""
    return {metric: float(cell.printed) for (_, metric), cell in paper.by_metric(table, model).items()}


def main_cell(model: str, task: str, metric: str) -> PaperValue | None:
    """A cell of Table 1 or 2, by the metric's column."""
    names = ("val", "dev") if metric in {"val", "dev"} else (metric,)
    found = paper.by_metric(MAIN_TABLE.get(model, "1"), model)
    return next((found[task, name] for name in names if (task, name) in found), None)


def weighted(table: str, values: dict[str, float]) -> float:
    """Mean of a table's parts weighted by their question counts; the total's own line is left out."""
    parts = [entry for entry in paper.entries(table) if entry.metric != "overall" and entry.num_questions]
    sizes = [entry.num_questions or 0 for entry in parts]
    return sum(values[entry.metric] * size for entry, size in zip(parts, sizes, strict=True)) / sum(sizes)


def attainable(text: str, questions: int) -> bool:
    """Whether some k of n questions, in percent, rounds to the printed text."""
    digits = len(text.partition(".")[2])
    half = 0.5 * 10**-digits + 1e-9
    nearest = round(float(text) * questions / 100)
    return any(abs(100 * right / questions - float(text)) <= half for right in (nearest - 1, nearest, nearest + 1))


def near(first: float, second: float, tolerance: float) -> Verdict:
    return "agrees" if abs(first - second) <= tolerance + 1e-9 else "contradicts"


def column_label(key: tuple[str, str]) -> str:
    """How Tables 1 and 2 call a (task, metric)."""
    return next(entry.label for entry in paper.entries("main") if (entry.task, entry.metric) == key)
