"""Is run B better than run A? Paired, metric by metric, question by question.

Both runs answered the same questions, so what counts is the difference on each; the questions' own difficulty
cancels out (Miller 2024, arXiv 2411.00640, section 4). Intervals come from the clustered standard error of that
difference. p-values are exact where every cluster is one right-or-wrong question (McNemar), and from flipping the
signs of whole clusters otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from benchmarks.records import Score
from benchmarks.results.folder import RunFolder
from benchmarks.scoring import estimates_of
from benchmarks.statistics import (
    ALPHA,
    Estimate,
    Floats,
    cluster_differences,
    holm,
    mcnemar_p,
    paired_difference,
    sign_flip_p,
)
from benchmarks.tasks import COLUMNS, TASKS

from .pairing import Pairs, common_tasks, differences, made_differently, pair, refuse

MCNEMAR = "exact McNemar"
MCNEMAR_CLUSTERED = "exact McNemar on clusters"
PERMUTATION = "clustered permutation"


@dataclass(frozen=True, kw_only=True)
class MetricComparison:
    """B minus A on the pairs. `p_holm` is corrected for all metrics of this comparison.

    None stands for what cannot be said: too few clusters, or nothing scored. `detectable`: the true difference that
    this comparison finds with 80 % power.
    """

    task: str
    metric: str
    label: str
    protocol: str
    unit: str
    a: float | None
    b: float | None
    difference: float | None
    ci95: tuple[float, float] | None
    p: float | None
    p_holm: float | None
    test: str | None
    detectable: float | None
    num_pairs: int
    num_clusters: int
    num_left_out: int

    @property
    def significant(self) -> bool:
        return self.p_holm is not None and self.p_holm < ALPHA


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
    """`warnings`: in what the two runs were not asked the same; empty unless that was allowed.

    `made_differently`: (field of run.json, value in A, value in B), the model first of all.
    """

    a: str
    b: str
    metrics: list[MetricComparison]
    flips: list[Flip]
    warnings: list[str]
    made_differently: list[tuple[str, str, str]]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(a: RunFolder, b: RunFolder, *, all_metrics: bool = False, allowed: bool = False) -> Comparison:
    """Compare run B with run A on every task that both have scored.

    `all_metrics` adds the sub-scores to the paper's columns; `allowed` compares runs that were not asked the same.

    Raises:
        UserError: nothing in common, or different data, prompts or judges without `allowed`.
    """
    tasks = common_tasks(a, b)
    warnings = differences(a, b, tasks)
    if warnings and not allowed:
        refuse(warnings)
    pairs = [pair(task, a.results[task].headline, a, b) for task in tasks]
    metrics = [metric for each in pairs for metric in _metrics(each, all_metrics)]
    return Comparison(
        a=a.label,
        b=b.label,
        metrics=_corrected(metrics),
        flips=[flip for each in pairs for flip in _flips(each)],
        warnings=warnings,
        made_differently=made_differently(a, b),
    )


def _metrics(pairs: Pairs, all_metrics: bool) -> list[MetricComparison]:
    task = TASKS[pairs.task]
    first, second = (estimates_of(task, pairs.protocol, scores) for scores in (pairs.a, pairs.b))
    headline = {column.metric: column.label for column in COLUMNS if column.task == pairs.task}
    names = list(headline) + [name for name in first if name not in headline and all_metrics]
    return [
        _metric(pairs, name, headline.get(name, f"{task.title} {name}"), first[name], second[name]) for name in names
    ]


def _metric(pairs: Pairs, name: str, label: str, a: Estimate, b: Estimate) -> MetricComparison:
    difference = paired_difference(a, b)
    p, test = test_difference(a, b) if difference else (None, None)
    return MetricComparison(
        task=pairs.task,
        metric=name,
        label=label,
        protocol=pairs.protocol,
        unit=a.unit,
        a=a.value,
        b=b.value,
        difference=difference.value if difference else None,
        ci95=difference.ci95 if difference else None,
        p=p,
        p_holm=None,
        test=test,
        detectable=difference.smallest_detectable() or None if difference else None,  # 0: nothing differed
        num_pairs=a.num_scored,
        num_clusters=a.num_clusters,
        num_left_out=pairs.num_left_out,
    )


def test_difference(a: Estimate, b: Estimate) -> tuple[float, str]:
    """(p, name of the test) for the hypothesis that both runs are equally good."""
    moved = exchangeable(a, b)
    steps = np.abs(moved[np.abs(moved) > 1e-9 * (a.scale or 1.0)])
    if len(steps) and not np.allclose(steps, steps[0]):
        return sign_flip_p(moved), PERMUTATION
    # Every cluster moved by the same step or not at all: the sign test on clusters, which McNemar's is.
    name = MCNEMAR if a.num_clusters == a.num_scored else MCNEMAR_CLUSTERED
    return mcnemar_p(moved < 0, moved > 0), name


def exchangeable(a: Estimate, b: Estimate) -> Floats:
    """What each cluster adds to B minus A, (G,), were the two runs to swap their answers in it.

    Exact where both divide by the same numbers (means). Where what they divide by depends on the answers (F1,
    precision, LLaVA-Bench's relative score), it is linearised: plain contributions would differ in every cluster,
    and the test would find next to nothing.
    """
    share_a, share_b = (_share_of_divisor(estimate) for estimate in (a, b))
    if share_a is None or share_b is None or np.allclose(share_a, share_b, atol=1e-12):
        return cluster_differences(a, b)
    assert a.value is not None
    assert b.value is not None
    return np.where(a.present, b.influence - a.influence + (b.value - a.value) / a.num_clusters, 0.0)


def _share_of_divisor(estimate: Estimate) -> Floats | None:
    """Each cluster's share of what the metric divides by; None where the value is 0 and says nothing about it."""
    return (estimate.contribution - estimate.influence) / estimate.value if estimate.value else None


def _corrected(metrics: Sequence[MetricComparison]) -> list[MetricComparison]:
    """With Holm's correction over all metrics that have a p-value."""
    corrected = iter(holm([metric.p for metric in metrics if metric.p is not None]))
    return [metric if metric.p is None else replace(metric, p_holm=next(corrected)) for metric in metrics]


def _flips(pairs: Pairs) -> Iterable[Flip]:
    for a, b in zip(pairs.a, pairs.b, strict=True):
        if a.value is not None and b.value is not None and a.value != b.value:
            yield _flip(pairs.task, a, a.value, b, b.value)


def _flip(task: str, a: Score, value_a: float, b: Score, value_b: float) -> Flip:
    return Flip(task=task, index=a.index, a=value_a, b=value_b, answer_a=a.answer, answer_b=b.answer, target=a.target)
