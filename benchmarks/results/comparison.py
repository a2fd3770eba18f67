"""Run B minus run A, metric by metric, question by question: the one place that every such number comes from.

Both runs answered the same questions, so what counts is the difference on each; the questions' own difficulty
cancels out (Miller 2024, arXiv 2411.00640, section 4). `benchmarks/paired_tests.py` has the tests and says which
metric gets which. Two runs give one answer: `aki-eval compare`, `gate`, `report` in all its formats and the pages show
what `compare` returns, and so does the correction for many metrics, which does not depend on what is asked to be shown:
the columns (the paper's, and other benchmarks' headlines) are one family, the sub-scores of a task are another (Holm).

A side is a run, or an arm: one recipe's runs, which differ by training seed (`benchmarks/arms.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from ..arms import ArmDifference, ArmEstimate, Seeded, Variances, arm_difference, arm_estimate
from ..errors import UserError
from ..estimates import ALPHA, Estimate
from ..paired_tests import Difference, holm
from ..records import Score
from ..scoring import estimates_of, why_not_comparable
from ..task import Task
from ..tasks import headline_labels, metric_label
from .arms import SEEDS_NOT_INCLUDED, Arm, as_arm
from .folder import RunFolder
from .pairing import (
    Pairs,
    asked_differently_by_arms,
    common_tasks,
    made_differently,
    not_one_recipe,
    pair,
    refusal,
    refuse_probes,
)

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
    """One of the paper's twelve, or the headline of another benchmark; otherwise a sub-score."""
    a: float | None
    b: float | None
    paired: Difference | None
    p_holm: float | None = None
    reason: str | None = None
    num_pairs: int
    num_left_out: int
    num_lost: int
    groups_moved: tuple[int, int] | None = None
    """(better in B, worse) of the groups that the metric counts where several answers are one (MMBench's rotations, a
    picture's questions in MME); None where it counts answers, and of arms."""
    arms: tuple[ArmEstimate, ArmEstimate] = field(compare=False, repr=False)
    """Both sides with their errors by questions and by seeds."""

    @property
    def variances(self) -> Variances | None:
        """Where the difference's variance comes from; None between single runs, or without a test."""
        return self.paired.variances if isinstance(self.paired, ArmDifference) and not self.reason else None

    def ci95_of(self, side: Literal["a", "b"]) -> tuple[float, float] | None:
        """The 95 % interval of one side by itself."""
        return self.arms["ab".index(side)].mean.interval()

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
        plain = {name: value for name, value in vars(self).items() if name not in ("paired", "arms")}
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
            "seeds": [
                {"values": arm.values, "ci95_questions": arm.question_interval, "ci95_seeds": arm.seed_interval}
                for arm in self.arms
            ],
            "variance": _variance_json(self.variances),
        }


