"""A judge as a measured instrument: how far its grades are from people's, and what a score would be by theirs.

Prediction-powered inference (Angelopoulos et al. 2023, arXiv 2301.09633): the judge grades every answer, people grade
some of them, drawn at random. The mean of the judge's grades on the others, plus what people's grades differ from the
judge's on theirs, has the people's mean as its expectation, whatever the judge's bias:

    corrected = w mean(judge, not labelled) + mean(people - w judge, labelled)

The weight w is the one of PPI++ (Angelopoulos et al. 2023, arXiv 2311.01453, section 6, for the mean): by how much the
judge helps, 0 for one that says nothing. Both means stand on the same clusters, so that the standard error is that of
`estimates`: clustered, with Student's quantile. It holds for labels that were drawn at random; hard cases chosen by
hand correct for themselves only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .errors import UserError
from .estimates import Bools, Columns, Estimate, Floats, weighted_sum
from .records import Score

FEWEST = 10
"""Labels below which no correction is offered: its interval would promise more than it can hold."""
NUM_DRAWS = 2000
SEED = 2503


@dataclass(frozen=True, kw_only=True)
class Bias:
    """Judge minus people on the labelled answers of a group, in the grades' unit, with its clustered interval."""

    group: str
    value: float | None
    ci95: tuple[float, float] | None
    num_labels: int


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A judge held against people's grades.

    `alpha`: Krippendorff's, for interval data. `judged` is the mean of the judge's grades, `corrected` the same by
    people's. `weight` of the judge's grades in it.
    """

    num_answers: int
    num_labels: int
    alpha: float
    alpha_ci95: tuple[float, float]
    judged: float
    judged_ci95: tuple[float, float] | None
    corrected: float
    corrected_ci95: tuple[float, float] | None
    weight: float
    biases: list[Bias]


def calibrate(scores: Sequence[Score], labels: Mapping[str, float]) -> Calibration:
    """Judged scores of a task, and people's grades by index.

    Raises:
        UserError: too few labels, or labels of samples that are not there or not graded.
    """
    graded = [score for score in scores if score.value is not None]
    known = {score.index for score in graded}
    strange = sorted(set(labels) - known)
    if strange:
        raise UserError(f"the labels name sample {strange[0]}, which has no grade in this run ({len(strange)} such)")
    if len(labels) < FEWEST:
        raise UserError(f"{len(labels)} labels are too few to correct a score; expected at least {FEWEST}")
    columns = Columns(graded)
    people = np.array([labels.get(score.index, np.nan) for score in graded])
    labelled = ~np.isnan(people)
    weight = tuned_weight(columns.values, people)
    corrected = corrected_mean(columns, people, weight)
    judged = columns.mean(columns.everything, scale=1.0)
    difference = columns.values - people
    groups = {"overall": columns.everything} | {name: columns.among(name) for name in sorted(columns.members)}
    assert corrected.value is not None
    assert judged.value is not None
    return Calibration(
        num_answers=len(graded),
        num_labels=int(labelled.sum()),
        alpha=krippendorff(columns.values[labelled], people[labelled]),
        alpha_ci95=_alpha_interval(columns, people, labelled),
        judged=judged.value,
        judged_ci95=_interval(judged),
        corrected=corrected.value,
        corrected_ci95=corrected.interval(),
        weight=weight,
        biases=[_bias(columns, difference, name, among) for name, among in groups.items()],
    )


def tuned_weight(judge: Floats, people: Floats) -> float:
    """PPI++'s weight of the judge's grades, kept within 0 and 1."""
    labelled = ~np.isnan(people)
    variance = float(judge.var(ddof=1))
    others = int((~labelled).sum())
    if variance == 0 or others == 0:
        return 0.0
    covariance = float(np.cov(judge[labelled], people[labelled])[0, 1])
    return float(np.clip(covariance / ((1 + labelled.sum() / others) * variance), 0.0, 1.0))


def corrected_mean(columns: Columns, people: Floats, weight: float) -> Estimate:
    """The people's mean over all answers, by what they graded and what the judge did."""
    labelled = ~np.isnan(people)
    rectified = columns.mean(labelled, people - weight * columns.values, scale=1.0)
    if labelled.all() or weight == 0:
        return replace(rectified, scale=None)
    others = columns.mean(~labelled, weight * columns.values, scale=1.0)
    return replace(weighted_sum([others, rectified]), scale=None)


def _interval(estimate: Estimate) -> tuple[float, float] | None:
    return replace(estimate, scale=None).interval()


def _bias(columns: Columns, difference: Floats, name: str, among: Bools) -> Bias:
    estimate = columns.mean(among & ~np.isnan(difference), difference, scale=1.0)
    return Bias(group=name, value=estimate.value, ci95=_interval(estimate), num_labels=estimate.num_scored)


def krippendorff(one: Floats, other: Floats) -> float:
    """Krippendorff's alpha of two raters for interval data, of grades (n,) each.

    1 minus observed over expected disagreement; 1 where all grades are the same.
    """
    expected = 2 * float(np.concatenate([one, other]).var(ddof=1))
    return 1.0 if expected == 0 else 1 - float(np.square(one - other).mean()) / expected


def _alpha_interval(columns: Columns, people: Floats, labelled: Bools) -> tuple[float, float]:
    """95 %, by drawing clusters anew; the draws are seeded."""
    random = np.random.default_rng(SEED)
    members: dict[int, list[int]] = {}
    for place in np.flatnonzero(labelled):
        members.setdefault(int(columns.codes[place]), []).append(int(place))
    clusters = list(members.values())
    found = []
    for _ in range(NUM_DRAWS):
        drawn = random.integers(len(clusters), size=len(clusters))
        places = [place for number in drawn for place in clusters[number]]
        found.append(krippendorff(columns.values[places], people[places]))
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)
