"""Estimates and their intervals against formulas and libraries that do the same another way."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import t
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.proportion import proportion_confint

from benchmarks.estimates import Columns, mean_by_group, weighted_sum, wilson
from benchmarks.records import Score
from benchmarks.tasks import TASKS


def make(values: list[float | None], clusters: list[str] | None = None, *groups: str) -> list[Score]:
    names = clusters or [str(position) for position in range(len(values))]
    return [
        Score(
            index=str(position),
            protocol="kit",
            value=value,
            reason=None if value is not None else "missing",
            cluster=name,
            groups=groups,
        )
        for position, (value, name) in enumerate(zip(values, names, strict=True))
    ]


def clustered(seed: int = 0, num_clusters: int = 40) -> tuple[list[float | None], list[str]]:
    random = np.random.default_rng(seed)
    chance = random.beta(3, 2, num_clusters)
    names = [str(c) for c in range(num_clusters) for _ in range(1 + c % 5)]
    return [float(random.random() < chance[int(name)]) for name in names], names


def test_without_clusters_it_is_the_wilson_interval() -> None:
    values = [1.0] * 730 + [0.0] * 270
    metric = mean_by_group(make(values))["overall"].metric()
    low, high = proportion_confint(730, 1000, method="wilson")
    assert metric.value == pytest.approx(73.0)
    assert metric.ci95 == pytest.approx((100 * low, 100 * high), abs=0.02)  # Student's 1.962 for the normal 1.960


def test_wilsons_interval_is_the_librarys_to_the_bit() -> None:
    """Whose import takes a second; stored intervals must not move."""
    rng = np.random.default_rng(0)
    for size, quantile in zip(rng.uniform(1, 3000, 300), rng.uniform(1.96, 13, 300), strict=True):
        for share in (0.0, 1.0, float(rng.uniform())):
            low, high = proportion_confint(share * size, size, alpha=2 * ndtr(-quantile), method="wilson")
            assert wilson(share, size, quantile) == (max(0.0, min(low, share)), min(1.0, max(high, share)))


def wilson_by_hand(share: float, size: float, z: float) -> tuple[float, float]:
    center = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * np.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))
    return 100 * (center - half), 100 * (center + half)


def test_with_clusters_it_is_wilsons_at_the_effective_size() -> None:
    estimate = mean_by_group(make(*clustered()))["overall"]
    assert estimate.value is not None
    assert estimate.std_error is not None
    share = estimate.value / 100
    size = share * (1 - share) / (estimate.std_error / 100) ** 2
    assert size != pytest.approx(estimate.num_clusters, rel=0.1)
    assert estimate.interval() == pytest.approx(wilson_by_hand(share, size, t.ppf(0.975, estimate.degrees)))


def test_clusters_that_are_all_alike_are_the_sample() -> None:
    """Half of every picture's questions right: no spread, and ten pictures all the same."""
    estimate = mean_by_group(make([1.0, 0.0] * 10, [str(n // 2) for n in range(20)]))["overall"]
    assert estimate.std_error == 0
    assert estimate.interval() == pytest.approx(wilson_by_hand(0.5, 10, t.ppf(0.975, 9)))


def test_a_ratio_without_an_upper_end_has_students_interval() -> None:
    columns = Columns(make([0.5, 0.9, 0.4, 0.8]))
    estimate = columns.ratio(columns.values, np.full(4, 0.5), columns.everything, bounded=False)
    assert estimate.value == pytest.approx(130.0)
    assert estimate.std_error is not None
    half = t.ppf(0.975, 3) * estimate.std_error
    assert estimate.interval() == pytest.approx((130.0 - half, 130.0 + half))


def test_a_sum_is_linear_and_its_degrees_are_satterthwaites_however_small_the_variances() -> None:
    scores = [*make([1.0] * 900 + [0.0] * 100, None, "a"), *make([1.0] * 600 + [0.0] * 400, None, "b")]
    scores = [replace(score, cluster=str(place)) for place, score in enumerate(scores)]
    columns = Columns(scores)
    parts = [columns.mean(columns.among(name)) for name in "ab"]
    total = weighted_sum(parts, 1 / 2)
    first, second = (np.square(part.corrected).sum() for part in parts)
    assert first**2 / 999 + second**2 / 999 < 1
    assert total.degrees == pytest.approx((first + second) ** 2 / ((first**2 + second**2) / 999))
    assert total.influence == pytest.approx((parts[0].influence + parts[1].influence) / 2)


def test_clustered_standard_error_is_the_sandwich_of_a_regression() -> None:
    """With clusters of one size; with unequal ones each residual sum is corrected for its cluster's leverage."""
    values = [value for value, name in zip(*clustered(num_clusters=200), strict=True) if int(name) % 5 == 4]
    names = [str(position // 5) for position in range(len(values))]
    estimate = mean_by_group(make(values, names))["overall"]
    fit = OLS(values, np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": np.array(names, dtype=int), "use_correction": False}
    )
    assert estimate.std_error == pytest.approx(100 * fit.bse[0] * np.sqrt(40 / 39))
    assert estimate.degrees == pytest.approx(39)

    values, names = clustered()
    estimate = mean_by_group(make(values, names))["overall"]
    residuals = np.bincount(np.array(names, dtype=int), weights=np.array(values) - np.mean(values))
    sizes = np.bincount(np.array(names, dtype=int))
    expected = np.sqrt(np.sum(residuals**2 / (1 - sizes / sizes.sum()))) / sizes.sum()
    assert estimate.std_error == pytest.approx(100 * expected)
    assert estimate.degrees < 39


def test_questions_of_one_picture_widen_the_interval() -> None:
    """Every question asked four times says no more than asking it once."""
    values, _ = clustered()
    single = mean_by_group(make(values))["overall"]
    copies = mean_by_group(make(values * 4, [str(i) for i in range(len(values))] * 4))["overall"]
    assert copies.interval() == pytest.approx(single.interval())
    assert copies.num_samples == 4 * single.num_samples


def test_delta_method_agrees_with_the_cluster_bootstrap() -> None:
    """F1 of 200 pictures: the linearised standard error against 2,000 resamplings of pictures."""
    random = np.random.default_rng(1)
    scores = []
    for picture in range(200):
        hard = random.normal(0, 0.7)
        for target in ("Yes", "No") * 4:
            right = random.random() < 1 / (1 + np.exp(hard - 1.5))
            answer = target if right else {"Yes": "No", "No": "Yes"}[target]
            scores.append(
                Score(
                    index="",
                    protocol="kit",
                    value=float(right),
                    answer=answer,
                    target=target,
                    groups=("random",),
                    cluster=f"{picture:03}",
                )
            )
    estimate = TASKS["pope"].protocols["kit"].estimate(scores)["f1"]
    table = np.array([[score.target == "Yes", score.answer == "Yes"] for score in scores]).reshape(200, 8, 2)
    draws = random.integers(0, 200, (2000, 200))
    hits = (table[..., 0] & table[..., 1]).sum(axis=1)[draws].sum(axis=1)
    either = table.sum(axis=(1, 2))[draws].sum(axis=1)
    assert estimate.std_error == pytest.approx(np.std(200 * hits / either), rel=0.06)


def test_all_right_still_has_an_interval_and_one_cluster_has_none() -> None:
    low, high = mean_by_group(make([1.0] * 20))["overall"].interval() or (None, None)
    assert high == 100
    assert low is not None
    assert 75 < low < 90
    assert mean_by_group(make([1.0, 0.0], ["a", "a"]))["overall"].interval() is None


def test_unscored_samples_are_counted_and_leave_the_mean_alone() -> None:
    metric = mean_by_group(make([1.0, None, 0.0, None, 1.0, 1.0]))["overall"].metric()
    assert (metric.value, metric.num_samples, metric.num_scored, metric.num_unscored) == (75.0, 6, 4, 2)
    nothing = mean_by_group(make([None, None]))["overall"].metric()
    assert (nothing.value, nothing.ci95, nothing.num_unscored) == (None, None, 2)


def test_the_mean_of_two_sources_has_the_error_of_independent_halves() -> None:
    columns = Columns(
        make([1.0, 0.0, 1.0, 1.0] * 10, None, "ade20k") + make([0.0, 1.0, 0.0, 0.0, 1.0] * 9, None, "coco")
    )
    for position, score in enumerate(columns.scores):
        object.__setattr__(score, "cluster", f"{position:03}")
    columns = Columns(columns.scores)
    halves = [columns.mean(columns.among(name)) for name in ("ade20k", "coco")]
    both = weighted_sum(halves, 1 / 2)
    assert both.value == pytest.approx((75 + 40) / 2)
    assert both.std_error == pytest.approx(np.sqrt(halves[0].std_error ** 2 + halves[1].std_error ** 2) / 2, rel=0.02)
    assert weighted_sum([halves[0], replace(halves[1], value=None)]).value is None


def test_degrees_of_freedom_are_fewer_where_clusters_are_unequal() -> None:
    """1 / (sum of squared shares) - 1: G - 1 for equal clusters, as if of fewer for unequal ones."""
    equal = mean_by_group(make([1.0, 0.0] * 10, [str(place // 2) for place in range(20)]))["overall"]
    assert equal.degrees == pytest.approx(9)
    unequal = mean_by_group(make([1.0, 0.0] * 10, ["a"] * 10 + [str(place) for place in range(10)]))["overall"]
    assert unequal.degrees == pytest.approx(1 / (0.5**2 + 10 * 0.05**2) - 1)


def test_a_sum_has_satterthwaites_degrees_of_freedom() -> None:
    """Welch's formula for two independent samples, as scipy has it; nothing varies: the smaller part's."""
    from scipy.stats import ttest_ind

    random = np.random.default_rng(5)
    small, large = random.random(8).round(1), random.random(40).round(2)
    scores = make([float(v) for v in small], [f"s{i}" for i in range(8)], "small")
    scores += make([float(v) for v in large], [f"l{i}" for i in range(40)], "large")
    columns = Columns(scores)
    parts = [columns.mean(columns.among(name)) for name in ("small", "large")]
    assert [part.degrees for part in parts] == pytest.approx([7, 39])
    assert weighted_sum(parts, 1 / 2).degrees == pytest.approx(ttest_ind(small, large, equal_var=False).df)
    still = [replace(part, corrected=0 * part.corrected) for part in parts]
    assert weighted_sum(still).degrees == pytest.approx(7)


def test_a_sum_has_no_interval_where_a_part_has_none() -> None:
    """One picture of a source says nothing about that source's error, however many the other has."""
    columns = Columns(make([1.0, 0.0] * 5, None, "many") + make([1.0], ["x"], "one"))
    parts = [columns.mean(columns.among(name)) for name in ("many", "one")]
    assert parts[0].interval() is not None
    both = weighted_sum(parts, 1 / 2)
    assert (both.value, both.interval()) == (75.0, None)


def test_a_ratio_without_anything_to_divide_by_has_the_value_it_is_told() -> None:
    """No yes at all: F1 is 0 by the kit's rule; without a rule, and without anything scored, there is no value."""
    columns = Columns(make([1.0, 0.0]))
    nothing = np.zeros(2)
    assert columns.ratio(nothing, nothing, columns.everything, empty=0.0).value == 0.0
    assert columns.ratio(nothing, nothing, columns.everything).value is None
    unscored = Columns(make([None, None]))
    gone = np.full(2, np.nan)
    assert unscored.ratio(gone, gone, unscored.everything, empty=0.0).value is None


def test_right_or_wrong_is_a_mean_of_single_zeros_and_ones() -> None:
    def mean(values: list[float | None], clusters: list[str] | None = None) -> bool:
        return mean_by_group(make(values, clusters))["overall"].right_or_wrong

    assert mean([1.0, 0.0, None])
    assert not mean([1.0, 0.5])
    assert not mean([1.0, 0.0], ["a", "a"])
    assert mean([1.0, None], ["a", "a"])
    columns = Columns(make([1.0, 0.0]))
    assert not columns.ratio(columns.values, np.array([1.0, 2.0]), columns.everything).right_or_wrong
    assert not weighted_sum([columns.mean(columns.everything)] * 2, 1 / 2).right_or_wrong


def test_thirty_thousand_samples_take_less_than_a_second() -> None:
    random = np.random.default_rng(4)
    scores = [
        Score(
            index=str(i),
            protocol="kit",
            value=float(random.random() < 0.7),
            cluster=str(i // 3),
            groups=(f"dimension/{i % 9}",),
        )
        for i in range(30_000)
    ]
    started = time.process_time()
    metrics = TASKS["seed_image"].protocols["kit"].aggregate(scores)
    assert time.process_time() - started < 1
    assert len(metrics) == 10


def test_a_cluster_that_carries_a_whole_ratio_has_no_error_of_its_own() -> None:
    columns = Columns(make([0.5, 0.5], ["a", "b"]))
    estimate = columns.ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0]), columns.everything)
    assert (estimate.value, estimate.num_clusters, estimate.std_error) == (50.0, 2, 0.0)
