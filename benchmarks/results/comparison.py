"""Run B minus run A, metric by metric, question by question: the one place that every such number comes from.

Both runs answered the same questions, so what counts is the difference on each; the questions' own difficulty
cancels out (Miller 2024, arXiv 2411.00640, section 4). `benchmarks/paired_tests.py` has the tests and says which
metric gets which. Two runs give one answer: `aki-eval compare`, `gate`, `report` in all its formats and the pages show
what `compare` returns, and so does the correction for many metrics, which does not depend on what is asked to be shown:
the paper's columns are one family, the sub-scores of a task are another (Holm).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from ..errors import UserError
from ..estimates import ALPHA, Estimate
from ..paired_tests import Difference, holm, paired_difference
from ..scoring import estimates_of, why_not_comparable
from ..task import Task
from ..tasks import COLUMNS, TASKS, metric_label
from .folder import RunFolder
from .pairing import Pairs, asked_differently, common_tasks, made_differently, pair, refusal

NOTHING_SCORED = "no sample is scored in both"
TOO_FEW = "fewer than two independent clusters"

Different = Literal["refuse", "allow", "leave_out"]
"""What becomes of a task that the two runs were not asked the same: an error, a warning, no comparison."""


@dataclass(frozen=True, kw_only=True)
class MetricComparison:
    """One metric of both runs on the pairs, and B minus A.

    `p_holm` is corrected for the metric's family. `reason` says why there is no p-value; None where there is one.
    """

    task: str
    metric: str
    label: str
    protocol: str
    unit: str
    is_column: bool
    """One of the paper's twelve; otherwise a sub-score."""
    a: float | None
    b: float | None
    paired: Difference | None
    p_holm: float | None = None
    reason: str | None = None
    num_pairs: int
    num_left_out: int
    num_lost: int

    @property
    def difference(self) -> float | None:
        return self.paired.value if self.paired else None

    @property
    def ci95(self) -> tuple[float, float] | None:
        return self.paired.ci95 if self.paired and not self.reason else None

    @property
    def p(self) -> float | None:
        return self.paired.p if self.paired and not self.reason else None

    @property
    def test(self) -> str | None:
        return self.paired.test.name if self.paired and self.paired.test and not self.reason else None

    @property
    def detectable(self) -> float | None:
        return self.paired.detectable if self.paired and not self.reason else None

    @property
    def significant(self) -> bool:
        return self.p_holm is not None and self.p_holm < ALPHA

    def as_json(self) -> dict[str, Any]:
        plain = {name: value for name, value in vars(self).items() if name != "paired"}
        paired = self.paired
        return plain | {
            "difference": self.difference,
            "ci95": self.ci95,
            "p": self.p,
            "test": self.test,
            "significant": self.significant,
            "degrees_of_freedom": paired.degrees if paired else None,
            "detectable": self.detectable,
            "num_clusters": paired.num_clusters if paired else 0,
            "num_moved": paired.num_moved if paired else 0,
        }


@dataclass(frozen=True, kw_only=True)
class Flip:
    """A question that the two runs answered to different worth."""

    task: str
    index: str
    a: float
    b: float
    answer_a: str | None
    answer_b: str | None
    target: str | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`metrics`: the paper's columns first, then every sub-score. `flips`: the questions behind them.

    `warnings`: in what the two runs were not asked the same, where that was allowed. `left_out`: why a task was not
    compared, where that was asked for instead. `made_differently`: (field of run.json, value in A, value in B).
    """

    a: str
    b: str
    metrics: list[MetricComparison]
    flips: list[Flip]
    warnings: list[str]
    made_differently: list[tuple[str, str, str]]
    left_out: dict[str, list[str]] = field(default_factory=dict)

    @property
    def columns(self) -> list[MetricComparison]:
        """The metrics that are columns of the paper."""
        return [metric for metric in self.metrics if metric.is_column]

    def of_task(self, task: str) -> dict[str, MetricComparison]:
        """By metric name; empty where the task was not compared."""
        return {metric.metric: metric for metric in self.metrics if metric.task == task}

    def as_json(self, *, all_metrics: bool = True) -> dict[str, Any]:
        """`all_metrics` False: the paper's columns only."""
        return {
            "a": self.a,
            "b": self.b,
            "metrics": [metric.as_json() for metric in (self.metrics if all_metrics else self.columns)],
            "flips": [asdict(flip) for flip in self.flips],
            "warnings": self.warnings,
            "left_out": self.left_out,
            "made_differently": self.made_differently,
        }


