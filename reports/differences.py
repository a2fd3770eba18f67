"""A run minus something else: a printed number of the paper, or another run on the same samples.

Against the paper only the run has an error bar. Against a run the difference is paired, and everything about it comes
from `benchmarks.results.comparison`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from benchmarks.results.arms import Arm
from benchmarks.results.comparison import Comparison, compare
from benchmarks.results.folder import RunFolder, TaskResult

from . import paper
from .comparison_tables import difference_cell
from .paper import PaperLine, PaperModel
from .series import Series, find_metric, metric_names, paper_value, run_cell, run_metric
from .tables import Cell

NO_DEV = "Not compared: the paper's number is on the development split, which this run did not measure."
TO_PAPER = (
    "▲ and ▼ beside a difference to the paper: the printed number lies outside the run's 95 % interval. The paper's "
    "own error is not known."
)
TO_BASELINE = (
    "▲ and ▼ beside a difference between runs: p < 0.05 after Holm's correction. The table `A: ...   B: ...` of two "
    "runs has the p-values, their tests, and what its verdicts leave open: with one training a side, the seed."
)


def to_paper(run: RunFolder, table: str, model: PaperModel) -> Series:
    """The run minus a row of the paper, each number on the split that the paper measured it on."""
    found = paper.by_metric(table, model.model)

    def cell(entry: PaperLine) -> Cell:
        printed = paper_value(found, entry)
        result = run.results.get(entry.task)
        if printed is None or printed.value is None or result is None:
            return Cell()
        own = run_cell(result, _printed_metric(entry, printed.metric))
        reason = _unlike_paper(result, own)
        if reason:
            return Cell(notes=(reason,))
        return replace(_minus(own, printed.value, printed.metric), run=run.label)

    label = f"{run.label} − {model.label}"
    return Series(key=f"{run.path} - {model.model}", label=label, kind="difference", cell=cell, comparator="paper")


def _printed_metric(entry: PaperLine, printed: str) -> str:
    """Our name of the metric that a printed cell shows."""
    return next((name for name in metric_names(entry) if name == printed), entry.metric)


def _unlike_paper(result: TaskResult, own: Cell) -> str | None:
    why = result.why_not_comparable(find_metric(result.protocols[result.headline], own.metric or ""))
    if why:
        return f"Not compared: {why}."
    if not result.comparable_judge:
        return "Not compared: the judge's numbers are not comparable with the paper's."
    if result.subset is not None:
        return "Not compared: measured on a subset."
    return None


def _minus(own: Cell, printed: float, metric: str) -> Cell:
    if own.value is None:
        return Cell(notes=(NO_DEV,)) if metric.startswith("dev") else Cell()
    interval = (own.ci95[0] - printed, own.ci95[1] - printed) if own.ci95 else None
    note = ("Development split, as the paper's number.",) if metric.startswith("dev") else ()
    return replace(
        own,
        value=own.value - printed,
        ci95=interval,
        num_scored=None,
        num_units=None,
        signed=True,
        significant=interval is not None and not interval[0] <= 0 <= interval[1],
        notes=(*own.notes, *note),
    )


@dataclass(frozen=True)
class Pair:
    """An arm and the one it is compared with. Everything about the two is worked out once, when first asked for."""

    run: Arm
    baseline: Arm

    @cached_property
    def comparison(self) -> Comparison:
        """Arm minus baseline, as `aki-eval compare` finds it; tasks that were not asked the same are left out."""
        tasks = [task for task in self.baseline.tasks if task in self.run.tasks]
        return compare(self.baseline, self.run, different="leave_out", tasks=tasks)

    def series(self, entries: Sequence[PaperLine], split: str = "val") -> Series:
        """The differences for the lines of one table."""
        suffix = " (dev)" if split == "dev" else ""
        return Series(
            key=f"{self.run.runs[0].path} - {self.baseline.runs[0].path}{suffix}",
            label=f"{self.run.label} − {self.baseline.label}{suffix}",
            kind="difference",
            comparator="run",
            cell=lambda entry: self._cell(entry, split),
        )

    def _cell(self, entry: PaperLine, split: str) -> Cell:
        reasons = self.comparison.left_out.get(entry.task)
        if reasons:
            return Cell(notes=(f"Not compared. {reasons[0]}.",))
        found = find_metric(self.comparison.of_task(entry.task), run_metric(entry, split))
        if found is None or found.difference is None:
            return Cell()
        return replace(difference_cell(found), run=self.run.label, beside=self.baseline.label)


def gain_in_paper(model: PaperModel, comparator: PaperModel) -> Series:
    """Relative gain of one row of Table 1 over another, in percent, from the reference values and never as printed."""
    own, base = (paper.by_metric("1", each.model) for each in (model, comparator))

    def cell(entry: PaperLine) -> Cell:
        first, second = paper_value(base, entry), paper_value(own, entry)
        if first is None or second is None or first.value is None or second.value is None:
            return Cell()
        if first.metric != second.metric:
            return Cell(notes=(f"Not compared: {first.metric} split for one, {second.metric} for the other.",))
        return Cell(value=100 * (second.value - first.value) / first.value, signed=True, suffix="%")

    label = f"{model.label} over {comparator.label}, relative"
    return Series(key="gain", label=label, kind="difference", cell=cell, comparator="gain")


def mean_gain(gains: Series, entries: Sequence[PaperLine]) -> str:
    """One sentence: the mean of relative gains, over which columns."""
    found = {entry.label: gains.cell(entry).value for entry in entries}
    known = [value for value in found.values() if value is not None]
    missing = [label for label, value in found.items() if value is None]
    left_out = f" (not {', '.join(missing)})" if missing else ""
    mean = sum(known) / len(known)
    return f"{gains.label}: {mean:+.1f}% on average over {len(known)} of {len(found)} columns{left_out}."
