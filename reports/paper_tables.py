"""Which tables there are and how series stand in them: the paper's own order, labels and orientation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from benchmarks.errors import UserError
from benchmarks.results.folder import RunFolder

from . import paper
from .comparison_tables import metric_table
from .differences import TO_BASELINE, TO_PAPER, Pair, gain_in_paper, mean_gain, to_paper
from .notices import missing_tasks, notices
from .paper import PaperLine, PaperModel
from .series import Series, other_readings, paper_series, run_series
from .tables import Cell, Column, Row, Table

TITLES = {
    "1": "Table 1. One training recipe, eight ways to order and mask",
    "2": "Table 2. AKI-4B among its peers",
    "7": "Table 7. MME by subtask (points, 0 to 200 each)",
    "8": "Table 8. MMBench by ability",
    "9": "Table 9. SEED-Bench images by dimension",
    "10": "Table 10. LLaVA-Bench by kind of question",
    "11": "Table 11. MMMU by subject and discipline",
    "12": "Table 12. MathVista by skill and task",
    "13": "Table 13. POPE by split",
    "14": "Table 14. MM-Vet by capability",
    "15": "Table 15. CV-Bench by source",
}
ACROSS = {"7": "Subtask", "9": "Dimension", "11": "Subject", "12": "Skill or task"}
"""Tables whose columns are models, with the heading of their first column; in the others models are rows."""

INTERVALS = (
    "± is half the width of the 95 % interval, n the number of scored samples (of MMBench: of questions, each asked "
    "once for every rotation of its options); the paper prints neither."
)
MARKS = (
    "† and * stand as printed; the caption that explains them is not at hand. From their use: † taken from that "
    "model's own paper, * measured by the authors."
)
PAPERS_MEAN = (
    "The paper's own +7.2% is the mean of the 11 printed gains, without RealWorldQA and with MMMU's two splits mixed; "
    "`aki-eval report --audit` recomputes it."
)
POPE_REMARK = (
    "Overall is the F1 of yes. Pooled over the three splits (the last row of each model) it is the POPE column of "
    "Tables 1 and 2."
)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What all arrangements of a table share."""

    number: str
    entries: tuple[PaperLine, ...]
    notices: tuple[str, ...]
    remarks: tuple[str, ...] = (INTERVALS,)

    def table(self, corner: str, columns: Sequence[Column], rows: Sequence[Row]) -> Table:
        return Table(
            key=f"table{self.number}",
            title=TITLES[self.number],
            corner=corner,
            columns=tuple(columns),
            rows=tuple(rows),
            notices=self.notices,
            remarks=self.remarks,
        )


@dataclass(frozen=True)
class Plan:
    """What is set side by side: runs, the run they are compared with (the first, if not said), and the paper's row."""

    runs: tuple[RunFolder, ...]
    baseline: RunFolder | None = None
    reference: str = "aki_4b"

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Every other run with the baseline."""
        baseline = self.baseline or (self.runs[0] if self.runs else None)
        return tuple(Pair(run, baseline) for run in self.runs if baseline is not None and run is not baseline)

    def pair(self, run: RunFolder) -> Pair | None:
        return next((pair for pair in self.pairs if pair.run is run), None)


def all_tables(plan: Plan) -> list[Table]:
    """Tables 1, 2 and 7 to 15 with the runs beside the paper's rows, and the runs beside each other.

    Of the per-subtask tables, those that some run has numbers for; without runs, all of them.
    """
    tables = [main_table(number, plan) for number in ("1", "2")] + pair_tables(plan)
    for number in paper.NUMBERS[2:]:
        task = paper.entries(number)[0].task
        if not plan.runs or any(task in run.results for run in plan.runs):
            tables.append(subtask_table(number, plan))
    return tables


def pair_tables(plan: Plan) -> list[Table]:
    """Each run against the baseline in the paper's columns, with p-values, tests and power."""
    tables = []
    for place, pair in enumerate(plan.pairs, start=1):
        table = metric_table(pair.comparison, pair.comparison.columns, key=f"differences{place}")
        tables.append(replace(table, title=f"Differences between runs. {table.title}", notices=notices(plan.runs)))
    return tables


def main_table(number: str, plan: Plan) -> Table:
    """Table 1 or 2: the twelve columns, the paper's rows, AKI-4B, then the runs, each with its differences."""
    entries = paper.entries("main")
    series = [paper_series(number, model) for model in paper.models(number)]
    closing: tuple[str, ...] = (MARKS,)
    if number == "1":
        gain = gain_in_paper(paper.model("1", "mma"), paper.model("1", "cca"))
        longer = paper_series("2", paper.model("2", "aki_4b"), section="Longer training (from Table 2)")
        series += [gain, longer]
        closing = (mean_gain(gain, entries), PAPERS_MEAN)
    for run in plan.runs:
        series += [run_series(run), *other_readings(run, entries)]
        if not run.toy:
            series.append(to_paper(run, *reference_row(plan.reference)))
        series += [pair.series(entries) for pair in plan.pairs if pair.run is run]
    remarks = (*missing_tasks(plan.runs), *_remarks(series), *closing)
    return down(Frame(number=number, entries=entries, notices=notices(plan.runs), remarks=remarks), series)