def _variance_json(variances: Variances | None) -> dict[str, Any] | None:
    """Standard errors by source, in the metric's unit."""
    if variances is None:
        return None
    return {
        "error_questions": variances.questions**0.5,
        "error_seeds": variances.seeds**0.5 if variances.seed_degrees is not None else None,
        "error_interaction": variances.interaction**0.5,
        "error": variances.total**0.5,
        "num_matched_seeds": variances.num_matched,
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
    """What two runs say about each other.

    `metrics`: the columns first (the paper's, then other benchmarks'), then every sub-score. `flips`: the questions
    behind them.

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
    num_seeds: tuple[int, int] = (1, 1)
    num_matched: int = 0
    """Training seeds that both sides have: pairs."""
    arm_warnings: list[str] = field(default_factory=list)
    """In what an arm's runs differ besides the seed."""

    @property
    def arms(self) -> bool:
        """Whether a side has several trainings."""
        return max(self.num_seeds) > 1

    @property
    def seeds_left_out(self) -> str | None:
        """Said with every verdict that does not know what another training seed would have done; None where it does."""
        single = [label for label, num in zip((self.a, self.b), self.num_seeds, strict=True) if num == 1]
        if not single:
            return None
        whose = "" if len(single) == 2 else f" for {single[0]}, which has one seed"
        return f"{SEEDS_NOT_INCLUDED}{whose}"

    @property
    def columns(self) -> list[MetricComparison]:
        """The metrics that are columns."""
        return [metric for metric in self.metrics if metric.is_column]

    def of_task(self, task: str) -> dict[str, MetricComparison]:
        """By metric name; empty where the task was not compared."""
        return {metric.metric: metric for metric in self.metrics if metric.task == task}

    def as_json(self, *, all_metrics: bool = True) -> dict[str, Any]:
        """`all_metrics` False: the columns only."""
        return {
            "a": self.a,
            "b": self.b,
            "metrics": [metric.as_json() for metric in (self.metrics if all_metrics else self.columns)],
            "flips": [asdict(flip) for flip in self.flips],
            "warnings": self.warnings,
            "left_out": self.left_out,
            "made_differently": self.made_differently,
            "num_seeds": self.num_seeds,
            "num_matched_seeds": self.num_matched,
            "arm_warnings": self.arm_warnings,
            "not_included": self.seeds_left_out,
        }


def compare(
    a: RunFolder | Arm,
    b: RunFolder | Arm,
    *,
    different: Different = "refuse",
    tasks: Sequence[str] | None = None,
    without: Mapping[str, Collection[str]] | None = None,
) -> Comparison:
    """Compare side B with side A on `tasks`, or on every task that all runs have scored.

    By task, `without` leaves out some questions. With `leave_out`, a task whose scores cannot be paired is left out as
    well, and takes no other with it.

    Raises:
        UserError: nothing in common, scores that cannot be paired, or runs that were not asked the same and `refuse`.
    """
    a, b = as_arm(a), as_arm(b)
    if different != "leave_out":
        refuse_probes(a, b)
    tasks = common_tasks(a, b) if tasks is None else tasks
    unlike = {task: reasons for task in tasks if (reasons := asked_differently_by_arms(task, a, b))}
    warnings = [reason for reasons in unlike.values() for reason in reasons]
    if warnings and different == "refuse":
        raise refusal(warnings)
    left_out = dict(unlike) if different == "leave_out" else {}
    pairs = []
    for task in tasks:
        if task in left_out:
            continue
        try:
            pairs.append(pair(task, a.runs[0].results[task].headline, a, b, (without or {}).get(task, ())))
        except UserError as error:
            if different != "leave_out":
                raise
            left_out[task] = [str(error)]
    metrics = [metric for each in pairs for metric in compare_pairs(each, a, b)]
    return Comparison(
        a=a.label,
        b=b.label,
        metrics=corrected(sorted(metrics, key=lambda metric: not metric.is_column)),
        flips=[flip for each in pairs for flip in _flips(each)],
        warnings=warnings if different == "allow" else [],
        made_differently=made_differently(a, b),
        left_out=left_out,
        num_seeds=(len(a.runs), len(b.runs)),
        num_matched=len(set(a.keys) & set(b.keys)) if max(len(a.runs), len(b.runs)) > 1 else 0,
        arm_warnings=[*not_one_recipe(a), *not_one_recipe(b)],
    )


def compare_pairs(pairs: Pairs, a: Arm, b: Arm) -> Iterator[MetricComparison]:
    """Every metric of paired scores, the columns first, not yet corrected for being many."""
    task = b.runs[0].results[pairs.task].about
    before, after = (
        [estimates_of(task, pairs.protocol, scores) for scores in runs] for runs in (pairs.runs_a, pairs.runs_b)
    )
    labels = headline_labels(task)
    first = before[0]
    for name in [*(name for name in labels if name in first), *(name for name in first if name not in labels)]:
        own, other = _seeded(name, a, before), _seeded(name, b, after)
        paired = arm_difference(own, other)
        sides = arm_estimate(own), arm_estimate(other)
        every = {run.label: found[name] for run, found in zip((*a.runs, *b.runs), (*before, *after), strict=True)}
        yield MetricComparison(
            task=pairs.task,
            metric=name,
            label=metric_label(task, name),
            protocol=pairs.protocol,
            unit=first[name].unit,
            is_column=name in labels,
            a=sides[0].mean.value,
            b=sides[1].mean.value,
            paired=paired,
            reason=_untested(task, pairs.protocol, every, paired),
            num_pairs=first[name].num_scored,
            num_left_out=pairs.num_left_out,
            num_lost=pairs.num_lost,
            groups_moved=_groups_moved(before[0][name], after[0][name]) if len(every) == 2 else None,
            arms=sides,
        )


def _groups_moved(a: Estimate, b: Estimate) -> tuple[int, int] | None:
    """Clusters that are worth more, and less, in B; None where each answer counts by itself."""
    if b.num_units == b.num_scored:
        return None
    steps = (b.sums[:, 0] - a.sums[:, 0]).sum(axis=0)
    return int((steps > 0).sum()), int((steps < 0).sum())


def _seeded(name: str, arm: Arm, found: Sequence[Mapping[str, Estimate]]) -> Seeded:
    """One metric of an arm's runs by training seed."""
    return {key: estimates[name] for key, estimates in zip(arm.keys, found, strict=True)}


def arm_estimates(arm: Arm, task: str, protocol: str, runs: Sequence[Sequence[Score]]) -> dict[str, ArmEstimate]:
    """Every metric of an arm, of its runs' aligned scores."""
    found = [estimates_of(arm.runs[0].results[task].about, protocol, scores) for scores in runs]
    return {name: arm_estimate(_seeded(name, arm, found)) for name in found[0]}


def _untested(task: Task, protocol: str, sides: Mapping[str, Estimate], paired: Difference | None) -> str | None:
    """Why a difference gets no p-value, no interval and no mark; None where it does. The one place that decides it."""
    if paired is None:
        return NOTHING_SCORED
    for label, estimate in sides.items():
        why = why_not_comparable(task, protocol, estimate.metric())
        if why:
            return f"{label} is {why}"
    return TOO_FEW if paired.test is None else None


def corrected(metrics: Sequence[MetricComparison]) -> list[MetricComparison]:
    """With Holm's correction: the columns are one family, the sub-scores of each task another."""
    families: dict[str, list[int]] = {}
    for place, metric in enumerate(metrics):
        families.setdefault("" if metric.is_column else metric.task, []).append(place)
    known = list(metrics)
    for places in families.values():
        for place, value in zip(places, holm([metrics[place].p for place in places]), strict=True):
            known[place] = replace(metrics[place], p_holm=value)
    return known


def _flips(pairs: Pairs) -> Iterable[Flip]:
    """Questions of another worth; of arms, of another mean worth, and without the seeds' several answers."""
    single = len(pairs.runs_a) == len(pairs.runs_b) == 1
    for scores in zip(*pairs.runs_a, *pairs.runs_b, strict=True):
        first, second = scores[: len(pairs.runs_a)], scores[len(pairs.runs_a) :]
        before, after = _mean_worth(first), _mean_worth(second)
        if before is not None and after is not None and before != after:
            yield Flip(
                task=pairs.task,
                index=first[0].index,
                a=before,
                b=after,
                answer_a=first[0].answer if single else None,
                answer_b=second[0].answer if single else None,
                target=first[0].target,
            )


def _mean_worth(scores: Sequence[Score]) -> float | None:
    values = [score.value for score in scores if score.value is not None]
    return round(sum(values) / len(values), 9) if len(values) == len(scores) else None
