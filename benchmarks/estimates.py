"""Estimates with error bars that respect clusters.

An *Estimate* is a number together with what each cluster (a picture, a circular group) has to do with it. Every
metric of the ten tasks is a mean, a ratio of sums (F1, precision, LLaVA-Bench's relative score) or a weighted sum of
such (macro means, MME's accuracy + accuracy-plus). Linearised (the delta method), each is a sum of independent
cluster influences, so one formula gives the standard error of all of them, of their sums, and of paired differences
between two runs on the same samples (`paired_tests.py`):

    SE^2 = sum over clusters of influence^2 / (1 - w)        w: the cluster's share of what the metric divides by

That is the clustered standard error (Miller 2024, arXiv 2411.00640, section 2.2) with Bell and McCaffrey's correction
for few and unequal clusters; with G equal ones it is the usual factor G / (G - 1), and G - 1 the degrees of freedom.

Intervals of bounded metrics are Wilson's at the effective sample size p (1 - p) / SE^2 with Student's quantile,
because Wald intervals are too short for a few hundred items and near 0 or 100 (Bowyer et al. 2025, arXiv 2503.01747).
What was measured about them, and their known limit, stand in docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .records import Metric, Score

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A metric's value and what it rests on. Arrays are (G,), one entry a cluster of the task.

    `influence` sums to 0; `corrected` is the influence over sqrt(1 - w). `present` marks clusters with at least one
    scored sample; `degrees` of freedom are fewer than clusters - 1 where these are unequal. `scale` is the largest
    possible value (100, MME's 2000); None: unbounded. `value` is None when nothing could be scored.

    `sums` is (R, 2, G): what each cluster adds to the top and to the bottom of each of the R ratios behind the value.
    `right_or_wrong`: it is the plain mean of answers worth 0 or 1, one of them a cluster. A weighted sum remembers its
    `parts` and their common `weight`. `num_units`: scores behind it, each of one or several samples.
    """

    value: float | None
    labels: NDArray[Any]
    sums: Floats
    influence: Floats
    corrected: Floats
    present: Bools
    degrees: float
    num_samples: int
    num_scored: int
    num_units: int
    num_unread: int = 0
    scale: float | None = 100.0
    unit: Literal["percent", "points"] = "percent"
    right_or_wrong: bool = False
    parts: tuple[Estimate, ...] = ()
    weight: float = 1.0
    unclustered: float = 0.0
    """Variance that lies in no cluster, added to theirs: what a judge's gradings of all answers have in common."""

    @property
    def num_clusters(self) -> int:
        return int(self.present.sum())

    @property
    def std_error(self) -> float | None:
        """None when fewer than two clusters stand behind the value, or behind a part of it."""
        if self.value is None or self.num_clusters < 2 or any(part.std_error is None for part in self.parts):
            return None
        return float(np.sqrt(np.square(self.corrected).sum() + self.unclustered))

    def interval(self) -> tuple[float, float] | None:
        """95 % confidence interval; None where there is no standard error."""
        error = self.std_error
        if self.value is None or error is None:
            return None
        quantile = student_quantile(self.degrees)
        if self.scale is None:
            return self.value - quantile * error, self.value + quantile * error
        share, spread = self.value / self.scale, error / self.scale
        # Without any spread (all right, all wrong) the clusters themselves are the sample.
        size = share * (1 - share) / spread**2 if spread > 1e-12 and 0 < share < 1 else self.num_clusters
        low, high = wilson(share, size, quantile)
        return low * self.scale, high * self.scale

    def metric(self) -> Metric:
        return Metric(
            value=self.value,
            ci95=self.interval(),
            num_samples=self.num_samples,
            num_scored=self.num_scored,
            num_unscored=self.num_samples - self.num_scored,
            num_unread=self.num_unread,
            num_units=None if self.num_units == self.num_scored else self.num_units,
            unit=self.unit,
        )


