"""Models under other masks than their own: found by their weights, all questions together, arms and pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from record_helpers import record
from reports_helpers import edit_json
from scored_run_helpers import score, write_scored_run

from benchmarks.results.arms import Arm, make_arm
from benchmarks.results.folder import open_runs
from reports.crossed import cross_table
from reports.paper_tables import Plan


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
    found = {row.label: row.cells for row in table.rows}
    assert [cell.value for cell in found["mma (2 seeds)"][1:]] == [25.0, 75.0]
    assert [cell.value for cell in found["it_it (2 seeds)"][1:]] == [25.0, 25.0]
    assert [cell.text for cell in found["mma (2 seeds)"][:1]] == ["mma"]
    lost = found["mma (2 seeds), minus its own mask"][1]
    assert (lost.value, lost.significant) == (-50.0, True)
    same = found["it_it (2 seeds), minus its own mask"][2]
    assert (same.value, bool(same.significant)) == (0.0, False)
    assert not any(label.startswith("dot") for label in found)  # under its own mask alone
    assert found["mma (2 seeds)"][1].seed_ci95 is not None


def test_without_the_model_under_its_own_mask_there_is_no_difference(tmp_path: Path) -> None:
    arms = [
        write_arm(tmp_path, "it_it", [BAD], trained="causal", used="causal", weights="c"),
        write_arm(tmp_path, "strange", [GOOD], trained="mma", used="causal", weights="m"),
    ]
    table = cross_table(plan_of(arms))
    assert table is not None
    assert [row.label for row in table.rows] == ["strange-seed0"]
    assert [column.label for column in table.columns] == ["trained", "used mma", "used causal"]
    assert [cell.value for cell in table.rows[0].cells[1:]] == [None, 75.0]
    assert any("training-seed variance not included" in remark for remark in table.remarks)
    assert cross_table(plan_of(arms[:1])) is None
