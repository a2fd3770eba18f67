"""Has a run lost more than it may?

One metric at a time, by the paired difference to a baseline and its one-sided bounds.

Non-inferiority with three outcomes: a drop is within what is allowed, beyond it, or the questions cannot tell. All
metrics have to be within for a GO (each is a chance to fail, so no correction is due); one beyond suffices for a
NO-GO (each is a chance for a false alarm, so the confidence is Bonferroni's).

A policy that decides by the difference (a frozen model) knows two outcomes: within what is allowed, or not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from ..catalogue import in_order
from ..errors import UserError
from ..tasks import TASKS
from .comparison import MetricComparison, compare
from .folder import RunFolder
from .gate_policy import Policy

Verdict = Literal["GO", "NO-GO", "INCONCLUSIVE"]

EXIT_CODES: dict[Verdict, int] = {"GO": 0, "NO-GO": 1, "INCONCLUSIVE": 3}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One metric of the policy. `bounds`: the one-sided ones of run minus baseline, lowest and highest difference.

    None where there are none: nothing to compare, or nothing that moved.
    """

    task: str
    metric: str
    allowed_drop: float
    verdict: Verdict
    reason: str
    compared: MetricComparison | None = None
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What the gate says of a run: a check for each metric, and the verdict that follows from all."""

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
    """Compare the run with the baseline on the policy's tasks and judge every metric that it names.

    Raises:
        UserError: run and baseline were not asked the same and that is not `allowed`, or a metric does not exist.
    """
    _refuse_unknown(policy, run, baseline)
    policy = _with_other_tasks(policy, run, baseline)
    shared = [task for task in policy.tasks if task in run.results and task in baseline.results]
    comparison = compare(baseline, run, different="allow" if allowed else "refuse", tasks=shared)
    checks = []
    for (task, name), drop in policy.allowed_drop.items():
        if task not in shared:
            where = "run" if task not in run.results else "baseline"
            checks.append(_unclear(task, name, drop, f"{task} is not scored in the {where}"))
            continue
        known = comparison.of_task(task)
        if name not in known:
            raise UserError(f"the policy names {task}.{name}, which {task} does not have; it has {', '.join(known)}")
        checks.append(_check(known[name], drop, policy))
    if policy.decide_by == "difference":
        answers = {task: (_Answers.of(baseline, task), _Answers.of(run, task)) for task in shared}
        checks = [_by_difference(check, policy, *answers.get(check.task, (None, None))) for check in checks]
    return Decision(run=run.label, baseline=baseline.label, policy=policy, checks=checks, warnings=comparison.warnings)


def _refuse_unknown(policy: Policy, run: RunFolder, baseline: RunFolder) -> None:
    """Refuses a policy with a task that nobody has.

    Raises:
        UserError: it is neither the paper's nor one of the two runs'.
    """
    here = in_order([*TASKS, *run.results, *run.unscored, *baseline.results])
    unknown = next((task for task in policy.tasks if task not in here), None)
    if unknown is not None:
        raise UserError(f"the gate's policy names a task {unknown!r}; expected some of {', '.join(here)}")


def _with_other_tasks(policy: Policy, run: RunFolder, baseline: RunFolder) -> Policy:
    """The policy with what it allows tasks that it does not name, spelled out."""
    if policy.other_tasks is None:
        return policy
    others = {
        (task, metric): policy.other_tasks
        for task, result in run.results.items()
        if task not in TASKS and task in baseline.results and task not in policy.tasks
        for metric in result.about.headline_metrics
    }
    return replace(policy, allowed_drop=policy.allowed_drop | others)


class _Answers(NamedTuple):
    """How many of a task's answers there are, and how many nobody could read."""

    num: int
    num_unread: int

    @staticmethod
    def of(folder: RunFolder, task: str) -> _Answers:
        scores = folder.scores(task, folder.results[task].headline)
        return _Answers(len(scores), sum(score.unread for score in scores))


def _by_difference(check: Check, policy: Policy, before: _Answers | None, now: _Answers | None) -> Check:
    """The same check without "the questions cannot tell". Lost samples and what was not measured stay reasons.

    Answers that nobody could read speak against a comparison of two models, not of a frozen one with itself: they are
    unread on both sides. More of them than before is a loss that the value alone may hide.
    """
    compared = check.compared
    if compared is None or compared.difference is None or compared.num_lost or before is None or now is None:
        return replace(check, verdict="NO-GO")
    if now.num_unread - before.num_unread > policy.allowed_unread / 100 * now.num:
        reason = f"answers that could not be read: {now.num_unread}, in the baseline {before.num_unread}"
        return replace(check, verdict="NO-GO", reason=reason)
    drop = max(0.0, -compared.difference)
    verdict: Verdict = "GO" if drop <= check.allowed_drop else "NO-GO"
    return replace(check, verdict=verdict, reason=f"dropped by {drop:.2f}, allowed are {check.allowed_drop:g}")


def _check(compared: MetricComparison, drop: float, policy: Policy) -> Check:
    paired = compared.paired
    if compared.reason or paired is None:
        return _unclear(compared.task, compared.metric, drop, str(compared.reason), compared)
    low, high = paired.bound(-1, policy.confidence), paired.bound(1, policy.family_confidence)
    bounds = None if low is None or high is None or paired.num_moved == 0 else (low, high)
    verdict, reason = _judge(bounds, drop, paired.detectable)
    if compared.num_lost and verdict == "GO":
        verdict, reason = "INCONCLUSIVE", f"samples scored in the baseline and unscored in the run: {compared.num_lost}"
    return Check(
        task=compared.task,
        metric=compared.metric,
        allowed_drop=drop,
        verdict=verdict,
        reason=reason,
        compared=compared,
        bounds=bounds,
    )


def _judge(bounds: tuple[float, float] | None, drop: float, detectable: float | None) -> tuple[Verdict, str]:
    if bounds is None:
        return "GO", "no cluster of questions changed its worth"
    if bounds[1] < -drop:
        return "NO-GO", f"dropped by at least {-bounds[1]:.2f}, allowed are {drop:g}"
    if bounds[0] >= -drop:
        return "GO", f"dropped by at most {max(0.0, -bounds[0]):.2f}, allowed are {drop:g}"
    able = f"; on these questions {detectable:.2f} can be detected" if detectable else ""
    return "INCONCLUSIVE", f"the drop may be {-bounds[0]:.2f}{able}"


def _unclear(task: str, metric: str, drop: float, reason: str, compared: MetricComparison | None = None) -> Check:
    return Check(task=task, metric=metric, allowed_drop=drop, verdict="INCONCLUSIVE", reason=reason, compared=compared)
