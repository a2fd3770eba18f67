"""p-values and intervals of differences: against libraries, by enumeration, and against each other."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, multinomial, ttest_1samp, ttest_rel
from scipy.stats import t as student_t
from statsmodels.stats.multitest import multipletests

from benchmarks.estimates import Columns, Estimate, mean_by_group, weighted_sum
from benchmarks.paired_tests import (
    CLUSTERED_T,
    MCNEMAR,
    ClusteredT,
    Difference,
    McNemar,
    holm,
    lowest_difference,
    minus,
    paired_difference,
    smallest_detectable_difference,
)
from benchmarks.records import Score


def estimate(values: list[float], clusters: list[str] | None = None) -> Estimate:
    names = clusters or [f"{place:04}" for place in range(len(values))]
    pairs = zip(values, names, strict=True)
    return mean_by_group([Score(index="", protocol="", value=value, cluster=name) for value, name in pairs])["overall"]


def difference(a: list[float], b: list[float], clusters: list[str] | None = None) -> Difference:
    found = paired_difference(estimate(a, clusters), estimate(b, clusters))
    assert found is not None
    return found


# Which test.


def test_right_or_wrong_gets_mcnemar_and_everything_else_gets_t() -> None:
    wins = [0.0] * 20, [1.0] * 5 + [0.0] * 15
    assert difference(*wins).test == McNemar(won=5, lost=0, num_pairs=20, scale=100.0)
    assert difference(*wins, [str(place // 2) for place in range(20)]).test.name == CLUSTERED_T
    assert difference([0.5, *wins[0]], [0.5, *wins[1]]).test.name == CLUSTERED_T
    assert difference(wins[0], [0.5, *wins[1][1:]]).test.name == CLUSTERED_T
    assert difference([0.5, *wins[0][1:]], wins[1]).test.name == CLUSTERED_T
    assert (MCNEMAR, CLUSTERED_T) == ("exact McNemar", "clustered t")


def test_refuses_other_samples_and_says_nothing_about_one_cluster() -> None:
    with pytest.raises(ValueError, match="same samples"):
        paired_difference(estimate([1.0, 0.0]), estimate([1.0, 0.0, 1.0]))
    with pytest.raises(ValueError, match="same samples"):
        paired_difference(estimate([1.0, 0.0], ["a", "b"]), estimate([1.0, 0.0], ["a", "c"]))
    single = difference([1.0, 0.0], [1.0, 1.0], ["a", "a"])
    assert (single.value, single.test, single.p, single.ci95, single.bound(-1, 0.95)) == (50.0, None, None, None, None)
    assert (single.degrees, single.detectable) == (None, None)


# Exact McNemar and its interval.


def test_without_a_value_on_one_side_there_is_no_difference() -> None:
    valued = estimate([1.0, 0.0])
    nothing = replace(valued, value=None)
    assert [paired_difference(*pair) for pair in ((nothing, valued), (valued, nothing))] == [None, None]
    assert (minus(nothing, valued).value, minus(valued, nothing).value, minus(valued, valued).value) == (None, None, 0)


def test_five_won_and_none_lost() -> None:
    found = difference([0.0] * 200, [1.0] * 5 + [0.0] * 195)
    assert found.p == 0.0625
    assert found.value == pytest.approx(2.5)
    assert found.ci95 is not None
    assert found.ci95[0] < 0 < found.ci95[1]


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_binomial_test(lost: int, won: int) -> None:
    expected = binomtest(lost, lost + won).pvalue if lost + won else 1.0
    assert McNemar(won, lost, 100, 1.0).p == pytest.approx(expected)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 200), st.sampled_from([0.8, 0.95, 0.99]))
def test_mcnemars_bounds_agree_with_its_test(won: int, lost: int, still: int, confidence: float) -> None:
    num = max(1, won + lost + still)
    test = McNemar(won, lost, num, 100.0)
    low, high = test.bound(-1, confidence), test.bound(1, confidence)
    assert -100 <= low <= 100 * (won - lost) / num <= high <= 100
    assert (low > 0 or high < 0) == (test.p < 2 * (1 - confidence))
    turned = McNemar(lost, won, num, 100.0)
    assert (turned.bound(-1, confidence), turned.bound(1, confidence)) == pytest.approx((-high, -low))


@pytest.mark.parametrize("case", [(9, 2, 161, 0.025), (12, 3, 100, 0.05), (3, 9, 30, 0.025), (10, 10, 20, 0.025)])
def test_melded_bound_is_the_quantile_of_melded_draws(case: tuple[int, int, int, float]) -> None:
    """Fay and Lumbard's definition, by half a million draws of the two confidence distributions."""
    won, lost, num, level = case
    random, size = np.random.default_rng(0), 500_000
    flipped = won + lost
    factor = 2 * random.beta(won, lost + 1, size) - 1
    fewer = random.beta(flipped, num - flipped + 1, size)
    more = random.beta(flipped + 1, num - flipped, size) if flipped < num else np.ones(size)
    drawn = np.quantile(np.where(factor > 0, factor * fewer, factor * more), level)
    assert lowest_difference(won, lost, num, level) == pytest.approx(drawn, abs=1e-3)


