"""Paired comparison: differences, tests and flips checked against numbers computed by hand or by scipy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest
from scored_run_helpers import score, scores, write_scored_run

from aki_eval.compare import command, comparison_tables
from aki_eval.comparison import Comparison, compare, exchangeable
from benchmarks.errors import UserError
from benchmarks.records import Score
from benchmarks.results.folder import open_runs
from benchmarks.statistics import Columns, Estimate, sign_flip_p
from reports.render import markdown

TASK = "real_world_qa"


def compare_values(root: Path, a: list[Any], b: list[Any], *, per_cluster: int = 1, **options: Any) -> Comparison:
    runs = [write_scored_run(root / name, {TASK: scores(values, per_cluster)}) for name, values in (("a", a), ("b", b))]
    return compare(*open_runs(runs), **options)


def test_difference_is_paired_and_exact(tmp_path: Path) -> None:
    """60 both right, 25 both wrong, 3 only A, 12 only B."""
    a = [1.0] * 60 + [0.0] * 25 + [1.0] * 3 + [0.0] * 12
    b = [1.0] * 60 + [0.0] * 25 + [0.0] * 3 + [1.0] * 12
    metric = compare_values(tmp_path, a, b).metrics[0]
    assert (metric.a, metric.b, metric.difference) == pytest.approx((63.0, 72.0, 9.0))
    assert metric.test == "exact McNemar"
    assert metric.p == pytest.approx(binomtest(3, 15).pvalue)
    step = np.array([0] * 85 + [-1] * 3 + [1] * 12)
    error = 100 * step.std(ddof=1) / 10
    assert metric.ci95 is not None
    assert metric.ci95[1] - metric.ci95[0] == pytest.approx(2 * 1.98422 * error, rel=1e-3)  # Student, 99 degrees
    assert metric.detectable == pytest.approx((1.95996 + 0.84162) * error, rel=1e-3)


def test_clusters_widen_the_interval(tmp_path: Path) -> None:
    """Pictures whose ten questions flip together are ten times fewer observations."""
    a, b = [0.0] * 200, [1.0] * 40 + [0.0] * 160
    alone = compare_values(tmp_path / "alone", a, b).metrics[0]
    together = compare_values(tmp_path / "together", a, b, per_cluster=10).metrics[0]
    assert together.difference == alone.difference == pytest.approx(20.0)
    assert alone.p is not None
    assert together.p is not None
    assert alone.p < 1e-9
    assert together.p == pytest.approx(2 / 2**4)  # four pictures moved, all the same way
    assert together.test == "exact McNemar on clusters"


def test_graded_answers_are_permuted(tmp_path: Path) -> None:
    metric = compare_values(tmp_path, [0.1, 0.2, 0.3, 0.4], [0.2, 0.4, 0.6, 0.3]).metrics[0]
    assert metric.test == "clustered permutation"
    signs = np.array(np.meshgrid(*[[-1, 1]] * 4)).reshape(4, -1).T
    moved = np.array([0.1, 0.2, 0.3, -0.1])
    assert metric.p == pytest.approx(np.mean(np.abs(signs @ moved) >= abs(moved.sum()) - 1e-9))


def test_p_values_of_ratios_are_calibrated() -> None:
    """F1 on 60 pictures of 18 questions, two runs of the same quality: 5 % of the p-values lie below 0.05."""
    random = np.random.default_rng(0)
    yes = np.tile(np.repeat([1.0, 0.0], 9), 60)
    pictures = np.repeat(np.arange(60), 18)
    columns = Columns([score(number, 1.0, cluster=str(picture)) for number, picture in enumerate(pictures)])

    def f1(difficulty: np.ndarray) -> Estimate:
        wrong = random.random(len(yes)) < np.where(yes == 1, 0.2, 0.1) * difficulty
        said = np.where(wrong, 1 - yes, yes)
        return columns.ratio(2 * yes * said, yes + said, columns.everything)

    p_values = []
    for _ in range(300):
        difficulty = np.exp(random.normal(0, 0.5, 60))[pictures]
        moved = exchangeable(f1(difficulty), f1(difficulty))
        p_values.append(sign_flip_p(moved, num_draws=499))
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.09
    assert 0.4 < np.mean(p_values) < 0.6


def test_same_run_differs_in_nothing(tmp_path: Path) -> None:
    comparison = compare_values(tmp_path, [1.0, 0.0, 1.0], [1.0, 0.0, 1.0])
    metric = comparison.metrics[0]
    assert (metric.difference, metric.p, metric.significant) == (0.0, 1.0, False)
    assert comparison.flips == []


def test_holm_over_the_metrics(tmp_path: Path) -> None:
    """CV-Bench's two columns and POPE's: the smallest p is multiplied by three, the next by two."""

    def cv_bench(right: int) -> list[Score]:
        sources = ("ade20k", "coco", "omni3d")
        return [
            score(f"{source} {number}", float(number < right), protocol="official", groups=(source,))
            for source in sources
            for number in range(20)
        ]

    runs = [
        write_scored_run(tmp_path / name, {"cv_bench": cv_bench(right), TASK: scores([1.0] * moved + [0.0] * 20)})
        for name, right, moved in (("a", 8, 0), ("b", 13, 0))
    ]
    metrics = compare(*open_runs(runs)).metrics
    assert [metric.label for metric in metrics] == ["RealWorldQA", "CV-Bench 2D", "CV-Bench 3D"]
    raw = sorted(metric.p for metric in metrics if metric.p is not None)
    corrected = sorted(metric.p_holm for metric in metrics if metric.p_holm is not None)
    assert corrected[0] == pytest.approx(3 * raw[0])
    assert corrected == sorted(corrected)


def test_flips_are_listed_with_both_readings(tmp_path: Path) -> None:
    def run(name: str, value: float, answer: str) -> Path:
        return write_scored_run(
            tmp_path / name, {TASK: [score("7", value, answer=answer, target="B"), score("8", 1.0, answer="A")]}
        )

    comparison = compare(*open_runs([run("a", 1.0, "B"), run("b", 0.0, "C")]))
    assert [(f.index, f.a, f.b, f.answer_a, f.answer_b, f.target) for f in comparison.flips] == [
        ("7", 1.0, 0.0, "B", "C", "B")
    ]
    text = "\n".join(markdown.render(table) for table in comparison_tables(comparison, 5))
    assert "1 -&gt; 0" in text or "1 -> 0" in text


def test_unscored_samples_are_left_out_on_both_sides_and_counted(tmp_path: Path) -> None:
    comparison = compare_values(tmp_path, [1.0, 1.0, None, 0.0], [1.0, None, 1.0, 1.0])
    metric = comparison.metrics[0]
    assert (metric.num_pairs, metric.num_left_out) == (2, 2)
    assert (metric.a, metric.b) == (50.0, 100.0)


def test_nothing_in_common_to_score(tmp_path: Path) -> None:
    metric = compare_values(tmp_path, [1.0, None], [None, 1.0]).metrics[0]
    assert (metric.a, metric.difference, metric.p, metric.p_holm) == (None, None, None, None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompts": "vlmevalkit"}, "prompts aki and vlmevalkit"),
        (
            {"data": {"source": "x", "tables": {"REAL_WORLD_QA": {"sha256": "1" * 64}}}},
            "table REAL_WORLD_QA has sha256",
        ),
        ({"judge": {"name": "gpt-x", "comparable": True}}, "judge None and gpt-x"),
        ({"subset": {"size": 9}}, "subset None and"),
    ],
)
def test_different_questions_are_refused_unless_told(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    a = write_scored_run(tmp_path / "a", {TASK: scores([1.0, 0.0])})
    b = write_scored_run(tmp_path / "b", {TASK: scores([1.0, 1.0])}, **fields)
    with pytest.raises(UserError, match=rf"real_world_qa: {message}.*--allow-different"):
        compare(*open_runs([a, b]))
    comparison = compare(*open_runs([a, b]), allowed=True)
    assert len(comparison.warnings) == 1
    assert "not asked the same" in markdown.render(comparison_tables(comparison, 5)[1])


def test_says_how_the_runs_were_made(tmp_path: Path) -> None:
    comparison = compare_values(tmp_path, [1.0, 0.0], [1.0, 0.0])
    assert comparison.made_differently == [("model.name", "a", "b")]
    assert "model.name" in markdown.render(comparison_tables(comparison, 5)[0])


def test_other_questions_under_the_same_index_are_an_error(tmp_path: Path) -> None:
    a = write_scored_run(tmp_path / "a", {TASK: [score("1", 1.0, cluster="x")]})
    b = write_scored_run(tmp_path / "b", {TASK: [score("1", 1.0, cluster="y")]})
    with pytest.raises(UserError, match="sample 1 is another question"):
        compare(*open_runs([a, b]))


def test_no_common_task(tmp_path: Path) -> None:
    a = write_scored_run(tmp_path / "a", {TASK: scores([1.0])})
    b = write_scored_run(tmp_path / "b", {"mm_vet": scores([1.0])})
    with pytest.raises(UserError, match="no task in common"):
        compare(*open_runs([a, b]))


def test_json_holds_everything(tmp_path: Path) -> None:
    for name, values in (("a", [1.0, 0.0] * 10), ("b", [1.0, 1.0] * 10)):
        write_scored_run(tmp_path / name, {TASK: scores(values)})
    command(tmp_path / "a", tmp_path / "b", format="json", out=tmp_path / "out", all_metrics=False, flips=1)
    content = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert content["metrics"][0]["difference"] == 50.0
    assert len(content["flips"]) == 10
    with pytest.raises(UserError, match="--format 'xml'"):
        command(tmp_path / "a", tmp_path / "b", format="xml")


def test_never_imports_torch_or_vlmeval() -> None:
    heavy = "{'torch', 'vlmeval', 'openai', 'pandas'}"
    code = f"import sys, aki_eval.compare, aki_eval.gate; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
