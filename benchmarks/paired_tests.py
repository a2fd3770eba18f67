"""Is run B's metric different from run A's on the same samples? The p-value and the interval that say so together.

Which test a metric gets follows from what it is, never from what came out:

- **exact McNemar** for the plain mean of right-or-wrong answers that do not depend on each other (one to a cluster).
  Its interval is Fay and Lumbard's (Statistics in Medicine 2021, doi 10.1002/sim.8829), made to agree with it.
- **clustered t** for everything else: several questions to a picture, grades, ratios, macro means. Standard error after
  Bell and McCaffrey, degrees of freedom after Satterthwaite.

Either way the 95 % interval leaves 0 out exactly where p < 0.05. docs/statistics.md gives reasons and measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Literal

import numpy as np

from .estimates import ALPHA, Bools, Estimate, Floats, weighted_sum

MCNEMAR = "exact McNemar"
CLUSTERED_T = "clustered t"

Side = Literal[-1, 1]
"""Of a bound: -1 the lowest, 1 the highest difference."""


@dataclass(frozen=True)
class McNemar:
    """Questions that only B answered right, only A, of how many; each is worth `scale` / `num_pairs`."""

    won: int
    lost: int
    num_pairs: int
    scale: float

    name = MCNEMAR
    degrees = None

    @cached_property
    def p(self) -> float:
        """Two-sided: twice the smaller binomial tail of the questions that flipped."""
        from statsmodels.stats.contingency_tables import mcnemar

        return float(mcnemar([[0, self.lost], [self.won, 0]], exact=True).pvalue)

    def bound(self, side: Side, confidence: float) -> float:
        """One-sided bound of the difference."""
        won, lost = (self.won, self.lost) if side < 0 else (self.lost, self.won)
        return -side * self.scale * lowest_difference(won, lost, self.num_pairs, 1 - confidence)


@dataclass(frozen=True)
class ClusteredT:
    """A difference with its clustered standard error and degrees of freedom.

    With few clusters that moved, Student's law promises more than they can show: if all `num_moved` moved the same
    way, chance alone does that with probability 2^(1 - num_moved), whatever the steps. p is never below it, and a
    bound stops at 0 where it would contradict that.
    """

    value: float
    std_error: float
    degrees: float
    num_moved: int
    num_clusters: int
    scale: float | None

    name = CLUSTERED_T

    @property
    def p(self) -> float:
        """Two-sided."""
        from scipy.special import stdtr

        if self.num_moved == 0:
            return 1.0
        by_student = 2 * stdtr(self.degrees, -abs(self.value) / self.std_error) if self.std_error else 0.0
        return max(float(by_student), 2.0 ** (1 - self.num_moved))

    def bound(self, side: Side, confidence: float) -> float | None:
        """One-sided bound of the difference; None where nothing moved on a scale without end."""
        from scipy.special import stdtrit

        if self.num_moved == 0:  # no spread: what the clusters, as a sample, leave possible
            return None if self.scale is None else side * self.scale * _most_unseen(self.num_clusters, 1 - confidence)
        bound = self.value + side * float(stdtrit(self.degrees, confidence)) * self.std_error
        beyond_zero = bound * side < 0
        return 0.0 if beyond_zero and 2.0**-self.num_moved > 1 - confidence else bound


def _most_unseen(num: int, level: float) -> float:
    """The largest share that `num` draws miss altogether with probability `level`."""
    return float(1 - level ** (1 / num))


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A metric of run B minus that of run A on the same samples.

    `test` is None where fewer than two clusters stand behind it, or behind a part of it: nothing can be said then.
    """

    value: float
    std_error: float | None
    num_clusters: int
    num_moved: int
    test: McNemar | ClusteredT | None

    @property
    def p(self) -> float | None:
        """Two-sided."""
        return self.test.p if self.test else None

    @property
    def ci95(self) -> tuple[float, float] | None:
        low, high = (self.bound(side, 1 - ALPHA / 2) for side in (-1, 1))
        return None if low is None or high is None else (low, high)

    @property
    def degrees(self) -> float | None:
        """Of freedom; None for an exact test."""
        return self.test.degrees if self.test else None

    @property
    def detectable(self) -> float | None:
        """The true difference that this comparison finds with 80 % power.

        None where nothing differed, and where there are too few clusters for any to be found: then all of them moving
        one way would be seen less often.
        """
        if not self.std_error or self.test is None or self.num_clusters < clusters_needed():
            return None
        return smallest_detectable_difference(self.std_error, degrees=self.degrees, num_moved=self.num_moved)

    def bound(self, side: Side, confidence: float) -> float | None:
        """The lowest (-1) or highest (1) true difference, with one-sided `confidence`."""
        return self.test.bound(side, confidence) if self.test else None


def paired_difference(a: Estimate, b: Estimate) -> Difference | None:
    """B minus A; None where either has no value.

    Raises:
        ValueError: the two do not stand on the same clusters.
    """
    check_same_clusters(a, b)
    if a.value is None or b.value is None:
        return None
    value, joint, moved = b.value - a.value, minus(b, a), moved_clusters(a, b)
    return Difference(
        value=value,
        std_error=joint.std_error,
        num_clusters=joint.num_clusters,
        num_moved=int(moved.sum()),
        test=_test(a, b, joint, int(moved.sum())),
    )


