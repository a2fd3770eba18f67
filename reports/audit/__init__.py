"""Recomputes the arithmetic behind the paper's printed numbers and lists what does not add up.

Only the printed cells go in, with the public question counts of the benchmarks (`num_questions` in rows.csv). A cell of
a percentage over n questions is *attainable* when some whole number of right answers prints as that cell.
"""

from __future__ import annotations

from .. import paper
from ..tables import Cell, Column, Row, Table
from .arithmetic import Finding
from .gains import average_gain, headline_and_appendix, improvements, peers_with_equal_cells, wins
from .parts import (
    attainable_cells,
    cv_bench_means,
    llava_weights,
    mathvista_tasks,
    mmbench_weights,
    mme_sums,
    seed_weights,
)
from .pope import pope_f1
from .splits import mmmu_disciplines, mmmu_splits

__all__ = ["Finding", "audit_table", "findings", "third_version"]


HEADINGS = ("Model", "Check", "Printed", "Recomputed", "Verdict")


THIRD_VERSION = (
    "From a public listing of benchmark results; no table of the third version was at hand to confirm it.",
    "Its abstract claims +6.2% on average over three language models, where the first version says +7.2%.",
)


def findings() -> list[Finding]:
    """Every check, agreeing or not, in the order of the tables."""
    checks = (
        headline_and_appendix,
        improvements,
        average_gain,
        wins,
        peers_with_equal_cells,
        mme_sums,
        mmbench_weights,
        seed_weights,
        llava_weights,
        mmmu_splits,
        mmmu_disciplines,
        mathvista_tasks,
        pope_f1,
        cv_bench_means,
        attainable_cells,
    )
    return [finding for check in checks for finding in check()]


def audit_table(everything: bool = False) -> Table:
    """The findings as a table; without `everything` only those that do not agree."""
    found = findings()
    shown = [finding for finding in found if everything or finding.verdict != "agrees"]
    labels = {each.model: each.label for table in ("2", "1", "appendix") for each in paper.models(table)}
    agreeing = sum(finding.verdict == "agrees" for finding in found)
    return Table(
        key="audit",
        title="Audit of the printed numbers",
        corner="Where",
        columns=tuple(Column(label=label, text=True) for label in HEADINGS),
        rows=tuple(_row(finding, labels[finding.model]) for finding in shown),
        remarks=(f"{len(found)} checks, {agreeing} agree. Question counts are the public ones of each benchmark.",),
    )


def _row(finding: Finding, model: str) -> Row:
    texts = (model, finding.check, finding.printed, finding.recomputed, finding.verdict)
    return Row(label=f"Table {finding.table}", cells=tuple(Cell(text=text) for text in texts))


def _verdict(cell: paper.PaperValue, counterpart: paper.PaperValue | None) -> str:
    if cell.value is None:
        return "not shown"
    if counterpart is None:
        return "no counterpart"
    return "same" if cell.printed == counterpart.printed else "differs"


def third_version() -> Table:
    """What a public listing shows for the paper's third version, beside the first. Never a reference in any table."""
    first = paper.by_metric("2", "aki_4b")
    rows = []
    for cell in paper.listing_v3():
        counterpart = first.get((cell.task, cell.metric)) if cell.table == "listing" else None
        texts = (cell.printed, counterpart.printed if counterpart else "", _verdict(cell, counterpart), cell.note)
        rows.append(Row(label=f"{cell.task} {cell.metric}", cells=tuple(Cell(text=text) for text in texts)))
    return Table(
        key="third_version",
        title="The paper's third version, unverified",
        corner="Metric",
        columns=tuple(Column(label=label, text=True) for label in ("Listed", "First version", "Verdict", "Remark")),
        rows=tuple(rows),
        remarks=THIRD_VERSION,
    )
