"""Runs minus the paper, runs minus runs: what is compared, how sure it is, and what is refused."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from reports_helpers import all_metrics, edit_json, metric, plan, write_lines, write_run

from benchmarks.errors import UserError
from benchmarks.paired_tests import McNemar
from benchmarks.results.folder import open_runs
from benchmarks.scoring import estimates_of
from benchmarks.tasks import TASKS
from reports.cli import make_plan, report
from reports.paper_tables import Plan, main_table, subtask_table
from reports.tables import Cell, Table

COLUMN = 9  # RealWorldQA


def cells(table: Table, label: str) -> tuple[Cell, ...]:
    return next(row.cells for row in table.rows if row.label == label)


def write_scores(run: Path, right: list[float | None]) -> None:
    """RealWorldQA scores, one cluster a sample."""
    lines: list[dict[str, Any]] = [
        {
            "index": str(position),
            "protocol": "kit",
            "value": value,
            "reason": None if value is not None else "error",
            "cluster": str(position),
            "groups": [],
            "parts": {},
        }
        for position, value in enumerate(right)
    ]
    write_lines(run / "real_world_qa" / "scores.jsonl", lines)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs on 200 samples: the second one has 30 more right and loses 5."""
    rng = random.Random(0)
    first: list[float | None] = [float(rng.random() < 0.5) for _ in range(200)]
    wrong = [place for place, value in enumerate(first) if value == 0][:30]
    right = [place for place, value in enumerate(first) if value == 1][:5]
    second = [1.0 if place in wrong else 0.0 if place in right else value for place, value in enumerate(first)]
    runs = tmp_path / "first", tmp_path / "second"
    for path, scores in zip(runs, (first, second), strict=True):
        write_run(path, {"real_world_qa": {"overall": metric(50.0)}})
        write_scores(path, scores)
    return runs


def test_difference_between_runs_is_paired(pair: tuple[Path, Path]) -> None:
    table = main_table("1", plan(open_runs(pair)))
    found = cells(table, "second − first")[COLUMN]
    assert found.value == pytest.approx(12.5)
    assert found.number == "+12.5▲"
    expected = McNemar(won=30, lost=5, num_pairs=200, scale=100.0)
    assert (found.p_value, found.p_holm, found.test) == (expected.p, expected.p, "exact McNemar")
    assert found.ci95 == (expected.bound(-1, 0.975), expected.bound(1, 0.975))
    second = open_runs(pair)[1].scores("real_world_qa")
    unpaired = estimates_of(TASKS["real_world_qa"], "kit", second)["overall"].std_error
    assert unpaired is not None
    assert (found.ci95[1] - found.ci95[0]) / 2 < 1.96 * unpaired * 2**0.5


def test_a_small_difference_is_not_marked(pair: tuple[Path, Path]) -> None:
    first, second = pair
    values = [score.value for score in open_runs(pair)[0].scores("real_world_qa")]
    write_scores(second, [1.0 if place == values.index(0.0) else value for place, value in enumerate(values)])
    found = cells(main_table("1", plan(open_runs([first, second]))), "second − first")[COLUMN]
    assert found.number == "+0.5"
    assert found.significant is False


def test_samples_that_one_run_lacks_count_in_neither(pair: tuple[Path, Path]) -> None:
    first, second = pair
    write_scores(first, [1.0] * 100 + [None] * 100)
    write_scores(second, [None] * 50 + [0.0] * 50 + [1.0] * 100)
    found = cells(main_table("1", plan(open_runs([first, second]))), "second − first")[COLUMN]
    assert found.value == pytest.approx(-100.0)


def test_baseline_can_be_chosen(pair: tuple[Path, Path]) -> None:
    first, second = pair
    chosen = make_plan([first], second, "aki_4b")
    assert [run.label for run in chosen.runs] == ["second", "first"]
    assert cells(main_table("1", chosen), "first − second")[COLUMN].value == pytest.approx(-12.5)
    chosen = make_plan([first, second], second, "mma")
    assert cells(main_table("1", chosen), "first − second")[COLUMN].value == pytest.approx(-12.5)
    assert cells(main_table("1", chosen), "first − MMA (Ours)")[COLUMN].value == pytest.approx(50.0 - 52.3)


