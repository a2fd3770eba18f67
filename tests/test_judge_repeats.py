"""Several judgings of the same answers: their spread is in the interval, and single grades' luck is there once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import real_answers

from benchmarks.arms import mean_estimate
from benchmarks.estimates import Estimate, student_quantile, wilson
from benchmarks.paired_tests import minus
from benchmarks.records import Score
from benchmarks.tasks import TASKS

VET, WILD = (TASKS[name].protocols["kit"].estimate for name in ("mm_vet", "llava_bench"))


def graded(grades: np.ndarray) -> list[Score]:
    """MM-Vet's scores of grades (K, N)."""
    return [
        Score(
            index=str(place),
            protocol="kit",
            value=float(column.mean()),
            cluster=f"{place:03}",
            parts={f"repeat_{k}": float(grade) for k, grade in enumerate(column)} if len(column) > 1 else {},
        )
        for place, column in enumerate(grades.T)
    ]


def overall(grades: np.ndarray) -> Estimate:
    return VET(graded(grades))["overall"]


def test_the_error_is_that_of_crossed_questions_and_judgings() -> None:
    """By the textbook: mean squares of questions, of judgings and of what is left in a table of K rows, N columns."""
    random = np.random.default_rng(0)
    num_judgings, num = 4, 50
    grades = (
        random.uniform(0.2, 0.8, num)
        + random.normal(0, 0.05, (num_judgings, 1))
        + random.normal(0, 0.1, (num_judgings, num))
    )
    rows, columns = grades.mean(axis=1), grades.mean(axis=0)
    left = grades - rows[:, None] - columns[None] + grades.mean()
    interaction = np.square(left).sum() / ((num_judgings - 1) * (num - 1)) / (num_judgings * num)
    expected = columns.var(ddof=1) / num + rows.var(ddof=1) / num_judgings - interaction
    found = overall(grades)
    assert found.std_error == pytest.approx(100 * float(np.sqrt(expected)), rel=1e-9)
    assert 3 < found.degrees < num - 1
    assert found.value is not None
    share = found.value / 100
    low, high = wilson(share, share * (1 - share) / expected, student_quantile(found.degrees))
    assert found.interval() == pytest.approx((100 * low, 100 * high))


def test_one_judging_and_a_judge_without_spread_change_nothing() -> None:
    one = np.random.default_rng(1).uniform(0, 1, (1, 40))
    bare, same = overall(one), overall(np.repeat(one, 3, axis=0))
    assert same.std_error == pytest.approx(bare.std_error)
    assert same.degrees == pytest.approx(bare.degrees)
    assert bare.unclustered == 0


def test_judgings_that_agree_more_than_luck_would_take_nothing_off() -> None:
    """What questions say alone is the least."""
    grades = np.random.default_rng(2).uniform(0, 1, (3, 40))
    grades += grades.mean() - grades.mean(axis=1, keepdims=True)
    found = overall(grades)
    assert found.unclustered == 0
    assert found.std_error == pytest.approx(100 * float(grades.mean(axis=0).std(ddof=1)) / 40**0.5)


def test_differences_and_arms_carry_it_on() -> None:
    random = np.random.default_rng(3)
    a, b = (overall(random.uniform(0, 1, (2, 30)) + np.array([[0.0], [up]])) for up in (0.2, 0.4))
    assert 0 < a.unclustered < b.unclustered
    joint = minus(b, a)
    clustered = float(np.square(b.corrected - a.corrected).sum())
    assert joint.std_error == pytest.approx((clustered + a.unclustered + b.unclustered) ** 0.5)
    assert joint.degrees == min(a.degrees, b.degrees)
    assert mean_estimate([a, b]).unclustered == pytest.approx((a.unclustered + b.unclustered) / 4)


def test_a_ratio_of_grades_has_it_too() -> None:
    """LLaVA-Bench's references are graded in every judging: a mood that lifts both cancels out."""
    random = np.random.default_rng(4)
    answers, references = random.uniform(4, 7, 60), random.uniform(7, 9, 60)

    def scores(moods: np.ndarray, on_references: np.ndarray) -> list[Score]:
        grades, beside = answers * moods[:, None], references * on_references[:, None]
        return [
            replace(
                score,
                parts={f"repeat_{k}": float(grades[k, place]) for k in range(3)}
                | {f"reference_repeat_{k}": float(beside[k, place]) for k in range(3)}
                | {"reference": float(beside[:, place].mean())},
            )
            for place, score in enumerate(graded(grades))
        ]

    moods = np.array([0.9, 1.0, 1.1])
    alone, together = (WILD(scores(moods, other))["overall"] for other in (np.ones(3), moods))
    assert alone.unclustered > 1
    assert together.unclustered == pytest.approx(0, abs=1e-9)


def test_published_judgings_share_next_to_nothing() -> None:
    """GPT-4-0613 graded 218 answers three times, 31.2, 30.8 and 31.2 in all: the same judge in the same mood."""
    folder = real_answers.real_folder()
    if folder is None:
        pytest.skip(real_answers.MISSING)
    lines = real_answers.read_lines(folder / "mmvet_llava1.5_7b.jsonl.gz")
    found = overall(np.array([line["grades"] for line in lines]).T)
    assert found.value == pytest.approx(31.1, abs=0.05)
    assert 0 <= found.unclustered < 0.02 * float(np.square(found.corrected).sum())