def check_same_clusters(a: Estimate, b: Estimate) -> None:
    """Refuses two metrics of different clusters.

    Raises:
        ValueError: the two do not stand on the same clusters.
    """
    if not (np.array_equal(a.labels, b.labels) and np.array_equal(a.present, b.present)):
        raise ValueError("a paired comparison needs the same samples on both sides, but the clusters differ")


def _test(a: Estimate, b: Estimate, joint: Estimate, num_moved: int) -> McNemar | ClusteredT | None:
    if joint.std_error is None:
        return None
    assert joint.value is not None
    if a.right_or_wrong and b.right_or_wrong and b.scale is not None:
        step = b.sums[0, 0] - a.sums[0, 0]
        return McNemar(int((step > 0).sum()), int((step < 0).sum()), b.num_clusters, b.scale)
    return ClusteredT(joint.value, joint.std_error, joint.degrees, num_moved, joint.num_clusters, b.scale)


def minus(b: Estimate, a: Estimate) -> Estimate:
    """B minus A as an estimate of its own. A sum's is made of its parts', which have their own degrees of freedom."""
    if b.parts:
        return weighted_sum([minus(*both) for both in zip(b.parts, a.parts, strict=True)], b.weight)
    return replace(
        b,
        value=None if a.value is None or b.value is None else b.value - a.value,
        influence=b.influence - a.influence,
        corrected=b.corrected - a.corrected,
        degrees=min(a.degrees, b.degrees),
        unclustered=a.unclustered + b.unclustered,
        scale=None,
    )


def moved_clusters(a: Estimate, b: Estimate) -> Bools:
    """Clusters (G,) whose answers add up to something else in B than in A."""
    return np.asarray((a.sums != b.sums).any(axis=(0, 1)))


def lowest_difference(won: int, lost: int, num_pairs: int, level: float) -> float:
    """The lowest share won minus share lost that `won` and `lost` of `num_pairs` leave possible, one-sided at `level`.

    Fay and Lumbard's melded bound: the difference is the share that flips times (2 x the share of flips that are won
    - 1). Each has its own confidence distribution, a Beta; the lower ends of both are multiplied where the second
    factor is positive, the upper end of the first with the lower of the second where it is negative.
    """
    from scipy.optimize import brentq
    from scipy.special import betainc, betaincinv

    flipped, still = won + lost, num_pairs - won - lost

    def fewer(share: Floats) -> Floats:
        """Lower confidence distribution of the share that flips."""
        return np.asarray(betainc(flipped, still + 1, np.minimum(share, 1.0)))

    def more(share: Floats) -> Floats:
        """How much of the upper confidence distribution lies beyond `share`."""
        beyond = 1 - betainc(flipped + 1, still, np.minimum(share, 1.0)) if still else (share < 1).astype(float)
        return np.asarray(beyond)

    if won == 0:
        return -float(betaincinv(flipped + 1, still, 1 - level)) if still else -1.0
    # P(share of flips won <= 1/2): by McNemar's one-sided p, so that the bound's sign agrees with the test.
    tail = float(betainc(won, lost + 1, 0.5))
    points, weights = _nodes()
    low, high = (tail, 1.0) if tail < level else (0.0, tail)
    places = low + (high - low) * (points + 1) / 2
    weights = weights * (high - low) / 2
    factor = np.abs(2 * betaincinv(won, lost + 1, places) - 1)

    def excess(size: float) -> float:
        if tail < level:
            return float(weights @ fewer(size / factor)) - (level - tail)
        return level - float(weights @ more(size / factor))

    size = float(brentq(excess, 0.0, 1.0, xtol=1e-9))
    return size if tail < level else -size


@cache
def _nodes() -> tuple[Floats, Floats]:
    """Gauss and Legendre's places and weights on -1..1."""
    return np.polynomial.legendre.leggauss(96)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted for being many (Holm 1979), in the order given. None, of what was not tested, stays None."""
    tested = np.array([p for p in p_values if p is not None])
    order = np.argsort(tested)
    adjusted = np.empty_like(tested)
    adjusted[order] = np.minimum(np.maximum.accumulate(tested[order] * np.arange(len(tested), 0, -1)), 1.0)
    given = iter(adjusted.tolist())
    return [None if p is None else next(given) for p in p_values]


LEAST_MOVED = 6
"""Fewer clusters that moved are no finding, whichever way they went: 2^(1 - 5) is 0.0625."""


def clusters_needed(power: float = 0.8) -> float:
    """How many must be expected to move one way, for `LEAST_MOVED` to be seen with this power (Poisson)."""
    from scipy.special import gammaincinv

    return float(gammaincinv(LEAST_MOVED, power))


def smallest_detectable_difference(
    std_error: float, power: float = 0.8, *, degrees: float | None = None, num_moved: int | None = None
) -> float:
    """The true difference found with the given power by a two-sided 5 % test whose standard error this is.

    `degrees`: of freedom of Student's law; None: normal. `num_moved`: how many clusters the error stands on. One that
    moved is worth `std_error / sqrt(num_moved)`, and both tests need `LEAST_MOVED` that moved one way: the difference
    is never less than that of which so many are seen with this power (Poisson).
    """
    from scipy.special import ndtri, stdtrit

    levels = (1 - ALPHA / 2, power)
    errors = sum(float(ndtri(level) if degrees is None else stdtrit(degrees, level)) for level in levels)
    if num_moved:
        errors = max(errors, clusters_needed(power) / num_moved**0.5)
    return errors * std_error