def test_difference_to_the_paper_is_marked_outside_the_interval(tmp_path: Path) -> None:
    metrics = all_metrics()
    metrics["pope"]["f1"], metrics["mme"]["cognition"] = metric(88.0), metric(300.0, unit="points")
    table = main_table("2", plan(open_runs([write_run(tmp_path / "mine", metrics)])))
    found = cells(table, "mine − AKI-4B (Ours)")
    assert found[7].number == "+1.1"
    assert found[1].number == "-62.9▼"


def test_mmmu_is_compared_on_the_papers_split(tmp_path: Path) -> None:
    metrics = {"mmmu": {"val": metric(50.0), "dev": metric(40.0)}}
    run = open_runs([write_run(tmp_path / "mine", metrics)])
    found = cells(main_table("1", plan(run)), "mine − AKI-4B (Ours)")[5]
    assert found.value == pytest.approx(40.0 - 38.7)
    assert "Development split, as the paper's number." in found.notes
    only_val = open_runs([write_run(tmp_path / "other", {"mmmu": {"val": metric(50.0)}})])
    missing = cells(main_table("1", plan(only_val)), "other − AKI-4B (Ours)")[5]
    assert missing.value is None
    assert "which this run did not measure" in missing.notes[0]
    found = cells(main_table("1", Plan(tuple(run), reference="cca")), "mine − CCA [44]")[5]
    assert found.value == pytest.approx(50.0 - 34.6)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"judge": {"name": "offline", "comparable": False}}, "judge"),
        ({"subset": {"size": 8}}, "subset"),
    ],
)
def test_what_is_unlike_the_paper_is_not_compared(change: dict[str, Any], why: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "mine")
    edit_json(run / "mm_vet" / "metrics.json", **change)
    found = cells(main_table("1", plan(open_runs([run]))), "mine − AKI-4B (Ours)")
    assert found[8].value is None
    assert why in found[8].notes[0]
    assert found[7].value is not None


def test_toy_runs_are_never_set_against_the_paper(tmp_path: Path) -> None:
    run = write_run(tmp_path / "demo", source="toy")
    assert all(row.kind != "difference" or "MMA" in row.label for row in main_table("1", plan(open_runs([run]))).rows)
    assert all(column.kind != "difference" for column in subtask_table("7", plan(open_runs([run]))).columns)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {"data": {"source": "official", "tables": {"RealWorldQA": {"sha256": "other"}}}},
            "RealWorldQA has sha256",
        ),
        ({"judge": {"name": "gpt-9", "comparable": True}}, "judge none and gpt-9"),
        ({"prompts": "vlmevalkit"}, "prompts aki and vlmevalkit"),
        ({"subset": {"size": 8}}, "subset none and"),
    ],
)
def test_runs_that_were_not_asked_the_same_are_not_compared(
    pair: tuple[Path, Path], change: dict[str, Any], why: str
) -> None:
    edit_json(pair[1] / "real_world_qa" / "metrics.json", **change)
    found = cells(main_table("1", plan(open_runs(pair))), "second − first")[COLUMN]
    assert found.value is None
    assert why in found.notes[0]


def test_scores_that_cannot_be_paired_take_no_other_task_with_them(pair: tuple[Path, Path]) -> None:
    """A sample twice in one task: that task says why it is not compared, the others are."""
    for path in pair:
        write_run(path / "more", {"mmmu": {"val": metric(50.0, num=2)}})
        (path / "more" / "mmmu").rename(path / "mmmu")
        line = {"protocol": "kit", "value": 1.0, "groups": ["val"], "parts": {}}
        write_lines(path / "mmmu" / "scores.jsonl", [{**line, "index": "1", "cluster": "1"}] * 2)
    table = main_table("1", plan(open_runs(pair)))
    found = cells(table, "second − first")
    assert found[COLUMN].value == pytest.approx(12.5)
    assert found[5].value is None
    assert "holds a sample twice" in found[5].notes[0]


def test_gain_in_the_paper_is_computed_and_names_its_comparator() -> None:
    table = main_table("1", plan([]))
    gains = cells(table, "MMA (Ours) over CCA [44], relative")
    assert [gains[place].number for place in (0, 2, 9)] == ["+10.9%", "+4.3%", "-0.8%"]
    assert gains[5].value is None
    assert "val split for one, dev for the other" in gains[5].notes[0]
    assert any("+6.4% on average over 11 of 12 columns (not MMMU)" in remark for remark in table.remarks)


def test_unknown_reference_is_refused() -> None:
    with pytest.raises(UserError, match=r"--reference 'gpt-5' is no row of Tables 1 and 2; choose from baseline_it_it"):
        report([], reference="gpt-5")
