"""Paired comparison: differences, tests and flips checked against numbers computed by hand or by scipy."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_rel
from scored_run_helpers import score, scores, write_scored_run

from aki_eval.commands.compare import command, comparison_tables
from benchmarks.errors import UserError
from benchmarks.paired_tests import holm
from benchmarks.records import Score
from benchmarks.results.comparison import Comparison, compare
from benchmarks.results.folder import open_runs
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
    assert metric.ci95 == pytest.approx([100 * bound for bound in (0.0053012, 0.1776541)], abs=1e-4)  # without 0
    step = np.array([0] * 85 + [-1] * 3 + [1] * 12)
    error = 100 * step.std(ddof=1) / 10
    assert metric.detectable == pytest.approx((1.95996 + 0.84162) * error, rel=1e-3)


def test_five_won_and_none_lost_of_two_hundred(tmp_path: Path) -> None:
    metric = compare_values(tmp_path, [0.0] * 200, [1.0] * 5 + [0.0] * 195).metrics[0]
    assert (metric.p, metric.p_holm, metric.test, metric.significant) == (0.0625, 0.0625, "exact McNemar", False)


def test_clusters_widen_the_interval(tmp_path: Path) -> None:
    """Pictures whose ten questions flip together are ten times fewer observations."""
    a, b = [0.0] * 200, [1.0] * 40 + [0.0] * 160
    alone = compare_values(tmp_path / "alone", a, b).metrics[0]
    together = compare_values(tmp_path / "together", a, b, per_cluster=10).metrics[0]
    assert together.difference == alone.difference == pytest.approx(20.0)
    assert alone.p is not None
    assert alone.p < 1e-9
    assert together.p == pytest.approx(2 / 2**4)  # four pictures moved, all the same way
    assert together.test == "clustered t"


def test_graded_answers_get_the_t_test(tmp_path: Path) -> None:
    a, b = [0.1, 0.2, 0.3, 0.4, 0.5, 0.2], [0.2, 0.4, 0.6, 0.3, 0.7, 0.3]
    metric = compare_values(tmp_path, a, b).metrics[0]
    assert metric.test == "clustered t"
    assert metric.p == pytest.approx(ttest_rel(b, a).pvalue)


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
    comparison = compare(*open_runs(runs))
    assert [metric.label for metric in comparison.columns] == ["RealWorldQA", "CV-Bench 2D", "CV-Bench 3D"]
    raw = sorted(metric.p for metric in comparison.columns if metric.p is not None)
    corrected = sorted(metric.p_holm for metric in comparison.columns if metric.p_holm is not None)
    assert corrected == pytest.approx([3 * raw[0], max(3 * raw[0], 2 * raw[1]), 1.0])
    sub_scores = [metric for metric in comparison.metrics if not metric.is_column]
    assert [metric.metric for metric in sub_scores] == ["combined", "ade20k", "coco", "omni3d"]
    assert [metric.p_holm for metric in sub_scores] == pytest.approx(holm([metric.p or 0 for metric in sub_scores]))


def test_what_is_shown_does_not_change_the_correction(tmp_path: Path) -> None:
    """Sub-scores asked for or not: the columns' p-values stay."""
    groups = [("category/AR",), ("category/LR",)]
    for name, right in (("a", 10), ("b", 18)):
        own = [score(number, float(number < right), groups=groups[number % 2]) for number in range(40)]
        write_scored_run(tmp_path / name, {"mmbench": own, TASK: scores([1.0] * right + [0.0] * 22)})
    comparison = compare(*open_runs([tmp_path / "a", tmp_path / "b"]))
    columns, everything = (comparison.as_json(all_metrics=every)["metrics"] for every in (False, True))
    assert len(columns) == 2
    assert len(everything) == 4
    assert everything[:2] == columns


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


@pytest.mark.parametrize("where", ["a", "b"])
def test_what_is_not_comparable_is_not_tested(tmp_path: Path, where: str) -> None:
    """Ten of a hundred answers unread, in either run: the difference stands there, without p, interval and mark."""
    plain = [score(number, float(number < 40), groups=("category/x",)) for number in range(100)]
    better = [score(number, float(number < 80), groups=("category/x",)) for number in range(100)]
    unread = {"a": plain, "b": better}[where]
    unread[90:] = [replace(each, reason="unread") for each in unread[90:]]
    for name, own in (("a", plain), ("b", better)):
        write_scored_run(tmp_path / name, {TASK: own})
    metrics = compare(*open_runs([tmp_path / "a", tmp_path / "b"])).metrics
    for metric in metrics:
        assert metric.reason == f"{where} is not comparable: 10 answers need an extractor"
        assert metric.difference == 40.0
        assert (metric.p, metric.p_holm, metric.test, metric.ci95, metric.detectable) == (None,) * 5
        assert not metric.significant


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
        ({"judge": {"name": "gpt-x", "comparable": True}}, "judge none and gpt-x"),
        ({"subset": {"size": 9}}, "subset none and"),
    ],
)
def test_different_questions_are_refused_unless_told(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    a = write_scored_run(tmp_path / "a", {TASK: scores([1.0, 0.0])})
    b = write_scored_run(tmp_path / "b", {TASK: scores([1.0, 1.0])}, **fields)
    with pytest.raises(UserError, match=rf"real_world_qa: {message}.*--allow-different"):
        compare(*open_runs([a, b]))
    comparison = compare(*open_runs([a, b]), different="allow")
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
    command([tmp_path / "a", tmp_path / "b"], format="json", out=tmp_path / "out", all_metrics=False, flips=1)
    content = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert content["metrics"][0]["difference"] == 50.0
    assert len(content["flips"]) == 10


def test_never_imports_torch_or_vlmeval() -> None:
    heavy = "{'torch', 'vlmeval', 'openai', 'pandas'}"
    code = f"import sys, aki_eval.commands.compare, aki_eval.commands.gate; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
