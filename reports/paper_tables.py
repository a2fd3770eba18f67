"""Which tables there are and how series stand in them: the paper's own order, labels and orientation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from benchmarks.errors import UserError
from benchmarks.results.arms import Arm, as_arm
from benchmarks.results.folder import RunFolder

from . import paper
from .comparison_tables import metric_table
from .curves import Curve, curves, in_steps
from .differences import TO_BASELINE, TO_PAPER, Pair, gain_in_paper, mean_gain, to_paper
from .metrics import every_metric
from .notices import missing_tasks, notices
from .other_tables import OTHERS, measures_paper, other_entries, other_tasks
from .paper import PaperLine, PaperModel
from .series import BARS, Series, arm_series, other_readings, paper_series, run_series
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
    "± is half the width of the 95 % interval; where the value is not in its middle, both bounds are shown. n is the "
    "number of scored samples (of MMBench: of questions, each asked once for every rotation of its options); the paper "
    "prints neither."
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
            key=OTHERS if self.number == OTHERS else f"table{self.number}",
            title=TITLES.get(self.number, "Other benchmarks"),
            corner=corner,
            columns=tuple(columns),
            rows=tuple(rows),
            notices=self.notices,
            remarks=self.remarks,
        )


@dataclass(frozen=True)
class Plan:
    """What is set side by side: runs, the run they are compared with (the first, if not said), and the paper's row.

    `grouped`: the runs as arms, where any recipe has several; what tables and charts show then are its means.
    """

    runs: tuple[RunFolder, ...]
    baseline: RunFolder | None = None
    reference: str = "aki_4b"
    grouped: tuple[Arm, ...] | None = None

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """What stands in a line of a table; a run by itself is an arm of one."""
        return tuple(as_arm(run) for run in self.runs) if self.grouped is None else self.grouped

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Every other arm with the one that the baseline belongs to."""
        baseline = next((arm for arm in self.arms if self.baseline is None or self.baseline in arm.runs), None)
        return tuple(Pair(arm, baseline) for arm in self.arms if baseline is not None and arm is not baseline)

    @cached_property
    def curves(self) -> list[Curve]:
        """The columns over the steps of a training; none where the runs are not one training's checkpoints."""
        return curves(in_steps(self.runs))

    def pair(self, side: Arm | RunFolder) -> Pair | None:
        """Of an arm, or of a run's arm, with the baseline."""
        wanted = side.runs[0] if isinstance(side, Arm) else side
        return next((pair for pair in self.pairs if any(run is wanted for run in pair.run.runs)), None)


def all_tables(plan: Plan) -> list[Table]:
    """Tables 1, 2 and 7 to 15 with the runs beside the paper's rows, other benchmarks, and the runs beside each other.

    Of the per-subtask tables, those that some run has numbers for; without runs, all of them.
    """
    tables = main_tables(plan) + pair_tables(plan)
    for number in paper.NUMBERS[2:]:
        task = paper.entries(number)[0].task
        if not plan.runs or any(task in run.results for run in plan.runs):
            tables.append(subtask_table(number, plan))
    for task in other_tasks(plan.runs):
        tables.append(replace(every_metric(task, plan.runs), notices=notices(plan.runs)))
    return tables


def main_tables(plan: Plan) -> list[Table]:
    """Tables 1 and 2, where a run says something about them, and the table of the other benchmarks."""
    tables = [main_table(number, plan) for number in ("1", "2")] if measures_paper(plan.runs) else []
    return [*tables, other_table(plan)] if other_tasks(plan.runs) else tables


def other_table(plan: Plan) -> Table:
    """The benchmarks outside the paper: their columns, the runs, and their differences."""
    entries = other_entries(plan.runs)
    series: list[Series] = []
    for arm in plan.arms:
        series += _arm_series(arm, entries)
        series += [pair.series(entries) for pair in plan.pairs if pair.run is arm]
    frame = Frame(number=OTHERS, entries=entries, notices=notices(plan.runs), remarks=_remarks(series))
    return down(frame, series)


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
    for arm in plan.arms:
        series += _arm_series(arm, entries)
        if not arm.toy and len(arm.runs) == 1:
            series.append(to_paper(arm.runs[0], *reference_row(plan.reference)))
        series += [pair.series(entries) for pair in plan.pairs if pair.run is arm]
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
    for arm in plan.arms:
        series += _run_series(entries, arm) + _differences(number, entries, arm, plan)
    frame = Frame(number=number, entries=entries, notices=notices(plan.runs), remarks=_remarks(series))
    if number == "13":
        return split_rows(frame, series)
    return across(frame, series) if number in ACROSS else down(frame, series)


def _run_series(entries: Sequence[PaperLine], arm: Arm) -> list[Series]:
    if entries[0].task not in arm.tasks:
        return []
    if entries[0].task != "mmmu":
        return _arm_series(arm, entries)
    series = []
    for split in ("val", "dev"):
        series += _arm_series(arm, entries, split=split, suffix=f" ({split})")
    return series


def _arm_series(arm: Arm, entries: Sequence[PaperLine], split: str = "val", suffix: str = "") -> list[Series]:
    """A run by itself under every protocol that says something else; of several seeds their mean, by the headline's."""
    if len(arm.runs) > 1:
        return [arm_series(arm, split=split, suffix=suffix)]
    run = arm.runs[0]
    return [run_series(run, split=split, suffix=suffix), *other_readings(run, entries, split=split, suffix=suffix)]


def _differences(number: str, entries: Sequence[PaperLine], arm: Arm, plan: Plan) -> list[Series]:
    if entries[0].task not in arm.tasks:
        return []
    rows = {model.model: model for model in paper.models("appendix")}
    pair = plan.pair(arm)
    series = []
    if not arm.toy and len(arm.runs) == 1 and plan.reference in rows:
        series.append(to_paper(arm.runs[0], number, rows[plan.reference]))
    if pair and entries[0].task in pair.baseline.tasks:
        splits = ("val", "dev") if entries[0].task == "mmmu" else ("val",)
        series += [pair.series(entries, split) for split in splits]
    return series


def _remarks(series: Sequence[Series]) -> tuple[str, ...]:
    """How to read what is in the table, and only that."""
    differences = [each for each in series if each.kind == "difference"]
    lines = [INTERVALS, *([BARS] if any(each.seeds > 1 for each in series) else [])]
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
