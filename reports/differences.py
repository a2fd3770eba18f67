"""A run minus something else: a printed number of the paper, or another run on the same samples.

Against the paper only the run has an error bar. Against a run the difference is paired: both answered the same
questions, so the standard error is that of the difference, clustered, and p-values are corrected (Holm) over the
numbers of a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from benchmarks.records import Score
from benchmarks.results.folder import RunFolder, TaskResult
from benchmarks.scoring import estimates_of
from benchmarks.statistics import ALPHA, Difference, holm, paired_difference
from benchmarks.tasks import TASKS

from . import paper
from .paper import PaperLine, PaperModel
from .series import Series, find_metric, metric_names, paper_value, run_cell, run_metric
from .tables import Cell

NO_DEV = "Not compared: the paper's number is on the development split, which this run did not measure."
OTHER_RUN = "unscored in the other run"
TO_PAPER = (
    "▲ and ▼ beside a difference to the paper: the printed number lies outside the run's 95 % interval. The paper's "
    "own error is not known."
)
TO_BASELINE = (
    "▲ and ▼ beside a difference between runs: p < 0.05 by the paired clustered test, Holm-corrected over this table."
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
        return Cell(notes=(reason,)) if reason else _minus(own, printed.value, printed.metric)

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
        signed=True,
        significant=interval is not None and not interval[0] <= 0 <= interval[1],
        notes=(*own.notes, *note),
    )


@dataclass(frozen=True)
class Pair:
    """A run and the run it is compared with. Differences of a task are worked out once, when first asked for."""

    run: RunFolder
    baseline: RunFolder
    _found: dict[str, dict[str, Difference]] = field(default_factory=dict, init=False)

    def differences(self, task: str) -> dict[str, Difference]:
        """Run minus baseline by metric, on the samples that both could score."""
        if task not in self._found:
            self._found[task] = _differences(self.run, self.baseline, task)
        return self._found[task]

    def unlike(self, task: str) -> str | None:
        """Why the two must not be compared on a task; None when they may."""
        return unlike(self.baseline.results[task], self.run.results[task])

    def series(self, entries: Sequence[PaperLine], split: str = "val") -> Series:
        """The differences for the lines of one table, corrected for their number."""
        cells = [self._cell(entry, split) for entry in entries]
        corrected = iter(holm([cell.p_value for cell in cells if cell.p_value is not None]))
        final = [cell if cell.p_value is None else _decided(cell, next(corrected)) for cell in cells]
        suffix = " (dev)" if split == "dev" else ""
        return Series(
            key=f"{self.run.path} - {self.baseline.path}{suffix}",
            label=f"{self.run.label} − {self.baseline.label}{suffix}",
            kind="difference",
            comparator="run",
            cell=dict(zip(entries, final, strict=True)).__getitem__,
        )

    def _cell(self, entry: PaperLine, split: str) -> Cell:
        if entry.task not in self.run.results or entry.task not in self.baseline.results:
            return Cell()
        reason = self.unlike(entry.task)
        if reason:
            return Cell(notes=(reason,))
        name = run_metric(entry, split)
        found = find_metric(self.differences(entry.task), name)
        if found is None:
            return Cell()
        first, second = self.baseline.results[entry.task], self.run.results[entry.task]
        return Cell(
            value=found.value,
            ci95=found.ci95,
            p_value=found.p,
            signed=True,
            task=entry.task,
            metric=name,
            protocol=second.headline,
            notes=("The two runs were asked with different prompts.",) if first.prompts != second.prompts else (),
        )


def _decided(cell: Cell, p_value: float) -> Cell:
    return replace(cell, p_value=p_value, significant=p_value < ALPHA)


def _differences(run: RunFolder, baseline: RunFolder, task: str) -> dict[str, Difference]:
    protocol = run.results[task].headline
    first, second = (_by_index(each.scores(task, protocol)) for each in (baseline, run))
    common = [index for index in first if index in second]
    both = {index for index in common if first[index].value is not None and second[index].value is not None}
    estimates = [
        estimates_of(TASKS[task], protocol, [_only_if(index in both, scores[index]) for index in common])
        for scores in (first, second)
    ]
    found = {name: paired_difference(estimates[0][name], other) for name, other in estimates[1].items()}
    return {name: difference for name, difference in found.items() if difference is not None}


def _by_index(scores: Sequence[Score]) -> dict[str, Score]:
    return {score.index: score for score in scores}


def _only_if(paired: bool, score: Score) -> Score:
    """A score that the other run lacks counts in neither."""
    return score if paired or score.value is None else replace(score, value=None, reason=OTHER_RUN, parts={})


def unlike(first: TaskResult, second: TaskResult) -> str | None:
    """Why two results must not be compared; None when they may."""
    if first.checksums != second.checksums:
        return "Not compared: the two runs were measured on different data."
    if (first.judge or {}).get("name") != (second.judge or {}).get("name"):
        return "Not compared: the two runs were graded by different judges."
    if first.headline != second.headline:
        return "Not compared: the two runs were scored by different protocols."
    return None


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
