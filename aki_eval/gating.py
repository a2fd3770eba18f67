"""Has a run lost more than it may? One metric at a time, by the paired difference to a baseline and its one-sided
bounds.

Non-inferiority with three outcomes: a drop is within what is allowed, beyond it, or the questions cannot tell. All
metrics have to be within for a GO (each is a chance to fail, so no correction is due); one beyond suffices for a
NO-GO (each is a chance for a false alarm, so the confidence is Bonferroni's).

A policy that decides by the difference (a frozen model) knows two outcomes: within what is allowed, or not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.errors import UserError
from benchmarks.results.folder import RunFolder
from benchmarks.scoring import estimates_of
from benchmarks.statistics import Difference, Estimate, paired_difference
from benchmarks.tasks import TASKS

from .gate_policy import Policy
from .pairing import Pairs, differences, pair, refuse

Verdict = Literal["GO", "NO-GO", "INCONCLUSIVE"]

EXIT_CODES: dict[Verdict, int] = {"GO": 0, "NO-GO": 1, "INCONCLUSIVE": 3}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One metric of the policy. `bounds`: the one-sided ones of run minus baseline, lowest and highest difference."""

    task: str
    metric: str
    allowed_drop: float
    verdict: Verdict
    reason: str
    baseline: float | None = None
    run: float | None = None
    difference: float | None = None
    bounds: tuple[float, float] | None = None
    num_lost: int = 0


@dataclass(frozen=True, kw_only=True)
class Decision:
    run: str
    baseline: str
    policy: Policy
    checks: list[Check]
    warnings: list[str]

    @property
    def verdict(self) -> Verdict:
        verdicts = {check.verdict for check in self.checks}
        return "NO-GO" if "NO-GO" in verdicts else "INCONCLUSIVE" if "INCONCLUSIVE" in verdicts else "GO"


def decide(run: RunFolder, baseline: RunFolder, policy: Policy, *, allowed: bool = False) -> Decision:
    """Raises:
    UserError: run and baseline were not asked the same and that is not `allowed`, or a metric does not exist.
    """
    shared = [task for task in policy.tasks if task in run.results and task in baseline.results]
    warnings = differences(baseline, run, shared)
    if warnings and not allowed:
        refuse(warnings)
    checks = [check for task in policy.tasks for check in _check_task(task, run, baseline, policy)]
    if policy.decide_by == "difference":
        checks = [_by_difference(check) for check in checks]
    return Decision(run=run.label, baseline=baseline.label, policy=policy, checks=checks, warnings=warnings)


def _by_difference(check: Check) -> Check:
    """The same check without "the questions cannot tell". Lost samples and what was not measured stay reasons."""
    if check.difference is None or check.num_lost:
        return replace(check, verdict="NO-GO")
    drop = max(0.0, -check.difference)
    verdict: Verdict = "GO" if drop <= check.allowed_drop else "NO-GO"
    return replace(check, verdict=verdict, reason=f"dropped by {drop:.2f}, allowed are {check.allowed_drop:g}")


def _check_task(task: str, run: RunFolder, baseline: RunFolder, policy: Policy) -> list[Check]:
    wanted = {metric: drop for (name, metric), drop in policy.allowed_drop.items() if name == task}
    for label, side in (("run", run), ("baseline", baseline)):
        if task not in side.results:
            reason = f"{task} is not scored in the {label}"
            return [_unclear(task, metric, drop, reason) for metric, drop in wanted.items()]
    pairs = pair(task, baseline.results[task].headline, baseline, run)
    before, after = (estimates_of(TASKS[task], pairs.protocol, scores) for scores in (pairs.a, pairs.b))
    unknown = sorted(wanted.keys() - before.keys())
    if unknown:
        raise UserError(f"the policy names {task}.{unknown[0]}, which {task} does not have; it has {', '.join(before)}")
    level = policy.confidence, 1 - (1 - policy.confidence) / len(policy.allowed_drop)
    return [_check(pairs, metric, drop, before[metric], after[metric], level) for metric, drop in wanted.items()]


def _check(
    pairs: Pairs, metric: str, drop: float, before: Estimate, after: Estimate, level: tuple[float, float]
) -> Check:
    difference = paired_difference(before, after)
    if difference is None:
        return _unclear(pairs.task, metric, drop, "no sample is scored in both")
    if difference.std_error is None:
        return _unclear(pairs.task, metric, drop, "fewer than two independent clusters")
    bounds = (
        _bound(difference, difference.std_error, -1, level[0]),
        _bound(difference, difference.std_error, 1, level[1]),
    )
    verdict, reason = _judge(bounds, drop, difference.smallest_detectable())
    if pairs.num_lost and verdict == "GO":
        verdict, reason = "INCONCLUSIVE", f"samples scored in the baseline and unscored in the run: {pairs.num_lost}"
    return Check(
        task=pairs.task,
        metric=metric,
        allowed_drop=drop,
        verdict=verdict,
        reason=reason,
        baseline=before.value,
        run=after.value,
        difference=difference.value,
        bounds=bounds,
        num_lost=pairs.num_lost,
    )


def _judge(bounds: tuple[float, float], drop: float, detectable: float | None) -> tuple[Verdict, str]:
    if bounds == (0.0, 0.0):
        return "GO", "no cluster of questions changed its worth"
    if bounds[1] < -drop:
        return "NO-GO", f"dropped by at least {-bounds[1]:.2f}, allowed are {drop:g}"
    if bounds[0] >= -drop:
        return "GO", f"dropped by at most {max(0.0, -bounds[0]):.2f}, allowed are {drop:g}"
    return "INCONCLUSIVE", f"the drop may be {-bounds[0]:.2f}; on these questions {detectable:.2f} can be detected"


def _bound(difference: Difference, error: float, side: Literal[-1, 1], confidence: float) -> float:
    from scipy.special import stdtrit

    return difference.value + side * float(stdtrit(difference.num_clusters - 1, confidence)) * error


def _unclear(task: str, metric: str, drop: float, reason: str) -> Check:
    return Check(task=task, metric=metric, allowed_drop=drop, verdict="INCONCLUSIVE", reason=reason)
