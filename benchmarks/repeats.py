"""Answers that a judge graded several times: what the judge's own spread adds to a metric's error.

Questions and repeats are crossed: every judging grades every answer. A metric over the means of the repeats varies for
the reasons of `arms.py`, with judgings in the place of training seeds:

    V = questions + judgings - interaction

- **questions**: the clustered variance of the means over repeats. It holds what questions add, and a judge that grades
  each answer by its own luck (its variance over the number of repeats): one judging's interval holds that, too.
- **judgings**: the variance of the repeats' own values over their number. Beyond the interaction, it is what all grades
  of one judging have in common: a judge that is kind today. One judging cannot know it, and its interval does not hold
  it.
- **interaction**: the luck of single grades, which stands in both and is counted once.

What judgings add beyond the interaction never counts as less than 0. Degrees of freedom are Satterthwaite's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .arms import arm_estimate
from .estimates import Estimate, Estimator
from .records import Score

REPEAT, REFERENCE = "repeat_", "reference_repeat_"
"""Parts of a score: the grade that each judging gave the answer, and the reference where that is graded too."""


def with_repeats(estimate: Estimator) -> Estimator:
    """The same metrics, whose errors hold what repeated judgings have found of the judge's own spread."""

    def estimates(scores: Sequence[Score]) -> dict[str, Estimate]:
        whole = estimate(scores)
        numbers = _repeats(scores)
        if len(numbers) < 2:
            return whole
        apart = {number: estimate([_of_repeat(score, number) for score in scores]) for number in numbers}
        return {
            name: _with_judgings(found, {number: each[name] for number, each in apart.items()})
            for name, found in whole.items()
        }

    return estimates


def _repeats(scores: Sequence[Score]) -> list[int]:
    """The numbers of the judgings that every graded answer has."""
    common: set[str] | None = None
    for score in scores:
        if score.value is not None:
            own = {name for name in score.parts if name.startswith(REPEAT)}
            common = own if common is None else common & own
    return sorted(int(name.removeprefix(REPEAT)) for name in common or ())


def _of_repeat(score: Score, number: int) -> Score:
    """The score as this judging alone has it."""
    if score.value is None:
        return score
    reference = score.parts.get(f"{REFERENCE}{number}")
    parts = {} if reference is None else {"reference": reference}
    return replace(score, value=score.parts[f"{REPEAT}{number}"], parts=parts)


def _with_judgings(whole: Estimate, apart: dict[int | str, Estimate]) -> Estimate:
    variances = arm_estimate(apart).variances
    error = whole.std_error
    if variances is None or error is None:
        return whole
    variances = replace(variances, questions=error**2, question_degrees=whole.degrees)
    return replace(whole, unclustered=max(0.0, variances.total - variances.questions), degrees=variances.degrees)
