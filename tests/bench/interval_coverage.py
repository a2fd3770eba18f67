"""How often do the 95 % intervals hold the truth, and how often do equal models differ by p < .05?

    python tests/bench/interval_coverage.py [--worlds N] [--only intervals|differences|arms|judged]

For each shape of benchmark many data sets are drawn from a population whose metric is known, with clusters of the
real sizes and a known correlation inside them, and the share of intervals that hold the population's value is
counted. Two shares are given: ours, and the one of the naive interval that takes every question for independent. The
target is 93 to 97 %.

The populations: a cluster has its own chance of being answered right, Beta-distributed around the mean so that two
answers in a cluster correlate by ICC (0: independent), or its own difficulty on the logit scale. The truth is exact, by
formula or by integration over the clusters.

What was found with 1,000 worlds and the default seed stands in docs/statistics.md. About 3 minutes of one core for
the intervals, as much for the differences, and for the arms of several training seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.arms import arm_difference
from benchmarks.estimates import Estimate
from benchmarks.paired_tests import paired_difference
from benchmarks.records import Score
from benchmarks.repeats import REFERENCE, REPEAT
from benchmarks.tasks import TASKS

Random = np.random.Generator
Make = Callable[[Random, int], list[Score]]
Truth = dict[str, float]


@dataclass(frozen=True)
class Shape:
    """`make(random, num_clusters)` draws a data set of the task; `truth` has the metrics of its population."""

    title: str
    task: str
    num_clusters: int
    make: Make
    truth: Truth
    protocol: str = "kit"


def expected(chance: Callable[[NDArray[np.float64]], NDArray[np.float64]], spread: float) -> float:
    """The mean of `chance(difficulty)` over normally distributed difficulties (Gauss-Hermite quadrature)."""
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    return float(np.sum(weights * chance(spread * points)) / np.sum(weights))


def logistic(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def chances(random: Random, mean: float, icc: float, size: int) -> NDArray[np.float64]:
    """The clusters' own chances (size,): mean `mean`, correlation `icc` between two answers of a cluster."""
    if icc == 0:
        return np.full(size, mean)
    strength = (1 - icc) / icc
    return random.beta(mean * strength, (1 - mean) * strength, size)


def score(cluster: int, value: float, *groups: str, **more: Any) -> Score:
    return Score(index="", protocol="", value=value, cluster=f"{cluster:06}", groups=groups, **more)


def plain(mean: float, icc: float, members: int) -> Make:
    """Right/wrong answers, `members` to a picture (SEED-Bench, RealWorldQA, MMMU)."""

    def make(random: Random, num_clusters: int) -> list[Score]:
        chance = chances(random, mean, icc, num_clusters)
        sizes = random.integers(1, 2 * members, num_clusters) if members > 1 else np.ones(num_clusters, dtype=int)
        return [score(c, float(random.random() < chance[c])) for c in range(num_clusters) for _ in range(sizes[c])]

    return make


def grades(mean: float) -> Make:
    """MM-Vet: grades from 0 to 1 in tenths, many of them 0 or 1."""

    def make(random: Random, num_clusters: int) -> list[Score]:
        drawn = np.round(random.beta(mean * 0.6, (1 - mean) * 0.6, num_clusters), 1)
        return [score(c, float(value)) for c, value in enumerate(drawn)]

    return make


def circular(random: Random, num_clusters: int) -> list[Score]:
    """MMBench: four rolls of a question, which share its difficulty; indices as in the table."""
    chance = chances(random, 0.8, 0.5, num_clusters)
    rolls = random.random((num_clusters, 4)) < chance[:, None]
    return [
        Score(index=str(c + 1_000_000 * k), protocol="", value=float(rolls[c, k]), cluster=f"{c:06}")
        for c in range(num_clusters)
        for k in range(4)
    ]


MME_PICTURES = {
    "OCR": 20,
    "artwork": 200,
    "celebrity": 170,
    "color": 30,
    "count": 30,
    "existence": 30,
    "landmark": 200,
    "position": 30,
    "posters": 147,
    "scene": 200,
}


