"""Reading a model without parsing: how probable it holds each option, at the place where its answer begins.

Two protocols. `likelihood`: the log-probabilities of the options' letters, or of Yes and No; the answer is the most
probable one. `likelihood_text`: those of the options' whole texts, divided by their numbers of tokens. Nothing is
generated, so nothing can be unread; what has no options is unscored, and so is a question of which one option has no
probability: a server tells those of its most probable tokens only. The evidence is `likelihoods.jsonl`.

Beside the benchmark's own metrics:

- `calibration/ece`: expected calibration error in 15 bins of equal width (Guo et al. 2017, arXiv 1706.04599), of the
  probability of the chosen option among the options. Its interval is the delta method's with the signs of the bins held
  fixed; as a sum of absolute values it is biased upwards by what a bin's noise gives.
- `yes/auc` (yes/no questions): the probability that a question whose answer is yes gets a higher P(yes) than one whose
  answer is no; no threshold is in it. Interval after DeLong et al. (1988), clustered.
- `yes/bias`: mean P(yes) minus the share of questions whose answer is yes, in points of percent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import exp, fsum

import numpy as np
from numpy.typing import NDArray

from .estimates import Columns, Estimate, Estimator, Floats, weighted_sum
from .records import Judge, Prediction, Sample, Score
from .scoring import scored, split_answered, unscored
from .task import ProtocolRule

LABELS, TEXTS = "likelihood", "likelihood_text"
NAMES = (LABELS, TEXTS)
YES_NO: Mapping[str, tuple[str, ...]] = {"Yes": ("Yes", "yes"), "No": ("No", "no")}
NO_OPTIONS = "no_options"
NO_PROBABILITY = "no_probability"
NOT_ALL = "option_without_probability"
NUM_BINS = 15


def labels_of(sample: Sample) -> dict[str, tuple[str, ...]]:
    """Option -> the ways to write it that count as it. Empty where a question has no options."""
    if sample.choices:
        return {letter: (letter,) for letter in sample.choices}
    return dict(YES_NO) if sample.target in YES_NO else {}


def texts_of(sample: Sample) -> dict[str, tuple[str, ...]]:
    """Option -> its text."""
    return {letter: (text,) for letter, text in sample.choices.items() if text.strip()}


def probabilities(logprobs: Mapping[str, float]) -> dict[str, float]:
    """The options' shares of their common probability."""
    most = max(logprobs.values())
    weights = {name: exp(value - most) for name, value in logprobs.items()}
    total = fsum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def scorer(protocol: str) -> Callable[[Sequence[Sample], Sequence[Prediction], Judge | None], list[Score]]:
    """Scores from predictions that carry log-probabilities."""

    def score(samples: Sequence[Sample], predictions: Sequence[Prediction], judge: Judge | None) -> list[Score]:
        scores, answered = split_answered(samples, predictions, protocol)
        known = {prediction.index: prediction.logprobs for prediction in predictions}
        for sample, _ in answered:
            scores[sample.index] = _score(sample, known[sample.index] or {}, protocol)
        for sample in samples:
            if not (labels_of(sample) if protocol == LABELS else texts_of(sample)):
                scores[sample.index] = unscored(sample, protocol, NO_OPTIONS)
        return [scores[sample.index] for sample in samples]

    return score


def _score(sample: Sample, logprobs: Mapping[str, float], protocol: str) -> Score:
    options = labels_of(sample) if protocol == LABELS else texts_of(sample)
    if not logprobs or len(options) < 2 or sample.target not in options:
        return unscored(sample, protocol, NO_PROBABILITY)
    if options.keys() - logprobs.keys():
        return unscored(sample, protocol, NOT_ALL)
    shares = probabilities(logprobs)
    chosen = max(shares, key=lambda name: shares[name])
    parts = {"confidence": shares[chosen]} | ({"p_yes": shares["Yes"]} if "Yes" in shares else {})
    return scored(sample, protocol, float(chosen == sample.target), answer=chosen, parts=parts)


def with_calibration(estimate: Estimator) -> Estimator:
    """A benchmark's own metrics, and what probabilities tell besides."""

    def estimates(scores: Sequence[Score]) -> dict[str, Estimate]:
        columns = Columns(scores)
        more = {"calibration/ece": calibration_error(columns)}
        if any("p_yes" in score.parts for score in scores):
            more |= {"yes/auc": area_under_curve(columns), "yes/bias": yes_bias(columns)}
        return estimate(scores) | more

    return estimates


def rules(estimate: Estimator, names: Sequence[str] = NAMES) -> dict[str, ProtocolRule]:
    """The protocols, scored only when asked for: their evidence is asked of the model."""
    return {
        name: ProtocolRule(score=scorer(name), estimate=with_calibration(estimate), on_request=True) for name in names
    }


def bins(confidence: Floats) -> NDArray[np.int64]:
    """Of 15 of equal width, the number (N,) of each confidence's."""
    numbers: NDArray[np.int64] = np.minimum((np.nan_to_num(confidence) * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    return numbers


def calibration_error(columns: Columns) -> Estimate:
    """The mean over samples of |confidence - accuracy| of their bins."""
    confidence = columns.part("confidence")
    gap = np.where(np.isnan(columns.values), np.nan, confidence - columns.values)
    place = bins(confidence)
    sums = np.bincount(place, weights=np.nan_to_num(gap), minlength=NUM_BINS)
    return columns.mean(columns.everything, np.where(sums >= 0, 1.0, -1.0)[place] * gap)


def area_under_curve(columns: Columns) -> Estimate:
    """Of P(yes) for telling yes from no; ties count half."""
    from scipy.stats import rankdata

    p_yes = columns.part("p_yes")
    there = ~np.isnan(p_yes) & ~np.isnan(columns.values)
    is_yes = np.array([score.target == "Yes" for score in columns.scores])
    beats = np.full(len(p_yes), np.nan)
    for own, others in ((is_yes & there, ~is_yes & there), (~is_yes & there, is_yes & there)):
        if own.any() and others.any():
            among_all = rankdata(p_yes[own | others])[own[own | others]]
            above = among_all - rankdata(p_yes[own])  # others below, ties half
            beats[own] = above / others.sum()
    beats = np.where(is_yes, beats, 1 - beats)
    halves = [columns.mean(side, beats) for side in (is_yes, ~is_yes)]
    value = halves[0].value if halves[1].value is not None else None
    return replace(weighted_sum(halves), value=value, scale=100.0, parts=())


def yes_bias(columns: Columns) -> Estimate:
    """Mean P(yes) minus the share of yes among the right answers; from -100 to 100."""
    p_yes = columns.part("p_yes")
    is_yes = np.array([float(score.target == "Yes") for score in columns.scores])
    gap = np.where(np.isnan(columns.values), np.nan, p_yes - is_yes)
    return columns.ratio(gap, np.where(np.isnan(gap), np.nan, 1.0), columns.everything, bounded=False)