def reference_row(key: str) -> tuple[str, PaperModel]:
    """(table, row) of the paper's model with which runs are compared.

    Raises:
        UserError: no such row.
    """
    rows = {each.model: (table, each) for table in ("1", "2") for each in paper.models(table)}
    if key not in rows:
        raise UserError(f"--reference {key!r} is no row of Tables 1 and 2; choose from {', '.join(rows)}")
    return rows[key]


def subtask_table(number: str, plan: Plan) -> Table:
    """One of Tables 7 to 15: the paper's rows, then the runs under every protocol that says something else.

    Differences are to the baseline, and to the paper where it prints the same breakdown for the reference row.
    """
    entries = paper.entries(number)
    series = [paper_series(number, model) for model in paper.models("appendix")]
    for run in plan.runs:
        series += _run_series(entries, run) + _differences(number, entries, run, plan)
    frame = Frame(number=number, entries=entries, notices=notices(plan.runs), remarks=_remarks(series))
    if number == "13":
        return split_rows(frame, series)
    return across(frame, series) if number in ACROSS else down(frame, series)


def _run_series(entries: Sequence[PaperLine], run: RunFolder) -> list[Series]:
    result = run.results.get(entries[0].task)
    if result is None:
        return []
    if result.task != "mmmu":
        return [run_series(run), *other_readings(run, entries)]
    series = []
    for split in ("val", "dev"):
        suffix = f" ({split})"
        series.append(run_series(run, split=split, suffix=suffix))
        series += other_readings(run, entries, split=split, suffix=suffix)
    return series


def _differences(number: str, entries: Sequence[PaperLine], run: RunFolder, plan: Plan) -> list[Series]:
    if entries[0].task not in run.results:
        return []
    rows = {model.model: model for model in paper.models("appendix")}
    pair = plan.pair(run)
    series = []
    if not run.toy and plan.reference in rows:
        series.append(to_paper(run, number, rows[plan.reference]))
    if pair and entries[0].task in pair.baseline.results:
        splits = ("val", "dev") if entries[0].task == "mmmu" else ("val",)
        series += [pair.series(entries, split) for split in splits]
    return series


def _remarks(series: Sequence[Series]) -> tuple[str, ...]:
    """How to read what is in the table, and only that."""
    differences = [each for each in series if each.kind == "difference"]
    lines = [INTERVALS]
    if any(each.comparator == "paper" for each in differences):
        lines.append(TO_PAPER)
    if any(each.comparator == "run" for each in differences):
        lines.append(TO_BASELINE)
    return tuple(lines)


def down(frame: Frame, series: Sequence[Series]) -> Table:
    """Models as rows."""
    columns = [Column(label=entry.label, section=entry.section) for entry in frame.entries]
    return frame.table("Model", columns, [_row(each, frame.entries) for each in series])


def _row(series: Series, entries: Sequence[PaperLine]) -> Row:
    cells = tuple(series.cell(entry) for entry in entries)
    return Row(label=series.label, cells=cells, section=series.section, kind=series.kind, notes=series.notes)


def across(frame: Frame, series: Sequence[Series]) -> Table:
    """Models as columns."""
    columns = [Column(label=each.label, kind=each.kind, notes=each.notes) for each in series]
    rows = [
        Row(label=entry.label, section=entry.section, cells=tuple(each.cell(entry) for each in series))
        for entry in frame.entries
    ]
    return frame.table(ACROSS[frame.number], columns, rows)


def split_rows(frame: Frame, series: Sequence[Series]) -> Table:
    """Table 13: one row for each model and split, accuracy to F1 as columns."""
    splits = list(dict.fromkeys(entry.section for entry in frame.entries))
    labels = list(dict.fromkeys(entry.label for entry in frame.entries))
    rows = []
    for each in series:
        for split in splits:
            numbers = _row(each, [entry for entry in frame.entries if entry.section == split])
            cells = (Cell(text=split), *numbers.cells)
            rows.append(Row(label=each.label, cells=cells, kind=each.kind, notes=each.notes))
    frame = replace(frame, remarks=(*frame.remarks, POPE_REMARK))
    return frame.table("Model", [Column(label="Split", text=True), *(Column(label=label) for label in labels)], rows)