def pairs(random: Random, num_clusters: int) -> list[Score]:
    """MME's perception: a yes and a no question on each picture, and a model that says yes too often on some."""
    names = np.repeat(list(MME_PICTURES), list(MME_PICTURES.values()))
    bias = random.normal(0, 0.8, len(names))
    right = np.stack([logistic(1.2 + bias), logistic(0.8 - bias)], axis=1) > random.random((len(names), 2))
    return [score(c, float(right[c, k]), f"perception/{names[c]}") for c in range(len(names)) for k in range(2)]


def pairs_truth() -> Truth:
    yes = expected(lambda bias: logistic(1.2 + bias), 0.8)
    no = expected(lambda bias: logistic(0.8 - bias), 0.8)
    both = expected(lambda bias: logistic(1.2 + bias) * logistic(0.8 - bias), 0.8)
    subtask = 50 * (yes + no) + 100 * both
    return {"perception": 10 * subtask, "perception/OCR": subtask, "perception/artwork": subtask}


POPE_NO = {"popular": 2.2, "adversarial": 1.6, "random": 3.0}
POPE_YES = 1.5
POPE_SPREAD = 0.7


def pope(random: Random, num_clusters: int) -> list[Score]:
    """POPE: 3 present objects a picture, asked in every split, and 3 absent ones a split; some pictures are hard."""
    hard = random.normal(0, POPE_SPREAD, num_clusters)
    draws = random.random((num_clusters, 12))
    scores = []
    for c in range(num_clusters):
        for k in range(3):
            scores.append(_pope(c, "Yes", draws[c, k] < logistic(POPE_YES - hard[c]), tuple(POPE_NO)))
        for number, (split, base) in enumerate(POPE_NO.items(), start=1):
            for k in range(3):
                scores.append(_pope(c, "No", draws[c, 3 * number + k] > logistic(base - hard[c]), (split,)))
    return scores


def _pope(cluster: int, target: str, said_yes: bool, groups: tuple[str, ...]) -> Score:
    answer = "Yes" if said_yes else "No"
    return score(cluster, float(answer == target), *groups, answer=answer, target=target)


def pope_truth() -> Truth:
    hit = expected(lambda hard: logistic(POPE_YES - hard), POPE_SPREAD)
    false = {
        split: expected(lambda hard, base=base: logistic(hard - base), POPE_SPREAD) for split, base in POPE_NO.items()
    }
    pooled = sum(false.values()) / 3
    return {
        "f1": 200 * hit / (1 + hit + pooled),
        "accuracy": 50 * (hit + 1 - pooled),
        "precision": 100 * hit / (hit + pooled),
        "recall": 100 * hit,
        "adversarial/f1": 200 * hit / (1 + hit + false["adversarial"]),
    }


