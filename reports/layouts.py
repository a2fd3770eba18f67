"""Which tables there are and how series stand in them: the paper's own order, labels and orientation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import paper
from .paper import Entry
from .run_folder import RunFolder
from .series import Series, paper_series, run_series
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

TOY_NOTICE = (
    "Toy world: {labels} answered generated miniature benchmarks. These numbers are not comparable with the paper's "
    "or with any run on the real benchmarks."
)
INTERVALS = "± is half the width of the 95 % interval, n the number of scored samples; the paper prints neither."
MARKS = (
    "† and * stand as printed; the caption that explains them is not at hand. From their use: † taken from that "
    "model's own paper, * measured by the authors."
)
POPE_REMARK = (
    "Overall is the F1 of yes. Pooled over the three splits (the last row of each model) it is the POPE column of "
    "Tables 1 and 2."
)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What all arrangements of a table share."""

    number: str
    entries: tuple[Entry, ...]
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


def all_tables(runs: Sequence[RunFolder]) -> list[Table]:
    """Tables 1, 2 and 7 to 15 with the runs beside the paper's rows.

    Of the per-subtask tables, those that some run has numbers for; without runs, all of them.
    """
    tables = [main_table(number, runs) for number in ("1", "2")]
    for number in paper.NUMBERS[2:]:
        task = paper.entries(number)[0].task
        if not runs or any(task in run.results for run in runs):
            tables.append(subtask_table(number, runs))
    return tables


def main_table(number: str, runs: Sequence[RunFolder]) -> Table:
    """Table 1 or 2: the twelve columns, the paper's rows, AKI-4B, then the runs."""
    series = [paper_series(number, model) for model in paper.models(number)]
    if number == "1":
        series.append(paper_series("2", paper.model("2", "aki_4b"), section="Longer training (from Table 2)"))
    series += [run_series(run) for run in runs]
    remarks = (INTERVALS, MARKS) if number == "2" else (INTERVALS,)
    return down(Frame(number=number, entries=paper.entries("main"), notices=notices(runs), remarks=remarks), series)


def subtask_table(number: str, runs: Sequence[RunFolder]) -> Table:
    """One of Tables 7 to 15, with a series for each protocol of a run whose numbers differ from its headline's."""
    entries = paper.entries(number)
    series = [paper_series(number, model) for model in paper.models("appendix")]
    for run in runs:
        series += _run_series(entries, run)
    frame = Frame(number=number, entries=entries, notices=notices(runs))
    if number == "13":
        return split_rows(frame, series)
    return across(frame, series) if number in ACROSS else down(frame, series)


def _run_series(entries: Sequence[Entry], run: RunFolder) -> list[Series]:
    result = run.results.get(entries[0].task)
    if result is None:
        return []
    if result.task == "mmmu":
        return [run_series(run, split=split, suffix=f" ({split})") for split in ("val", "dev")]
    headline = run_series(run)
    series = [headline]
    for protocol in result.protocols:
        other = run_series(run, protocol=protocol, suffix=f" · {protocol}")
        if any(other.cell(entry).value != headline.cell(entry).value for entry in entries):
            series.append(other)
    return series


def notices(runs: Sequence[RunFolder]) -> tuple[str, ...]:
    """What must be read before any number."""
    toy = [run.label for run in runs if run.toy]
    lines = [TOY_NOTICE.format(labels=", ".join(toy))] if toy else []
    for run in runs:
        if run.unscored:
            names = ", ".join(run.unscored)
            lines.append(f"{run.label}: {names} answered but not scored; `aki-eval score {run.path}` does it.")
    return tuple(lines)


def down(frame: Frame, series: Sequence[Series]) -> Table:
    """Models as rows."""
    columns = [Column(label=entry.label, section=entry.section) for entry in frame.entries]
    return frame.table("Model", columns, [_row(each, frame.entries) for each in series])


def _row(series: Series, entries: Sequence[Entry]) -> Row:
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
    frame = Frame(
        number=frame.number, entries=frame.entries, notices=frame.notices, remarks=(*frame.remarks, POPE_REMARK)
    )
    return frame.table("Model", [Column(label="Split", text=True), *(Column(label=label) for label in labels)], rows)