def test_without_wins_the_bound_is_clopper_and_pearsons() -> None:
    upper = binomtest(10, 1000).proportion_ci(confidence_level=0.9, method="exact").high
    assert lowest_difference(0, 10, 1000, 0.05) == pytest.approx(-upper)
    assert lowest_difference(0, 0, 50, 0.05) == pytest.approx(-(1 - 0.05 ** (1 / 50)))
    assert lowest_difference(0, 7, 7, 0.05) == -1


def test_mcnemars_interval_holds_every_truth_of_a_grid() -> None:
    """Exact coverage by enumerating all outcomes of 12 questions: never below 95 %."""
    num = 12
    outcomes = [(won, lost) for won in range(num + 1) for lost in range(num + 1 - won)]
    tests = {each: McNemar(*each, num, 1.0) for each in outcomes}
    bounds = {each: (test.bound(-1, 0.975), test.bound(1, 0.975)) for each, test in tests.items()}
    for win, loss in product((0.0, 0.02, 0.1, 0.25, 0.4), repeat=2):
        law = multinomial(num, [win, loss, 1 - win - loss])
        held = sum(
            law.pmf([won, lost, num - won - lost])
            for (won, lost), (low, high) in bounds.items()
            if low - 1e-12 <= win - loss <= high + 1e-12
        )
        assert held >= 0.95, (win, loss)


# Clustered t.


def test_t_is_the_paired_t_test() -> None:
    random = np.random.default_rng(2)
    a, b = random.random(300).round(1), random.random(300).round(1)
    found, expected = difference(list(a), list(b)), ttest_rel(100 * b, 100 * a)
    interval = expected.confidence_interval()
    assert found.p == pytest.approx(expected.pvalue)
    assert found.ci95 == pytest.approx((interval.low, interval.high))
    assert found.degrees == pytest.approx(299)
    assert found.value == pytest.approx(100 * (b.mean() - a.mean()))
    quantiles = student_t.ppf(0.975, 299) + student_t.ppf(0.8, 299)
    assert found.detectable == pytest.approx(quantiles * found.std_error, rel=1e-9)


def test_one_sided_bounds_are_students() -> None:
    """Seven degrees of freedom: the normal law's bound would be 12 % closer."""
    steps = np.array([0.1, 0.3, -0.2, 0.4, 0.2, 0.0, 0.5, 0.1])
    found = difference([0.5] * 8, list(0.5 + steps))
    interval = ttest_1samp(100 * steps, 0).confidence_interval(confidence_level=0.9)
    assert (found.bound(-1, 0.95), found.bound(1, 0.95)) == pytest.approx((interval.low, interval.high))