def llava_grades(random: Random, level: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Grades of answers and of references (N,) for questions on pictures that lie `level` above the mean."""
    value = np.clip(np.round(6.3 + level + random.normal(0, 1.8, len(level))), 1, 10)
    return value, np.clip(np.round(8.6 + 0.3 * level + random.normal(0, 0.7, len(level))), 1, 10)


def llava(random: Random, num_clusters: int) -> list[Score]:
    """LLaVA-Bench: two or three questions a picture, a grade for the answer and one for the reference."""
    cluster = np.repeat(np.arange(num_clusters), random.integers(2, 4, num_clusters))
    values, references = llava_grades(random, random.normal(0, 0.8, num_clusters)[cluster])
    return [
        score(int(c), float(value), parts={"reference": float(reference)})
        for c, value, reference in zip(cluster, values, references, strict=True)
    ]


def llava_truth() -> Truth:
    """By four million draws: the grades are rounded and clipped."""
    random = np.random.default_rng(0)
    values, references = llava_grades(random, random.normal(0, 0.8, 4_000_000))
    return {"overall": float(100 * values.mean() / references.mean())}


CV_MEANS = {"ade20k": 0.6, "coco": 0.66, "omni3d": 0.72}


def cv_bench(random: Random, num_clusters: int) -> list[Score]:
    """CV-Bench: three sources, pictures with one to three questions."""
    scores = []
    for c in range(num_clusters):
        name = list(CV_MEANS)[min(c % 4, 2)]
        chance = chances(random, CV_MEANS[name], 0.15, 1)[0]
        scores += [score(c, float(draw < chance), name) for draw in random.random(random.integers(1, 4))]
    return scores


CV_TRUTH = {"2d": 63.0, "3d": 72.0, "combined": 67.5}


def grades_truth(mean: float) -> Truth:
    """By four million draws: the grades are rounded to tenths."""
    drawn = np.round(np.random.default_rng(0).beta(mean * 0.6, (1 - mean) * 0.6, 4_000_000), 1)
    return {"overall": float(100 * drawn.mean())}


def circular_truth() -> Truth:
    """The fourth moment of the Beta distribution of `circular`."""
    a, b = 0.8, 0.2
    return {"overall": 100 * float(np.prod([(a + k) / (a + b + k) for k in range(4)]))}


SHAPES = (
    Shape("1,500 pictures of 3, ICC .1", "seed_image", 1500, plain(0.69, 0.1, 3), {"overall": 69.0}),
    Shape("700 questions", "real_world_qa", 700, plain(0.59, 0, 1), {"overall": 59.0}),
    Shape("30 questions (an MMMU subject)", "real_world_qa", 30, plain(0.4, 0, 1), {"overall": 40.0}),
    Shape("60 questions, 90 %", "real_world_qa", 60, plain(0.9, 0, 1), {"overall": 90.0}),
    Shape("25 pictures of 4, ICC .3", "seed_image", 25, plain(0.6, 0.3, 4), {"overall": 60.0}),
    Shape("60 pictures of 9, bunched failures", "seed_image", 60, plain(0.95, 0.2, 9), {"overall": 95.0}),
    Shape("MMBench: 400 groups", "mmbench", 400, circular, circular_truth()),
    Shape("an MMBench ability: 40 groups", "mmbench", 40, circular, circular_truth()),
    Shape("MME perception: 1,057 pairs", "mme", 1057, pairs, pairs_truth()),
    Shape("POPE: 200 pictures", "pope", 200, pope, pope_truth()),
    Shape("POPE: 50 pictures", "pope", 50, pope, pope_truth()),
    Shape("MM-Vet: 218 grades", "mm_vet", 218, grades(0.41), grades_truth(0.41)),
    Shape("LLaVA-Bench: 24 pictures", "llava_bench", 24, llava, llava_truth()),
    Shape("CV-Bench: 800 pictures", "cv_bench", 800, cv_bench, CV_TRUTH, "official"),
    Shape("CV-Bench: 120 pictures", "cv_bench", 120, cv_bench, CV_TRUTH, "official"),
)


def estimates(shape: Shape, scores: list[Score]) -> dict[str, Estimate]:
    return TASKS[shape.task].protocols[shape.protocol].estimate(scores)


def naive(scores: list[Score]) -> list[Score]:
    """The same scores as if no two had a cluster in common."""
    return [Score(**{**vars(each), "cluster": f"{number:06}"}) for number, each in enumerate(scores)]


def holds(estimate: Estimate, truth: float) -> bool:
    low, high = estimate.interval() or (0.0, 0.0)
    return low <= truth <= high


def coverage(shape: Shape, num_worlds: int, seed: int) -> dict[str, tuple[float, float]]:
    """(our share, the naive share) by metric."""
    random = np.random.default_rng(seed)
    ours, theirs = dict.fromkeys(shape.truth, 0), dict.fromkeys(shape.truth, 0)
    grouped = shape.task in ("mme", "mmbench")
    for _ in range(num_worlds):
        scores = shape.make(random, shape.num_clusters)
        found = estimates(shape, scores)
        single = found if grouped else estimates(shape, naive(scores))
        for name, truth in shape.truth.items():
            ours[name] += holds(found[name], truth)
            theirs[name] += holds(single[name], truth)
    return {name: (ours[name] / num_worlds, theirs[name] / num_worlds) for name in shape.truth}


@dataclass(frozen=True)
class Rivals:
    """Two runs on the same questions. `make(random, gap)` draws both, B better by `gap`; `truth(gap)`: B minus A."""

    title: str
    task: str
    metric: str
    make: Callable[[Random, float], tuple[list[Score], list[Score]]]
    gap: float = 0.0
    truth: float = 0.0
    protocol: str = "kit"


SAME = 0.7
"""The share of questions on which the two models' luck is one and the same."""


def luck(random: Random, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Uniform numbers (size,) for A and for B."""
    first, other = random.random((2, size))
    return first, np.where(random.random(size) < SAME, first, other)


def rival_answers(
    mean: float, icc: float, num_clusters: int, members: int
) -> Callable[[Random, float], tuple[list[Score], list[Score]]]:
    """Right or wrong; B gets what A's chance leaves to be had, times `gap`."""

    def make(random: Random, gap: float) -> tuple[list[Score], list[Score]]:
        sizes = random.integers(1, 2 * members, num_clusters) if members > 1 else np.ones(num_clusters, dtype=int)
        cluster = np.repeat(np.arange(num_clusters), sizes)
        chance = chances(random, mean, icc, num_clusters)[cluster]
        draws = luck(random, len(cluster))
        better = (chance, chance + gap * (1 - chance))
        first, second = (
            [score(int(c), float(right)) for c, right in zip(cluster, draw < limit, strict=True)]
            for draw, limit in zip(draws, better, strict=True)
        )
        return first, second

    return make


def rival_sources(num_clusters: int) -> Callable[[Random, float], tuple[list[Score], list[Score]]]:
    """CV-Bench: 2D is the mean of two sources, a quarter and three quarters of the pictures."""

    def make(random: Random, gap: float) -> tuple[list[Score], list[Score]]:
        cluster = np.repeat(np.arange(num_clusters), random.integers(1, 4, num_clusters))
        names = np.where(cluster % 4 == 0, "ade20k", "coco")
        chance = chances(random, 0.65, 0.15, num_clusters)[cluster]
        draws = luck(random, len(cluster))
        first, second = (
            [score(int(c), float(r), str(name)) for c, r, name in zip(cluster, draw < limit, names, strict=True)]
            for draw, limit in zip(draws, (chance, chance + gap * (1 - chance)), strict=True)
        )
        return first, second

    return make


def rival_grades(random: Random, gap: float) -> tuple[list[Score], list[Score]]:
    """MM-Vet: 218 grades in tenths."""
    from scipy.special import betaincinv

    first, second = (
        [score(c, float(value)) for c, value in enumerate(np.round(betaincinv(0.25, 0.35, draw), 1))]
        for draw in luck(random, 218)
    )
    return first, second


def rival_pope(num_clusters: int) -> Callable[[Random, float], tuple[list[Score], list[Score]]]:
    """POPE: `pope`'s pictures for both."""

    def make(random: Random, gap: float) -> tuple[list[Score], list[Score]]:
        hard = np.repeat(random.normal(0, POPE_SPREAD, num_clusters), 12)
        yes = np.tile([True] * 3 + [False] * 9, num_clusters)
        bases = np.tile([POPE_YES] * 3 + [base for base in POPE_NO.values() for _ in range(3)], num_clusters)
        splits = [tuple(POPE_NO)] * 3 + [(name,) for name in POPE_NO for _ in range(3)]
        first, second = (
            [
                _pope(number // 12, "Yes" if yes[number] else "No", bool(right == yes[number]), splits[number % 12])
                for number, right in enumerate(draw < logistic(bases - hard))
            ]
            for draw in luck(random, 12 * num_clusters)
        )
        return first, second

    return make


def rival_llava(random: Random, gap: float) -> tuple[list[Score], list[Score]]:
    """LLaVA-Bench: 24 pictures, two or three questions each; the reference is graded anew in every run."""
    from scipy.special import ndtri

    cluster = np.repeat(np.arange(24), random.integers(2, 4, 24))
    level = random.normal(0, 0.8, 24)[cluster]
    runs = []
    for draw in luck(random, len(cluster)):
        values = np.clip(np.round(6.3 + level + 1.8 * ndtri(draw)), 1, 10)
        references = np.clip(np.round(8.6 + 0.3 * level + random.normal(0, 0.7, len(level))), 1, 10)
        given = zip(cluster, values, references, strict=True)
        runs.append([score(int(c), float(v), parts={"reference": float(r)}) for c, v, r in given])
    return runs[0], runs[1]


RIVALS = (
    Rivals("30 questions", "real_world_qa", "overall", rival_answers(0.5, 0, 30, 1)),
    Rivals("200 questions", "real_world_qa", "overall", rival_answers(0.7, 0, 200, 1)),
    Rivals("200 questions, 95 %", "real_world_qa", "overall", rival_answers(0.95, 0, 200, 1)),
    Rivals("200 questions, 10 % better", "real_world_qa", "overall", rival_answers(0.7, 0, 200, 1), 0.1, 3.0),
    Rivals("8 pictures of 4", "seed_image", "overall", rival_answers(0.6, 0.2, 8, 4)),
    Rivals("25 pictures of 4", "seed_image", "overall", rival_answers(0.6, 0.2, 25, 4)),
    Rivals("60 pictures of 3, 95 %", "seed_image", "overall", rival_answers(0.95, 0.2, 60, 3)),
    Rivals("300 pictures of 3", "seed_image", "overall", rival_answers(0.65, 0.2, 300, 3)),
    Rivals("300 pictures of 3, 5 % better", "seed_image", "overall", rival_answers(0.65, 0.2, 300, 3), 0.05, 1.75),
    Rivals("CV-Bench 2D: 40 pictures", "cv_bench", "2d", rival_sources(40), protocol="official"),
    Rivals("CV-Bench 2D: 40, 20 % better", "cv_bench", "2d", rival_sources(40), 0.2, 7.0, protocol="official"),
    Rivals("MM-Vet: 218 grades", "mm_vet", "overall", rival_grades),
    Rivals("POPE F1: 50 pictures", "pope", "f1", rival_pope(50)),
    Rivals("LLaVA-Bench: 24 pictures", "llava_bench", "overall", rival_llava),
)


def difference_coverage(rivals: Rivals, num_worlds: int, seed: int) -> tuple[float, float]:
    """(share of intervals that hold the true difference, share of p-values below 0.05)."""
    random = np.random.default_rng(seed)
    estimate = TASKS[rivals.task].protocols[rivals.protocol].estimate
    held = alarms = 0
    for _ in range(num_worlds):
        first, second = rivals.make(random, rivals.gap)
        found = paired_difference(estimate(first)[rivals.metric], estimate(second)[rivals.metric])
        assert found is not None
        assert found.ci95 is not None
        assert found.p is not None
        held += found.ci95[0] <= rivals.truth <= found.ci95[1]
        alarms += found.p < 0.05
    return held / num_worlds, alarms / num_worlds


@dataclass(frozen=True)
class Arms:
    """Two recipes of `num_seeds` (A, B) trainings each. On the logit scale a question has a difficulty that all runs
    share, a seed an ability (`seed_sd`), and a seed and a picture something of their own (`both_sd`); of the two seeds
    of a pair, `shared` of the ability is the same. B is `gap` better."""

    title: str
    num_seeds: tuple[int, int]
    num_clusters: int
    members: int
    seed_sd: float
    both_sd: float = 0.5
    shared: float | None = None
    """Of the variance of abilities; None: the seeds are no pairs."""
    gap: float = 0.0

    @property
    def truth(self) -> float:
        spread = float(np.sqrt(DIFFICULTY**2 + self.seed_sd**2 + self.both_sd**2))
        before, after = (expected(lambda x, up=up: logistic(LEVEL + up + x), spread) for up in (0.0, self.gap))
        return 100 * (after - before)

    def draw(self, random: Random) -> tuple[dict[int | str, Estimate], dict[int | str, Estimate]]:
        cluster = np.repeat(np.arange(self.num_clusters), self.members)
        difficulty = random.normal(0, DIFFICULTY, self.num_clusters)[cluster]
        common = random.normal(0, 1, max(self.num_seeds))
        arms: list[dict[int | str, Estimate]] = []
        for arm, num in enumerate(self.num_seeds):
            runs: dict[int | str, Estimate] = {}
            for seed in range(num):
                own = random.normal()
                ability = own if self.shared is None else mix(self.shared, common[seed], own)
                both = random.normal(0, self.both_sd, self.num_clusters)[cluster]
                chance = logistic(LEVEL + self.gap * arm + self.seed_sd * ability + both - difficulty)
                right = random.random(len(cluster)) < chance
                scores = [score(int(c), float(r)) for c, r in zip(cluster, right, strict=True)]
                name = seed if self.shared is not None else f"{arm} {seed}"
                runs[name] = TASKS["seed_image"].protocols["kit"].estimate(scores)["overall"]
            arms.append(runs)
        return arms[0], arms[1]


LEVEL, DIFFICULTY = 0.5, 1.0


def mix(share: float, common: float, own: float) -> float:
    return float(np.sqrt(share) * common + np.sqrt(1 - share) * own)


ARMS = (
    Arms("2 + 2 seeds, 100 pictures of 3", (2, 2), 100, 3, 0.2),
    Arms("2 pairs, 100 pictures of 3", (2, 2), 100, 3, 0.2, shared=0.5),
    Arms("3 + 3 seeds, 100 pictures of 3", (3, 3), 100, 3, 0.2),
    Arms("3 pairs, 100 pictures of 3", (3, 3), 100, 3, 0.2, shared=0.5),
    Arms("5 + 5 seeds, 100 pictures of 3", (5, 5), 100, 3, 0.2),
    Arms("5 pairs, 100 pictures of 3", (5, 5), 100, 3, 0.2, shared=0.5),
    Arms("5 + 3 seeds, 100 pictures of 3", (5, 3), 100, 3, 0.2),
    Arms("2 pairs without any effect", (2, 2), 100, 3, 0.0, shared=0.5),
    Arms("3 pairs without any effect", (3, 3), 100, 3, 0.0, shared=0.5),
    Arms("3 pairs, 400 questions", (3, 3), 400, 1, 0.1, shared=0.5),
    Arms("5 + 5 seeds without any effect", (5, 5), 100, 3, 0.0),
    Arms("5 + 5 seeds, 400 questions", (5, 5), 400, 1, 0.1),
    Arms("5 + 5 large effects, 400 questions", (5, 5), 400, 1, 0.4),
    Arms("10 + 10 seeds, 100 pictures of 3", (10, 10), 100, 3, 0.2),
    Arms("5 + 5 seeds, B better", (5, 5), 100, 3, 0.2, gap=0.35),
    Arms("5 pairs, B better", (5, 5), 100, 3, 0.2, shared=0.5, gap=0.35),
)


def arm_coverage(arms: Arms, num_worlds: int, seed: int) -> tuple[float, float, float]:
    """(share of intervals that hold the true difference, share of p < 0.05, the same by one seed's questions alone)."""
    random = np.random.default_rng(seed)
    held = alarms = naive = 0
    for _ in range(num_worlds):
        a, b = arms.draw(random)
        found = arm_difference(a, b)
        single = paired_difference(next(iter(a.values())), next(iter(b.values())))
        assert found is not None
        assert found.ci95 is not None
        assert found.p is not None
        assert single is not None
        assert single.p is not None
        held += found.ci95[0] <= arms.truth <= found.ci95[1]
        alarms += found.p < 0.05
        naive += single.p < 0.05
    return held / num_worlds, alarms / num_worlds, naive / num_worlds


@dataclass(frozen=True)
class Judged:
    """A judge who grades every answer `num_repeats` times. Beside what an answer is worth, a grade has its own luck
    (`luck_sd`) and what all grades of one judging have in common (`common_sd`), both in shares of the scale."""

    title: str
    task: str
    num_repeats: int
    luck_sd: float
    common_sd: float

    @property
    def truth(self) -> float:
        return 40.0 if self.task == "mm_vet" else 100 * 6.0 / 8.5

    def draw(self, random: Random) -> list[Score]:
        """Scores with every judging's grades, of MM-Vet's questions or of LLaVA-Bench's pictures."""
        if self.task == "mm_vet":
            cluster, scale = np.arange(218), 1.0
            worth = random.beta(0.4 * 0.6, 0.6 * 0.6, 218)
        else:
            cluster, scale = np.repeat(np.arange(24), random.permutation([2] * 12 + [3] * 12)), 9.0
            worth = 6.0 + random.normal(0, 0.8, 24)[cluster] + random.normal(0, 1.2, len(cluster))
        grades = (
            worth
            + scale * self.common_sd * random.normal(size=(self.num_repeats, 1))
            + scale * self.luck_sd * random.normal(size=(self.num_repeats, len(worth)))
        )
        references = 8.5 + random.normal(0, 0.5, (self.num_repeats, len(worth)))
        scores = []
        for place, c in enumerate(cluster):
            parts = {"reference": float(references[:, place].mean())}
            if self.num_repeats > 1:
                parts |= {f"{REPEAT}{k}": float(grades[k, place]) for k in range(self.num_repeats)}
                parts |= {f"{REFERENCE}{k}": float(references[k, place]) for k in range(self.num_repeats)}
            scores.append(score(int(c), float(grades[:, place].mean()), parts=parts))
        return scores


JUDGED = tuple(
    Judged(f"{title}, {repeats} judging{'s' * (repeats > 1)}, {what}", task, repeats, luck, common)
    for title, task in (("MM-Vet", "mm_vet"), ("LLaVA-Bench", "llava_bench"))
    for luck, common, what in ((0.15, 0.0, "luck"), (0.15, 0.03, "luck and moods"))
    for repeats in (1, 2, 3, 5)
)


def judged_coverage(judged: Judged, num_worlds: int, seed: int) -> tuple[float, float, float]:
    """(share of intervals that hold the truth, the same of those without what judgings have in common, their widths'
    mean ratio)."""
    random = np.random.default_rng(seed)
    estimate = TASKS[judged.task].protocols["kit"].estimate
    held = without = 0
    widths = []
    for _ in range(num_worlds):
        scores = judged.draw(random)
        found, bare = estimate(scores)["overall"], estimate(_means_alone(scores))["overall"]
        held += holds(found, judged.truth)
        without += holds(bare, judged.truth)
        widths.append(np.ptp(found.interval() or (0.0, 0.0)) / np.ptp(bare.interval() or (0.0, 1.0)))
    return held / num_worlds, without / num_worlds, float(np.mean(widths))


def _means_alone(scores: list[Score]) -> list[Score]:
    return [Score(**{**vars(each), "parts": {"reference": each.parts["reference"]}}) for each in scores]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=1000, help="data sets drawn for each shape")
    parser.add_argument("--seed", type=int, default=2503)
    parts = {
        "intervals": _print_intervals,
        "differences": _print_differences,
        "arms": _print_arms,
        "judged": _print_judged,
    }
    parser.add_argument("--only", choices=tuple(parts), help="one part of it; default: all")
    given = parser.parse_args()
    for name, part in parts.items():
        if given.only in (None, name):
            part(given.worlds, given.seed)


def _print_intervals(num_worlds: int, seed: int) -> None:
    print(f"{'shape':37}{'metric':22}{'truth':>9}{'held':>8}{'naive':>8}")
    for shape in SHAPES:
        for name, (ours, theirs) in coverage(shape, num_worlds, seed).items():
            mark = "" if 0.93 <= ours <= 0.97 else "  outside 93-97"
            print(f"{shape.title:37}{name:22}{shape.truth[name]:9.2f}{ours:8.1%}{theirs:8.1%}{mark}", flush=True)


def _print_differences(num_worlds: int, seed: int) -> None:
    print(f"\n{'B minus A':37}{'metric':22}{'truth':>9}{'held':>8}{'p<.05':>8}")
    for rivals in RIVALS:
        held, alarms = difference_coverage(rivals, num_worlds, seed)
        print(f"{rivals.title:37}{rivals.metric:22}{rivals.truth:9.2f}{held:8.1%}{alarms:8.1%}", flush=True)


def _print_arms(num_worlds: int, seed: int) -> None:
    print(f"\n{'arm B minus arm A':37}{'truth':>9}{'held':>8}{'p<.05':>8}{'one seed':>10}")
    for arms in ARMS:
        held, alarms, naive = arm_coverage(arms, num_worlds, seed)
        print(f"{arms.title:37}{arms.truth:9.2f}{held:8.1%}{alarms:8.1%}{naive:10.1%}", flush=True)


def _print_judged(num_worlds: int, seed: int) -> None:
    print(f"\n{'graded by a judge':45}{'truth':>9}{'held':>8}{'means alone':>13}{'width':>8}")
    for judged in JUDGED:
        held, without, width = judged_coverage(judged, num_worlds, seed)
        print(f"{judged.title:45}{judged.truth:9.2f}{held:8.1%}{without:13.1%}{width:8.2f}", flush=True)


if __name__ == "__main__":
    main()
