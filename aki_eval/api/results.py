"""A scored run as data frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.errors import UserError
from benchmarks.records import Metric
from benchmarks.results.comparison import MetricComparison, compare
from benchmarks.results.folder import RunFolder, TaskResult, open_run
from benchmarks.results.rows import sample_row
from benchmarks.task import protocol_name
from benchmarks.tasks import headline_labels

if TYPE_CHECKING:
    from pandas import DataFrame


def open_results(path: str | Path) -> Results:
    """The results in a run folder, whether `evaluate` or `aki-eval run` made it.

    Raises:
        UserError: it is no run folder, is damaged, or nothing in it is scored.
    """
    return Results(open_run(Path(path)))


class Results:
    """What came out of a run. Everything is read from its folder, `path`, which `aki-eval` knows as well."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    @property
    def path(self) -> Path:
        return self.run.path

    @property
    def complete(self) -> bool:
        """Whether every sample of every task was answered and scored."""
        return not self.run.unscored and all(result.complete for result in self.run.results.values())

    def table(self, *, all_metrics: bool = False) -> DataFrame:
        """One row a metric, by benchmark: its value, 95 % interval, and how many samples stand behind it.

        The columns (the paper's, then other benchmarks'), or with `all_metrics` every metric of every protocol that was
        scored. `value` is missing where nothing could be scored; `note` says what makes a number less than comparable;
        `unit`: percent, points.
        """
        return _frame(self._all_metrics() if all_metrics else self._columns(), "benchmark")

    def _columns(self) -> Iterator[dict[str, Any]]:
        for result in self.run.results.values():
            for metric, label in headline_labels(result.about).items():
                if metric in result.protocols[result.headline]:
                    yield _metric_row(label, result, result.headline, metric)

    def _all_metrics(self) -> Iterator[dict[str, Any]]:
        for result in self.run.results.values():
            labels = headline_labels(result.about)
            for protocol, metrics in result.protocols.items():
                for name in metrics:
                    label = labels.get(name, f"{result.task} {name}")
                    yield _metric_row(label, result, protocol, name)

    def samples(self, task: str, protocol: str | None = None) -> DataFrame:
        """One row a sample, by its index: what was sent, what came back, how it was read, what it was worth.

        `value` is missing, with a `reason`, where the sample is unscored; a value with a `reason` is an answer that
        could not be read; `error` says why there is no prediction, "not asked" where nobody asked. `protocol` None:
        the one that the paper's number follows; `vlmevalkit` is `kit`.

        Raises:
            UserError: the run has no scores of the task, or none by that protocol.
        """
        result = self._result(task)
        protocol = protocol_name(protocol or result.headline)
        if protocol not in result.protocols:
            raise UserError(f"{task} was not scored by protocol {protocol!r}, but by {', '.join(result.protocols)}")
        predictions = self.run.predictions(task)
        rows = (
            {**sample_row(score, predictions.get(score.index)), **score.parts}
            for score in self.run.scores(task, protocol)
        )
        return _frame(rows, "index")

    def compare(
        self, other: Results | str | Path, *, all_metrics: bool = False, allow_different: bool = False
    ) -> DataFrame:
        """These results against those of `other`, paired by question: `difference` is these minus those.

        The numbers of `aki-eval compare OTHER THESE`: interval and p-value of the paired test named in `test`, and
        `p_holm`, corrected for the number of metrics; `reason` where there is no test. With `allow_different` also for
        runs that were not asked the same; `attrs["warnings"]` then says in what they differ. `attrs["flips"]` holds
        the questions answered to different worth.

        Raises:
            UserError: nothing in common, or the runs were not asked the same.
        """
        given = other.run if isinstance(other, Results) else open_run(Path(other))
        comparison = compare(given, self.run, different="allow" if allow_different else "refuse")
        metrics = comparison.metrics if all_metrics else comparison.columns
        frame = _frame((_comparison_row(metric) for metric in metrics), "benchmark")
        frame.attrs["warnings"] = comparison.warnings
        frame.attrs["flips"] = [asdict(flip) for flip in comparison.flips]
        return frame

    def _result(self, task: str) -> TaskResult:
        if task not in self.run.results:
            raise UserError(f"{self.path} holds no scores of {task!r}, but of {', '.join(self.run.results)}")
        return self.run.results[task]

    def __repr__(self) -> str:
        return f"{self.table()[['value', 'ci95_low', 'ci95_high', 'num_scored', 'note']]}\n{self._summary()}"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        shown = self.table()[["value", "ci95_low", "ci95_high", "num_scored", "note"]]
        return f"{shown.to_html(float_format='{:.1f}'.format, na_rep='-')}<p>{self._summary()}</p>"

    def _summary(self) -> str:
        toy = "; toy world: not comparable to the paper" if self.run.toy else ""
        return f"run folder {self.path}{'' if self.complete else '; incomplete'}{toy}"


def _metric_row(label: str, result: TaskResult, protocol: str, name: str) -> dict[str, Any]:
    metric: Metric = result.protocols[protocol][name]
    low, high = metric.ci95 or (None, None)
    notes = ["" if result.complete else "incomplete", result.why_not_comparable(metric, protocol) or ""]
    if not result.comparable_judge:
        notes.append("judged by a rubric")
    return {
        "benchmark": label,
        "task": result.task,
        "metric": name,
        "protocol": protocol,
        "value": metric.value,
        "ci95_low": low,
        "ci95_high": high,
        "unit": metric.unit,
        "num_samples": metric.num_samples,
        "num_scored": metric.num_scored,
        "num_unscored": metric.num_unscored,
        "num_unread": metric.num_unread,
        "judge": result.judge["name"] if result.judge else None,
        "note": ", ".join(note for note in notes if note),
    }


def _comparison_row(metric: MetricComparison) -> dict[str, Any]:
    low, high = metric.ci95 or (None, None)
    return {
        "benchmark": metric.label,
        "task": metric.task,
        "metric": metric.metric,
        "value": metric.b,
        "other": metric.a,
        "difference": metric.difference,
        "ci95_low": low,
        "ci95_high": high,
        "p": metric.p,
        "test": metric.test,
        "p_holm": metric.p_holm,
        "significant": metric.significant,
        "num_pairs": metric.num_pairs,
        "num_left_out": metric.num_left_out,
        "reason": metric.reason,
    }


NUMBERS = ("value", "other", "difference", "ci95_low", "ci95_high", "p", "p_holm")


def _frame(rows: Iterator[dict[str, Any]], index: str) -> DataFrame:
    """Numbers are floats with NaN where there is none, also in a column that has none at all."""
    from pandas import DataFrame

    frame = DataFrame(list(rows)).set_index(index)
    return frame.astype({name: float for name in NUMBERS if name in frame.columns})