def test_equal_clusters_are_as_good_as_their_means() -> None:
    random = np.random.default_rng(3)
    a, b = (random.random((20, 4)) < chance for chance in (0.5, 0.6))
    names = [str(place // 4) for place in range(80)]
    found = difference([float(v) for v in a.ravel()], [float(v) for v in b.ravel()], names)
    expected = ttest_rel(100 * b.mean(axis=1), 100 * a.mean(axis=1))
    assert found.p == pytest.approx(expected.pvalue)
    assert found.degrees == pytest.approx(19)


def test_few_moved_clusters_cannot_show_more_than_their_signs() -> None:
    """Five pictures of two hundred, all to the better by their own steps: p is a sign test's, the interval follows."""
    clusters = [f"{place // 2:04}" for place in range(400)]
    a, b = [0.0] * 400, [0.0] * 400
    for place in (0, 2, 4, 6, 7, 9):
        b[place] = 1.0
    found = difference(a, b, clusters)
    assert isinstance(found.test, ClusteredT)
    assert found.num_moved == 5
    assert found.p == 2 / 2**5
    assert found.ci95 is not None
    assert found.ci95[0] == 0.0
    assert found.ci95[1] > found.value
    b[100] = b[200] = b[300] = 1.0  # eight: Student's law and the signs agree that this is no chance
    more = difference(a, b, clusters)
    assert more.p == pytest.approx(2 / 2**8)
    assert more.ci95 is not None
    assert more.ci95[0] > 0


@settings(deadline=None)
@given(
    st.floats(-50, 50, allow_nan=False),
    st.floats(0, 30),
    st.floats(1, 300),
    st.integers(0, 40),
    st.sampled_from([0.8, 0.95, 0.975, 0.995]),
)
def test_ts_bounds_agree_with_its_test(
    value: float, error: float, degrees: float, moved: int, confidence: float
) -> None:
    test = ClusteredT(value if moved else 0.0, error if moved else 0.0, degrees, moved, 50, 100.0)
    low, high = test.bound(-1, confidence), test.bound(1, confidence)
    assert low is not None
    assert high is not None
    assert low <= test.value <= high
    if abs(test.p - 2 * (1 - confidence)) > 1e-9 and abs(value) > 1e-9:
        assert (low > 0 or high < 0) == (test.p < 2 * (1 - confidence))


def test_nothing_moved_is_no_certainty() -> None:
    """Fifty pictures without a change leave a change in one of 20 possible; a scale without end leaves anything."""
    test = ClusteredT(0.0, 0.0, 49, 0, 50, 100.0)
    assert test.p == 1
    assert test.bound(1, 0.95) == pytest.approx(100 * (1 - 0.05 ** (1 / 50)))
    assert test.bound(-1, 0.95) == pytest.approx(-100 * (1 - 0.05 ** (1 / 50)))
    assert ClusteredT(0.0, 0.0, 49, 0, 50, None).bound(1, 0.95) is None


def test_a_macro_means_degrees_are_those_of_its_parts_differences() -> None:
    """Forty questions that do not change beside eight that do: the error is the eight's, and so are its degrees."""
    random = np.random.default_rng(6)
    before = np.concatenate([random.random(8), random.random(40)])
    steps = np.concatenate([random.normal(0.1, 0.2, 8), random.normal(0, 1e-3, 40)])

    def macro(values: np.ndarray) -> Estimate:
        groups = ["small"] * 8 + ["large"] * 40
        columns = Columns(
            [
                Score(index=str(i), protocol="", value=float(v), cluster=f"{i:02}", groups=(g,))
                for i, (v, g) in enumerate(zip(values, groups, strict=True))
            ]
        )
        return weighted_sum([columns.mean(columns.among(name)) for name in ("small", "large")], 1 / 2)

    assert macro(before).degrees > 8  # of the levels, of which the many vary too
    found = paired_difference(macro(before), macro(before + steps))
    assert found is not None
    assert found.degrees == pytest.approx(7, abs=0.1)


def test_ratios_are_calibrated() -> None:
    """F1 on 60 pictures of 18 questions, two runs of the same quality: about 5 % of the p-values lie below 0.05."""
    random = np.random.default_rng(0)
    yes = np.tile(np.repeat([1.0, 0.0], 9), 60)
    pictures = np.repeat(np.arange(60), 18)
    columns = Columns([Score(index="", protocol="", value=1.0, cluster=f"{picture:02}") for picture in pictures])

    def f1(difficulty: np.ndarray) -> Estimate:
        wrong = random.random(len(yes)) < np.where(yes == 1, 0.2, 0.1) * difficulty
        said = np.where(wrong, 1 - yes, yes)
        return columns.ratio(2 * yes * said, yes + said, columns.everything)

    p_values = []
    for _ in range(400):
        difficulty = np.exp(random.normal(0, 0.5, 60))[pictures]
        found = paired_difference(f1(difficulty), f1(difficulty))
        assert found is not None
        p_values.append(found.p)
    assert 0.025 < np.mean(np.array(p_values) < 0.05) < 0.08
    assert 0.45 < np.mean(p_values) < 0.55


# Many metrics, and power.


def test_holm_keeps_the_order_and_never_lowers() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.none() | st.floats(0, 1) | st.sampled_from([0.0, 0.01, 0.04, 1.0]), max_size=20))
def test_holm_equals_a_library_s_to_the_bit(p_values: list[float | None]) -> None:
    """Which is not called, as it collects garbage each time: 0.2 s."""
    tested = [p for p in p_values if p is not None]
    expected = iter(multipletests(tested, method="holm")[1].tolist() if tested else [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gc.collect", lambda: pytest.fail("a second for every table"))
        found = holm(p_values)
    assert found == [None if p is None else next(expected) for p in p_values]


def test_smallest_detectable_difference() -> None:
    assert smallest_detectable_difference(1.0, power=0.8) == pytest.approx(1.96 + 0.8416, abs=1e-3)


@pytest.mark.parametrize("flips", [(1, 0), (1, 1), (3, 1), (5, 2), (4, 4), (20, 20)])
def test_no_difference_is_detectable_that_six_questions_could_not_show(flips: tuple[int, int]) -> None:
    """By the exact test itself: six of `num` that moved one way are seen with 80 % power at this difference."""
    won, lost = flips
    num = 140
    a = [1.0] * lost + [0.0] * (num - lost)
    b = [0.0] * lost + [1.0] * won + [0.0] * (num - lost - won)
    found = difference(a, b)
    low, high = found.ci95
    assert found.detectable > (high - low) / 2
    assert binom.sf(5, num, found.detectable / 100) > 0.79


@pytest.mark.parametrize(("num", "is_one"), [(7, False), (8, True)])
def test_too_few_clusters_detect_nothing(num: int, is_one: bool) -> None:
    """Six of seven would have to move one way: no true difference makes that happen four times in five by chance."""
    found = difference([0.0] * num, [1.0] + [0.0] * (num - 1))
    assert (found.detectable is not None) == is_one
