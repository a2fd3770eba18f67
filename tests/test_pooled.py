"""Models under other masks than their own, and skills over benchmarks: all questions together, arms and pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from record_helpers import record
from reports_helpers import edit_json
from scored_run_helpers import score, write_scored_run

from benchmarks.results.arms import Arm, make_arm
from benchmarks.results.folder import open_runs
from reports import pooled
from reports.paper_tables import Plan
from reports.pooled import cross_table, everything, skill_tables


def write_arm(
    folder: Path, name: str, worths: Sequence[Sequence[float]], *, trained: str, used: str, weights: str
) -> Arm:
    """A run for each seed: half of its questions in one benchmark, half in another, two to a picture."""
    paths = []
    for seed, values in enumerate(worths):
        half = len(values) // 2
        tasks = {
            task: [score(place, value, cluster=str(place // 2)) for place, value in enumerate(own)]
            for task, own in (("real_world_qa", values[:half]), ("seed_image", values[half:]))
        }
        run = write_scored_run(folder / f"{name}-seed{seed}", tasks)
        model = {"attention": used, "trained_attention": trained, "training_seed": seed}
        edit_json(run / "run.json", model=record(name)["model"] | model | {"weights_sha256": f"{weights}{seed}"})
        paths.append(run)
    return make_arm(open_runs(paths))


GOOD, BAD = [1.0, 1.0, 1.0, 0.0] * 20, [1.0, 0.0, 0.0, 0.0] * 20


def plan_of(arms: Sequence[Arm]) -> Plan:
    return Plan(tuple(run for arm in arms for run in arm.runs), arms[0].runs[0], "aki_4b", tuple(arms))


def test_a_model_under_another_mask_stands_beside_itself(tmp_path: Path) -> None:
    """By its weights: whose run is whose follows from run.json alone."""
    arms = [
        write_arm(tmp_path, "it_it", [BAD, BAD], trained="causal", used="causal", weights="c"),
        write_arm(tmp_path, "mma", [GOOD, GOOD], trained="mma", used="mma", weights="m"),
        write_arm(tmp_path, "dot", [GOOD, GOOD], trained="causal", used="causal", weights="d"),
        write_arm(tmp_path, "mma-as-causal", [BAD, BAD], trained="mma", used="causal", weights="m"),
        write_arm(tmp_path, "it_it-as-mma", [BAD, BAD], trained="causal", used="mma", weights="c"),
    ]
    table = cross_table(plan_of(arms))
    assert table is not None
    assert [column.label for column in table.columns] == ["trained", "used causal", "used mma"]
    found = {(row.label, row.section): row.cells for row in table.rows}
    assert [cell.value for cell in found["mma (2 seeds)", "trained mma"][1:]] == [25.0, 75.0]
    assert [cell.value for cell in found["it_it (2 seeds)", "trained causal"][1:]] == [25.0, 25.0]
    lost = found["minus its own mask", "trained mma"][1]
    assert (lost.value, lost.significant) == (-50.0, True)
    same = found["minus its own mask", "trained causal"][2]
    assert (same.value, bool(same.significant)) == (0.0, False)
    assert not any(label.startswith("dot") for label, _ in found)  # under its own mask alone
    assert found["mma (2 seeds)", "trained mma"][1].seed_ci95 is not None


def test_without_the_model_under_its_own_mask_there_is_no_difference(tmp_path: Path) -> None:
    arms = [
        write_arm(tmp_path, "it_it", [BAD], trained="causal", used="causal", weights="c"),
        write_arm(tmp_path, "strange", [GOOD], trained="mma", used="causal", weights="m"),
    ]
    table = cross_table(plan_of(arms))
    assert table is not None
    assert [row.label for row in table.rows] == ["strange-seed0"]
    assert [cell.value for cell in table.rows[0].cells[1:]] == [75.0]
    assert any("training-seed variance not included" in remark for remark in table.remarks)
    assert cross_table(plan_of(arms[:1])) is None


def test_skills_over_benchmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A skill that is asked about in two benchmarks is one row; what is of no skill counts in none."""
    skills = {("real_world_qa", str(place)): ("color",) for place in range(40)}
    skills |= {("seed_image", str(place)): ("color",) if place < 20 else ("count", "count") for place in range(38)}
    monkeypatch.setattr(pooled, "toy_skills", lambda: skills)
    arms = [
        write_arm(tmp_path, "it_it", [BAD, BAD], trained="causal", used="causal", weights="c"),
        write_arm(tmp_path, "mma", [GOOD, BAD], trained="mma", used="mma", weights="m"),
    ]
    right, differences = skill_tables(plan_of(arms))
    assert [row.label for row in right.rows] == ["color", "count", "all of them"]
    assert [column.label for column in right.columns] == ["it_it (2 seeds)", "mma (2 seeds)"]
    assert [column.label for column in differences.columns] == ["mma (2 seeds)"]
    assert [cell.value for cell in right.rows[0].cells] == pytest.approx([25.0, 50.0])
    assert differences.rows[0].cells[0].value == pytest.approx(25.0)
    assert differences.rows[0].cells[0].ci95 is not None
    every = differences.rows[2].cells[0]
    assert every.p_holm == every.p_value
    plan = plan_of(arms)
    assert skill_tables(Plan(plan.runs)) == []  # no arms


def test_every_question_counts_once() -> None:
    assert len(everything("pope", "7")) == 1


def test_the_toys_skills_are_those_of_its_tables() -> None:
    """POPE's questions count once for each of their splits, as in its own number."""
    found = pooled.toy_skills()
    assert {task for task, _ in found}.isdisjoint({"mm_vet", "llava_bench"})
    assert found["pope", "0"] == ("existence",) * 3
    assert any(index.startswith("CV-Bench-2D/") for task, index in found if task == "cv_bench")
