"""Checkpoints over time: each evaluated once, and the best of them never picked by noise without a word."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from scored_run_helpers import scores, write_scored_run

from aki_eval.cli import main
from aki_eval.run.checkpoints import checkpoints, run_folder
from benchmarks.results.comparison import compare
from benchmarks.results.folder import open_run
from reports import curves
from reports.curves import in_steps
from reports.paper_tables import Plan
from reports.steps import step_figure, step_table

TOY = Path(__file__).parent / "data" / "toy_model"


def plan_of(folder: Path, rights: dict[str, int], total: int = 100) -> Plan:
    """Runs by name, with so many of the first answers right."""
    runs = []
    for name, right in rights.items():
        values = [1.0] * right + [0.0] * (total - right)
        write_scored_run(folder / name, {"real_world_qa": scores(values)})
        runs.append(open_run(folder / name))
    return Plan(tuple(runs))


def test_the_best_and_those_that_cannot_be_told_from_it(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {"step-200": 60, "step-30": 20, "checkpoint_1000": 58})
    assert [step for step, _ in in_steps(plan.runs)] == [30, 200, 1000]
    (curve,) = plan.curves
    assert (curve.best, curve.equal) == (200, (1000,))
    table = step_table(plan)
    assert table is not None
    assert [row.label for row in table.rows] == ["step 30", "step 200", "step 1000"]
    assert [row.cells[0].number for row in table.rows] == ["20.0", "60.0 ★", "58.0 ≈"]
    assert "cannot be told from it on these questions: picking it would be picking by noise" in table.remarks[0]
    assert step_figure(plan) is not None


def test_a_clear_best_is_said_to_be_one(tmp_path: Path) -> None:
    (curve,) = plan_of(tmp_path, {"step-1": 20, "step-2": 50, "step-3": 90}).curves
    assert (curve.best, curve.equal) == (3, ())


def test_two_steps_are_compared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both columns of MME have their best at step 3; a table and a figure are made of one plan."""
    runs = []
    for step, right in ((1, 10), (2, 20), (3, 40)):
        found = [
            replace(each, index=f"{group}/{each.index}", groups=(group,), cluster=f"{group}/{each.cluster}")
            for group in ("perception/OCR", "cognition/text_translation")
            for each in scores([1.0] * right + [0.0] * (60 - right), per_cluster=2)
        ]
        write_scored_run(tmp_path / f"step-{step}", {"mme": found})
        runs.append(open_run(tmp_path / f"step-{step}"))
    asked = []
    monkeypatch.setattr(curves, "compare", lambda a, b, **kw: asked.append((a.label, b.label)) or compare(a, b, **kw))
    plan = Plan(tuple(runs))
    assert step_table(plan) is not None
    assert step_figure(plan) is not None
    assert [curve.best for curve in plan.curves] == [3, 3]
    assert asked == [("step-1", "step-3"), ("step-2", "step-3")]


def test_runs_that_are_no_steps_are_no_curve(tmp_path: Path) -> None:
    assert in_steps(plan_of(tmp_path, {"a": 1, "step-2": 2, "step-3": 3}).runs) == []
    assert in_steps(plan_of(tmp_path / "two", {"step-2": 2, "step-3": 3}).runs) == []
    assert step_table(plan_of(tmp_path / "three", {"a": 1, "b": 2, "c": 3})) is None


def checkpoint(folder: Path, step: int, *, whole: bool = True) -> Path:
    place = folder / f"checkpoint-{step}"
    shutil.copytree(TOY, place, ignore=shutil.ignore_patterns("training"))
    if whole:
        (place / "trainer_state.json").write_text("{}")
    return place


def test_only_whole_checkpoints_by_step(tmp_path: Path) -> None:
    sft = tmp_path / "sft"
    places = [checkpoint(sft, step) for step in (1000, 200)]
    checkpoint(sft, 1200, whole=False)
    assert checkpoints(tmp_path) == [(200, places[1]), (1000, places[0])]
    assert run_folder(places[0], tmp_path, Path("runs")) == Path("runs/sft/step-1000")
    (places[0] / "optimizer").mkdir()  # as ours have: threads may still write the weights
    assert checkpoints(tmp_path) == [(200, places[1])]
    (places[0] / "stage.json").write_text("{}")
    assert checkpoints(tmp_path) == [(200, places[1]), (1000, places[0])]


def test_watch_evaluates_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint(tmp_path / "training", 10)
    options = ["--bench", "real_world_qa", "--data", "toy", "--subset", "10"]
    watch = ["watch", str(tmp_path / "training"), "--out", str(tmp_path / "runs"), "--once"]

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["aki-eval", *watch, *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        return int(str(ended.value.code)), said.out + said.err

    assert call(*options)[0] == 0
    assert set(open_run(tmp_path / "runs" / "step-10").results) == {"real_world_qa"}
    code, said = call(*options)
    assert (code, "step 10" in said) == (0, False)
    assert call()[0] == 2  # no --bench
    checkpoint(tmp_path / "training", 20)
    code, said = call("--bench", "nothing", "--data", "toy")
    assert code == 2
    assert "unknown benchmark 'nothing'" in said
