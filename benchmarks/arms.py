"""Is recipe B better than recipe A, when each was trained with several seeds and all runs answered the same questions?

An *arm* is one recipe's runs, which differ by training seed and by nothing else. Seeds and question clusters are
crossed: every seed answers every question. A difference of the arms' means then varies for three reasons, and its
variance is

    V = questions + seeds - interaction

- **questions**: the clustered variance of the means over seeds, by the same formula as between two runs
  (`estimates.py`). It holds what questions add and, in it, the interaction.
- **seeds**: the variance of the seeds' own values over their number. It too holds the interaction.
- **interaction**: what a seed does with a cluster beyond both, by the residuals that are left when the means over seeds
  and over clusters are taken off. It stands in both of the above and is counted once (Cameron, Gelbach and Miller 2011,
  Journal of Business & Economic Statistics 29, section 2: two-way clusters). A component below 0 counts as 0.

Seeds that both arms have are pairs: same data order, same initialisation, so that what they share cancels out. Degrees
of freedom are Welch's and Satterthwaite's. docs/statistics.md has what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .estimates import ALPHA, Estimate, Floats, weighted_sum
from .paired_tests import (
    ClusteredT,
    Difference,
    check_same_clusters,
    minus,
    moved_clusters,
    paired_difference,
    smallest_detectable_difference,
)

CROSSED_T = "crossed t"


@dataclass(frozen=True, kw_only=True)
class Variances:
    """Of the difference of two arms' means, or of one arm's mean, by where they come from; squared units of the metric.

    `questions` and `seeds` both hold the `interaction`. With one seed in every arm, `seeds` and `interaction` are 0 and
    `seed_degrees` is None: how much a seed is worth is not known then. `num_seeds`: of each arm.
    """

    questions: float
    question_degrees: float
    seeds: float = 0.0
    interaction: float = 0.0
    seed_degrees: float | None = None
    num_seeds: tuple[int, ...]
    num_clusters: int
    num_matched: int = 0
    """Seeds that both arms have."""

    @property
    def total(self) -> float:
        both = self.interaction  # in either of the other two, and counted once
        return both + max(0.0, self.questions - both) + max(0.0, self.seeds - both)

    @property
    def degrees(self) -> float:
        """Satterthwaite's, of the three that make up the total.

        `seeds` holds the interaction, so that it is expected not to be below it. With few seeds it often is, by luck:
        then the interaction stands in its place here, or seeds that happen to agree would count as known for certain.
        """
        if self.seed_degrees is None:
            return self.question_degrees
        terms = (
            np.square(self.questions) / self.question_degrees
            + np.square(max(self.seeds, self.interaction)) / self.seed_degrees
            + np.square(self.interaction) / (self.question_degrees * self.seed_degrees)
        )
        return float(np.square(self.total) / terms) if terms > 0 else self.question_degrees

    def planned(self, *, seeds: float = 1.0, questions: float = 1.0) -> Variances:
        """What is to be expected with so many times the seeds and the question clusters."""
        q, s, both = (
            max(0.0, self.questions - self.interaction) / questions,
            max(0.0, self.seeds - self.interaction) / seeds,
            self.interaction / (seeds * questions),
        )
        more_seeds = (
            None if self.seed_degrees is None else max(0.0, (self.seed_degrees + self._groups) * seeds - self._groups)
        )
        return replace(
            self,
            questions=q + both,
            seeds=s + both if self.seed_degrees is not None else 0.0,
            interaction=both,
            question_degrees=(self.question_degrees + 1) * questions - 1,
            seed_degrees=more_seeds,
            num_seeds=tuple(max(1, round(num * seeds)) for num in self.num_seeds),
            num_clusters=round(self.num_clusters * questions),
            num_matched=round(self.num_matched * seeds),
        )

    def without_seeds(self) -> Variances:
        """What is left when nobody knows what a seed is worth: a verdict on these very trainings."""
        return replace(self, seeds=0.0, interaction=0.0, seed_degrees=None)

    @property
    def _groups(self) -> int:
        """Of seeds whose mean is taken off: one where the seeds are pairs, else one an arm."""
        return 1 if self.num_matched else sum(num > 1 for num in self.num_seeds)

    @property
    def detectable(self) -> float | None:
        """The true difference found with 80 % power at the two-sided 5 % level; None where it cannot be said."""
        if self.total <= 0 or self.degrees < 0.5:
            return None
        return smallest_detectable_difference(float(np.sqrt(self.total)), degrees=self.degrees)


@dataclass(frozen=True, kw_only=True)
class Needed:
    """What it takes to find a difference with 80 % power; None where no number up to `MOST` does.

    `seeds`: trainings an arm, with the questions at hand. `questions`: clusters, with the trainings at hand.
    """

    seeds: int | None
    questions: int | None


MOST = 1000
"""Times the clusters at hand, and seeds an arm, beyond which nobody is sent to look."""


def needed(variances: Variances, difference: float) -> Needed:
    """How many seeds, or how many question clusters, a true difference (in the metric's unit) needs."""
    now = max(variances.num_seeds)

    def enough(**times: float) -> bool:
        found = variances.planned(**times).detectable
        return found is not None and found <= difference

    by_seeds = None
    if variances.seed_degrees is not None:
        by_seeds = next((num for num in range(2, MOST + 1) if enough(seeds=num / now)), None)
    steps = [1.25**k for k in range(32)]  # up to about a thousand times
    above = next((step for step in steps if enough(questions=step)), None)
    by_questions = None
    if above is not None:
        least, most = 2, round(variances.num_clusters * above)
        while least < most:
            middle = (least + most) // 2
            if enough(questions=middle / variances.num_clusters):
                most = middle
            else:
                least = middle + 1
        by_questions = most
    return Needed(seeds=by_seeds, questions=by_questions)


def assumed_variances(
    *, num_questions: int, num_seeds: int, flip: float, seed_flip: float, seed_sd: float
) -> Variances:
    """Of the difference between two recipes before anything is run, from guesses or other people's runs.

    Args:
        num_questions: of the benchmark.
        num_seeds: trainings of each recipe.
        flip: share of questions (0..1) that one run of each recipe answer to different worth.
        seed_flip: the same of two runs of one recipe; not more than `flip`.
        seed_sd: standard deviation of the seeds' values beyond what their questions explain, in points of per cent.

    Raises:
        ValueError: shares that contradict each other.
    """
    if not 0 <= seed_flip <= flip <= 1:
        raise ValueError(f"flip {flip} and seed_flip {seed_flip}: expected 0 <= seed_flip <= flip <= 1")
    both = 100**2 * seed_flip / (num_seeds * num_questions)
    return Variances(
        questions=100**2 * (flip - seed_flip) / num_questions + both,
        question_degrees=num_questions - 1,
        seeds=2 * seed_sd**2 / num_seeds + both if num_seeds > 1 else 0.0,
        interaction=both,
        seed_degrees=2.0 * (num_seeds - 1) if num_seeds > 1 else None,
        num_seeds=(num_seeds, num_seeds),
        num_clusters=num_questions,
    )


def variances_of(difference: Difference) -> Variances | None:
    """Of any difference, between arms or between single runs; None where nothing can be said."""
    if isinstance(difference, ArmDifference):
        return difference.variances
    if not difference.std_error:
        return None
    return Variances(
        questions=difference.std_error**2,
        question_degrees=difference.degrees or difference.num_clusters - 1,
        num_seeds=(1, 1),
        num_clusters=difference.num_clusters,
    )


def same_again(arm: Variances) -> Variances:
    """The variances of the difference between an arm and another recipe.

    The other differs from it, question by question, as its own seeds do: what one arm can say about an experiment.
    `arm`: the variances of its mean.
    """
    return replace(
        arm,
        questions=2 * arm.interaction,
        seeds=2 * arm.seeds,
        interaction=2 * arm.interaction,
        seed_degrees=None if arm.seed_degrees is None else 2 * arm.seed_degrees,
        num_seeds=arm.num_seeds * 2,
    )


@dataclass(frozen=True)
class CrossedT(ClusteredT):
    """A difference of two arms' means with the standard error and degrees of the crossed design."""

    name = CROSSED_T


@dataclass(frozen=True, kw_only=True)
class ArmDifference(Difference):
    """Arm B's mean minus arm A's. `std_error` is the total one; `variances` keep its sources apart."""

    variances: Variances | None

    @property
    def detectable(self) -> float | None:
        return self.variances.detectable if self.variances else None


Seeded = Mapping[int | str, Estimate]
"""The estimates of an arm's runs by training seed, or by a name that no other arm has where the seed is not known."""


def arm_difference(a: Seeded, b: Seeded) -> Difference | None:
    """Mean of B minus mean of A; None where a run has no value. One run a side: `paired_difference` of the two.

    Raises:
        ValueError: the runs do not stand on the same clusters, or an arm is empty.
    """
    if not a or not b:
        raise ValueError("an arm without runs")
    for run in (*a.values(), *b.values()):
        check_same_clusters(next(iter(a.values())), run)
    first, second = mean_estimate(list(a.values())), mean_estimate(list(b.values()))
    if len(a) == len(b) == 1:
        return paired_difference(first, second)
    if first.value is None or second.value is None:
        return None
    joint = minus(second, first)
    num_moved = int(moved_clusters(first, second).sum())
    if joint.std_error is None:
        variances = None
    else:
        variances = _variances(joint, _seed_parts(a), _seed_parts(b), (len(a), len(b)))
    error = float(np.sqrt(variances.total)) if variances else None
    assert joint.value is not None
    return ArmDifference(
        value=joint.value,
        std_error=error,
        num_clusters=joint.num_clusters,
        num_moved=num_moved,
        test=CrossedT(joint.value, error, variances.degrees, num_moved, joint.num_clusters, second.scale)
        if variances and error is not None
        else None,
        variances=variances,
    )


@dataclass(frozen=True, kw_only=True)
class ArmEstimate:
    """An arm's mean over its seeds, its two errors apart."""

    mean: Estimate
    values: tuple[float | None, ...]
    variances: Variances | None

    @property
    def seed_spread(self) -> float | None:
        """Standard deviation (ddof 1) of the seeds' values; None with one seed."""
        known = [value for value in self.values if value is not None]
        return float(np.std(known, ddof=1)) if len(known) > 1 and len(known) == len(self.values) else None

    @property
    def question_interval(self) -> tuple[float, float] | None:
        """95 %: the same seeds, other questions."""
        return self.mean.interval()

    @property
    def seed_interval(self) -> tuple[float, float] | None:
        """95 %: the same questions, other seeds (Student's t on the seeds' values); None with one seed."""
        from scipy.special import stdtrit

        if self.seed_spread is None or self.mean.value is None:
            return None
        num = len(self.values)
        half = float(stdtrit(num - 1, 1 - ALPHA / 2)) * self.seed_spread / float(np.sqrt(num))
        return self.mean.value - half, self.mean.value + half


def arm_estimate(runs: Seeded) -> ArmEstimate:
    """The mean over an arm's seeds and what it stands on."""
    mean = mean_estimate(list(runs.values()))
    variances = None if mean.std_error is None else _variances(mean, {}, _seed_parts(runs), (len(runs),))
    return ArmEstimate(mean=mean, values=tuple(each.value for each in runs.values()), variances=variances)


def mean_estimate(runs: Sequence[Estimate]) -> Estimate:
    """The mean of several runs' estimates of one metric on the same samples; no value as soon as one has none."""
    first = runs[0]
    if len(runs) == 1:
        return first
    if first.parts:
        parts = [mean_estimate([run.parts[place] for run in runs]) for place in range(len(first.parts))]
        return weighted_sum(parts, first.weight)
    values = [run.value for run in runs if run.value is not None]
    return replace(
        first,
        value=float(np.mean(values)) if len(values) == len(runs) else None,
        sums=np.mean([run.sums for run in runs], axis=0).round(9),  # equal means are equal, whatever their order
        influence=np.mean([run.influence for run in runs], axis=0),
        corrected=np.mean([run.corrected for run in runs], axis=0),
        degrees=min(run.degrees for run in runs),
        unclustered=float(np.mean([run.unclustered for run in runs])) / len(runs),
        num_unread=max(run.num_unread for run in runs),
        right_or_wrong=False,
    )


@dataclass(frozen=True)
class _SeedPart:
    """What a seed adds to its arm's mean beyond it: in value, and by cluster (G,)."""

    value: float
    clusters: Floats


def _seed_parts(runs: Seeded) -> dict[int | str, _SeedPart]:
    """Scaled so that sums of squares over an arm are variances of its mean; empty with one seed."""
    num = len(runs)
    if num < 2:
        return {}
    values = np.array([run.value for run in runs.values()], dtype=np.float64)
    clusters = np.stack([run.corrected for run in runs.values()])
    scale = 1 / np.sqrt(num * (num - 1))
    off_values, off_clusters = scale * (values - values.mean()), scale * (clusters - clusters.mean(axis=0))
    return {seed: _SeedPart(float(off_values[k]), off_clusters[k]) for k, seed in enumerate(runs)}


def _variances(
    joint: Estimate, a: Mapping[int | str, _SeedPart], b: Mapping[int | str, _SeedPart], nums: tuple[int, ...]
) -> Variances:
    error = joint.std_error
    assert error is not None
    seeds = interaction = 0.0
    for seed in a.keys() | b.keys():
        own, other = b.get(seed), a.get(seed)
        value = (own.value if own else 0.0) - (other.value if other else 0.0)
        clusters = (own.clusters if own else 0.0) - (other.clusters if other else np.zeros(1))
        seeds += value**2
        interaction += float(np.square(clusters).sum())
    return Variances(
        questions=error**2,
        question_degrees=joint.degrees,
        seeds=seeds,
        interaction=interaction,
        seed_degrees=_seed_degrees(a, b),
        num_seeds=nums,
        num_clusters=joint.num_clusters,
        num_matched=len(a.keys() & b.keys()),
    )


def _seed_degrees(a: Mapping[int | str, _SeedPart], b: Mapping[int | str, _SeedPart]) -> float | None:
    """Welch's for arms without a common seed, pairs - 1 where all are pairs, the smaller arm's where some are."""
    arms = [arm for arm in (a, b) if arm]
    if not arms:
        return None
    if a.keys() & b.keys():
        return min(len(a), len(b)) - 1
    variances = np.array([sum(part.value**2 for part in arm.values()) for arm in arms])
    degrees = np.array([len(arm) - 1 for arm in arms])
    spread = (np.square(variances) / degrees).sum()
    return float(np.square(variances.sum()) / spread) if spread > 0 else float(degrees.min())