def student_quantile(degrees: float) -> float:
    """The two-sided 95 % quantile."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 1 - ALPHA / 2))


def wilson(share: float, size: float, quantile: float) -> tuple[float, float]:
    """Wilson's score interval of a share of `size` (effective) samples (Wilson 1927).

    To the bit what statsmodels' `proportion_confint` gives for the quantile's probability, without the second that
    importing it takes; hence the way by the probability and the order of the operations.
    """
    from scipy.special import ndtr, ndtri

    share_, z = share * size / size, -ndtri(ndtr(-quantile))
    square = z**2
    divisor = 1 + square / size
    center = (share_ + square / (2 * size)) / divisor
    reach = z * np.sqrt(share_ * (1 - share_) / size + square / (4 * (size * size))) / divisor
    return max(0.0, min(float(center - reach), share)), min(1.0, max(float(center + reach), share))


class Columns:
    """Scores of one protocol as arrays (N,), and estimates made of them."""

    def __init__(self, scores: Sequence[Score]) -> None:
        self.scores = scores
        self.values: Floats = np.array([np.nan if s.value is None else s.value for s in scores], dtype=np.float64)
        clusters = np.array([score.cluster for score in scores], dtype=object)
        self.labels, self.codes = np.unique(clusters, return_inverse=True)
        members: dict[str, list[int]] = {}
        for position, score in enumerate(scores):
            for group in score.groups:
                members.setdefault(group, []).append(position)
        self.members = members
        self.sizes: Floats = np.array([score.parts.get("num_samples", 1.0) for score in scores], dtype=np.float64)
        """Samples behind each score: 1, but for scores merged from a group."""
        self.unread: Floats = np.array([s.parts.get("num_unread", float(s.unread)) for s in scores], dtype=np.float64)
        """How many of them are unread."""

    @property
    def everything(self) -> Bools:
        """(number of scores,), all True."""
        return np.ones(len(self.scores), dtype=np.bool_)

    def among(self, group: str) -> Bools:
        """Which scores count towards a group."""
        mask = np.zeros(len(self.scores), dtype=np.bool_)
        mask[self.members.get(group, [])] = True
        return mask

    def part(self, name: str) -> Floats:
        """One of the scores' `parts`; NaN where a score has none."""
        return np.array([score.parts.get(name, np.nan) for score in self.scores], dtype=np.float64)

    def mean(self, among: Bools, values: Floats | None = None, *, scale: float = 100.0) -> Estimate:
        """`scale` times the mean of values in 0..1 (default: the scores' own) over the scored samples `among`."""
        values = self.values if values is None else values
        return self.ratio(values, np.where(np.isnan(values), np.nan, 1.0), among, scale=scale)

    def ratio(
        self,
        top: Floats,
        bottom: Floats,
        among: Bools,
        *,
        scale: float = 100.0,
        bounded: bool = True,
        empty: float | None = None,
    ) -> Estimate:
        """`scale` times sum(top) / sum(bottom) over the scored samples `among`; `empty` where the bottom is 0."""
        scored = among & ~np.isnan(top) & ~np.isnan(bottom)
        numerator, denominator = self.per_cluster(top, scored), self.per_cluster(bottom, scored)
        total = denominator.sum()
        defined = total > 0
        ratio = numerator.sum() / total if defined else 0.0
        value = scale * float(ratio) if defined else (empty if scored.any() else None)
        divisor = total if defined else 1.0
        influence = scale * (numerator - ratio * denominator) / divisor
        share = denominator / divisor
        counts = self.per_cluster(np.ones(len(scored)), scored)
        single = counts.max(initial=0) <= 1 and bool(np.all(bottom[scored] == 1))
        return Estimate(
            value=value,
            labels=self.labels,
            sums=np.stack([numerator, denominator])[None],
            influence=influence,
            corrected=influence / np.sqrt(np.where(share < 1, 1 - share, 1.0)),
            degrees=max(1.0, 1 / max(np.square(share).sum(), 1e-12) - 1),
            present=counts > 0,
            num_samples=int(self.sizes[among].sum()),
            num_scored=int(self.sizes[scored].sum()),
            num_units=int(scored.sum()),
            num_unread=int(self.unread[scored].sum()),
            scale=scale if bounded else None,
            right_or_wrong=single and bool(np.isin(top[scored], (0.0, 1.0)).all()),
        )

    def per_cluster(self, values: Floats, scored: Bools) -> Floats:
        """Sums (G,) of the scored samples' values."""
        return np.bincount(self.codes[scored], weights=values[scored], minlength=len(self.labels)).astype(np.float64)


def weighted_sum(parts: Sequence[Estimate], weight: float = 1.0) -> Estimate:
    """`weight` times the sum of estimates over the same clusters; None as soon as one of them has no value."""
    known = [part.value for part in parts if part.value is not None]
    scales = [part.scale for part in parts if part.scale is not None]
    return replace(
        parts[0],
        value=weight * sum(known) if len(known) == len(parts) else None,
        sums=np.concatenate([part.sums for part in parts]),
        influence=weight * np.sum([part.influence for part in parts], axis=0),
        corrected=weight * np.sum([part.corrected for part in parts], axis=0),
        degrees=_satterthwaite(parts),
        present=np.any([part.present for part in parts], axis=0),
        num_samples=sum(part.num_samples for part in parts),
        num_scored=sum(part.num_scored for part in parts),
        num_units=sum(part.num_units for part in parts),
        num_unread=sum(part.num_unread for part in parts),
        scale=weight * sum(scales) if len(scales) == len(parts) else None,
        right_or_wrong=False,
        parts=tuple(parts),
        weight=weight,
        unclustered=weight**2 * sum(part.unclustered for part in parts),
    )


def _satterthwaite(parts: Sequence[Estimate]) -> float:
    """Degrees of freedom of a sum: Welch's and Satterthwaite's, the smallest part's where nothing varies."""
    variances = np.array([np.square(part.corrected).sum() + part.unclustered for part in parts])
    degrees = np.array([part.degrees for part in parts])
    spread = np.square(variances) / degrees
    return float(np.square(variances.sum()) / spread.sum()) if spread.sum() > 0 else float(degrees.min())


def mean_by_group(
    scores: Sequence[Score], overall: str | None = "overall", scale: float = 100.0
) -> dict[str, Estimate]:
    """The mean over all samples under the name `overall` (None: none), and of each group under the group's name."""
    columns = Columns(scores)
    estimates = {overall: columns.mean(columns.everything, scale=scale)} if overall else {}
    return estimates | {group: columns.mean(columns.among(group), scale=scale) for group in sorted(columns.members)}


Estimator = Callable[[Sequence[Score]], dict[str, Estimate]]