def compare(
    a: RunFolder, b: RunFolder, *, different: Different = "refuse", tasks: Sequence[str] | None = None
) -> Comparison:
    """Compare run B with run A on `tasks`, or on every task that both have scored.

    With `leave_out`, a task whose scores cannot be paired is left out as well, and takes no other with it.

    Raises:
        UserError: nothing in common, scores that cannot be paired, or runs that were not asked the same and `refuse`.
    """
    tasks = common_tasks(a, b) if tasks is None else tasks
    unlike = {task: reasons for task in tasks if (reasons := asked_differently(task, a, b))}
    warnings = [reason for reasons in unlike.values() for reason in reasons]
    if warnings and different == "refuse":
        raise refusal(warnings)
    left_out = dict(unlike) if different == "leave_out" else {}
    pairs = []
    for task in tasks:
        if task in left_out:
            continue
        try:
            pairs.append(pair(task, a.results[task].headline, a, b))
        except UserError as error:
            if different != "leave_out":
                raise
            left_out[task] = [str(error)]
    metrics = [metric for each in pairs for metric in _metrics(each, a, b)]
    return Comparison(
        a=a.label,
        b=b.label,
        metrics=_corrected(sorted(metrics, key=lambda metric: not metric.is_column)),
        flips=[flip for each in pairs for flip in _flips(each)],
        warnings=warnings if different == "allow" else [],
        made_differently=made_differently(a, b),
        left_out=left_out,
    )


def _metrics(pairs: Pairs, a: RunFolder, b: RunFolder) -> Iterator[MetricComparison]:
    task = TASKS[pairs.task]
    before, after = (estimates_of(task, pairs.protocol, scores) for scores in (pairs.a, pairs.b))
    columns = [column.metric for column in COLUMNS if column.task == pairs.task]
    for name in [*(name for name in columns if name in before), *(name for name in before if name not in columns)]:
        paired = paired_difference(before[name], after[name])
        yield MetricComparison(
            task=pairs.task,
            metric=name,
            label=metric_label(pairs.task, name),
            protocol=pairs.protocol,
            unit=before[name].unit,
            is_column=name in columns,
            a=before[name].value,
            b=after[name].value,
            paired=paired,
            reason=_untested(task, pairs.protocol, {a.label: before[name], b.label: after[name]}, paired),
            num_pairs=before[name].num_scored,
            num_left_out=pairs.num_left_out,
            num_lost=pairs.num_lost,
        )


def _untested(task: Task, protocol: str, sides: Mapping[str, Estimate], paired: Difference | None) -> str | None:
    """Why a difference gets no p-value, no interval and no mark; None where it does. The one place that decides it."""
    if paired is None:
        return NOTHING_SCORED
    for label, estimate in sides.items():
        why = why_not_comparable(task, protocol, estimate.metric())
        if why:
            return f"{label} is {why}"
    return TOO_FEW if paired.test is None else None


def _corrected(metrics: Sequence[MetricComparison]) -> list[MetricComparison]:
    """With Holm's correction: the paper's columns are one family, the sub-scores of each task another."""
    families: dict[str, list[int]] = {}
    for place, metric in enumerate(metrics):
        if metric.p is not None:
            families.setdefault("" if metric.is_column else metric.task, []).append(place)
    corrected = list(metrics)
    for places in families.values():
        values = holm([p for place in places if (p := metrics[place].p) is not None])
        for place, value in zip(places, values, strict=True):
            corrected[place] = replace(metrics[place], p_holm=value)
    return corrected


def _flips(pairs: Pairs) -> Iterable[Flip]:
    for a, b in zip(pairs.a, pairs.b, strict=True):
        if a.value is not None and b.value is not None and a.value != b.value:
            yield Flip(
                task=pairs.task,
                index=a.index,
                a=a.value,
                b=b.value,
                answer_a=a.answer,
                answer_b=b.answer,
                target=a.target,
            )
