"""Table 13: F1 against precision and recall, and the row that is printed one column too early."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from .. import paper
from ..paper import PaperValue
from .arithmetic import APPENDIX, Finding, near

POSITIVES = 1500
"""Questions of each split whose answer is yes; as many say no."""

Cells = dict[tuple[str, str], PaperValue]


def pope_f1() -> Iterator[Finding]:
    """F1 follows from precision and recall in every row, within the rounding of the two."""
    for model in APPENDIX:
        cells = paper.by_metric("13", model)
        for split, group in groupby(paper.entries("13"), key=lambda entry: entry.section):
            texts = {entry.label: cells["pope", entry.metric].printed for entry in group}
            f1 = _f1(float(texts["Precision"]), float(texts["Recall"]))
            shifted = "; " + _shifted_row(cells, texts["Overall"]) if texts["Accuracy"] == texts["Overall"] else ""
            yield Finding(
                "13",
                model,
                f"{split}: F1 of precision and recall",
                texts["Overall"],
                f"{f1:.1f}{shifted}",
                near(f1, float(texts["Overall"]), 0.15),
            )


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall)


def _shifted_row(cells: Cells, f1: str) -> str:
    """What the popular row really said, from its F1, the pooled row and the other two splits.

    All splits share their positives, so recall fixes the true positives; precision then gives the false positives of
    the pooled row and of two splits, and their difference those of the third.
    """
    true = round(float(cells["pope", "recall"].printed) * POSITIVES / 100)
    pooled = _false_positives(cells["pope", "precision"].printed, 3 * true)
    adversarial = _false_positives(cells["pope", "adversarial/precision"].printed, true)
    random = _false_positives(cells["pope", "random/precision"].printed, true)
    counts = {three - one - other for three in pooled for one in adversarial for other in random}
    recall = 100 * true / POSITIVES
    fitting = [count for count in counts if f"{_f1(100 * true / (true + count), recall):.1f}" == f1]
    accuracies = sorted({f"{100 * (true + POSITIVES - count) / (2 * POSITIVES):.1f}" for count in fitting})
    precisions = sorted({f"{100 * true / (true + count):.1f}" for count in fitting})
    return (
        f"the row is shifted by one column: accuracy {' or '.join(accuracies)}, "
        f"precision {' or '.join(precisions)}, F1 {f1}"
    )


def _false_positives(precision: str, true: int) -> list[int]:
    """Counts of wrong yes answers that print as the precision."""
    return [count for count in range(3 * POSITIVES) if f"{100 * true / (true + count):.1f}" == precision]
