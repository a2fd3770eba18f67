"""The ablation: rows, budgets, resuming and recipes by themselves, and two rows from nothing to their report."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.errors import UserError
from train import cli
from train.ablation.carry_out import carry_out
from train.ablation.plan import AblationPlan, read_plan, write_plan
from train.ablation.results import share_right
from train.ablation.rows import NEW_KINDS, TABLE_1, all_rows, choose_rows
from train.ablation.schedule import Job, StepSeconds, check_budget, jobs, run_jobs
from train.ablation.training import toy_stages, write_recipe
from train.ablation.work import record_path
from train.recipe import load_recipe, recipe_names
from train.toy.arithmetic import ENVIRONMENT
from train.toy.plan import ToyPlan

TINY = AblationPlan(
    toy=ToyPlan(num_images=60, num_captions=64, vision_steps=4, caption_steps=3, sft_steps=4),
    bench="real_world_qa",
    subset="ci",
    points=0,
)


def test_all_eight_rows_of_table_1_and_the_masks_beside_it() -> None:
    rows = all_rows(3)
    assert set(TABLE_1) == {name for name in recipe_names() if load_recipe(name).row}
    assert {*TABLE_1, *NEW_KINDS, "mma_late", "dot_equal"} == set(rows)
    assert [stage.attention for stage in rows["cca"].stages] == ["cca", "cca"]
    assert [stage.image_order for stage in rows["dot"].stages] == ["text_first", "image_first"] * 2
    for name in NEW_KINDS:  # pictures see no caption in pretraining
        assert [stage.attention for stage in rows[name].stages] == ["causal", name]
    assert rows["mma_late"].stages[-1].attention_layers == (("0-0", "causal"),)
    assert all_rows(32)["mma_late"].stages[-1].attention_layers == (("0-9", "causal"),)


def test_dot_costs_double_and_beside_it_the_same() -> None:
    steps, usual = (
        {name: num_steps(plan, name) for name in ("it_it", "dot", "dot_equal")}
        for plan in (TINY, replace(TINY, toy=ToyPlan()))
    )
    assert steps["dot"] == 2 * steps["it_it"]
    assert usual == {"it_it": 2900, "dot": 5800, "dot_equal": 2900}


def num_steps(plan: AblationPlan, name: str) -> int:
    return sum(stage.steps for stage in toy_stages(plan, all_rows(3)[name], 0))


def test_rows_of_a_seed_differ_in_order_and_mask_alone() -> None:
    """Data, steps, learning rates and the seed of every stage are the same, and so is what decides the sample order."""
    own = {"name", "attention", "attention_layers", "image_order"}
    rows = all_rows(3)
    causal = [stage.model_dump(exclude=own) for stage in toy_stages(TINY, rows["it_it"], 7)]
    assert {stage["seed"] for stage in causal} == {7}
    for name in ("cca", "mma", "mma_late", *NEW_KINDS):
        assert [stage.model_dump(exclude=own) for stage in toy_stages(TINY, rows[name], 7)] == causal


def test_choosing_rows() -> None:
    assert [row.name for row in choose_rows("causal, mma,mma", 3)] == ["it_it", "mma"]
    assert {row.name for row in choose_rows("table1", 3)} == set(TABLE_1)
    assert len(choose_rows("all", 3)) == len(all_rows(3))
    for wrong in ("diagonal", "", "mma,nothing"):
        with pytest.raises(UserError, match=r"--rows .*: expected all, table1, or some of it_it, cca, mma"):
            choose_rows(wrong, 3)


def test_an_experiment_is_not_mixed_with_another(tmp_path: Path) -> None:
    write_plan(tmp_path, TINY)
    write_plan(tmp_path, TINY)
    assert read_plan(tmp_path) == TINY
    with pytest.raises(UserError, match="holds an ablation with subset = 'ci', now None"):
        write_plan(tmp_path, replace(TINY, subset=None))
    (tmp_path / "ablation.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        read_plan(tmp_path)


def test_what_is_done_is_not_done_again_and_seeds_come_one_after_the_other(tmp_path: Path) -> None:
    rows = choose_rows("causal,mma", 3)
    path = record_path(tmp_path, "mma", 0)
    path.parent.mkdir()
    path.write_text("{}")
    assert [(job.row.name, job.seed) for job in jobs(rows, 2, tmp_path)] == [("it_it", 0), ("it_it", 1), ("mma", 1)]


class FakeProcess:
    """Ends by itself after `length` seconds of a clock that goes on when it is looked at."""

    def __init__(self, clock: FakeClock, length: float, code: int = 0) -> None:
        self.clock, self.end, self.code, self.ended = clock, clock.now + length, code, False
        self.returncode: int | None = None

    def poll(self) -> int | None:
        self.returncode = self.code if self.clock() >= self.end else None
        return self.returncode

    def terminate(self) -> None:
        self.ended = True

    def wait(self) -> None:
        pass


class FakeClock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def simulated(lengths: dict[str, float], costs: dict[str, float], budget: float, workers: int = 1) -> tuple[Any, Any]:
    clock, begun = FakeClock(), []

    def start(job: Job) -> subprocess.Popen[Any]:
        begun.append((job.row.name, job.seed))
        return FakeProcess(clock, lengths[job.row.name])  # type: ignore[return-value]

    wanted = list(jobs(choose_rows("causal,cca,mma", 3), 2, Path("/nowhere")))
    left = run_jobs(
        wanted,
        costs,
        budget=budget,
        num_workers=workers,
        start=start,
        say=lambda text: None,
        clock=clock,
        pause=0,
    )
    return begun, [(job.row.name, job.seed) for job in left]


def test_rows_that_do_not_fit_are_left_out() -> None:
    costs = {"it_it": 100.0, "cca": 100.0, "mma": 100.0}
    begun, left = simulated(costs, costs, 460)
    assert begun == [("it_it", 0), ("cca", 0), ("mma", 0), ("it_it", 1)]
    assert left == [("cca", 1), ("mma", 1)]


def test_estimates_follow_what_rows_really_take() -> None:
    """Twice as slow as estimated: the third row would begin in time by the estimate, and does not."""
    costs = {"it_it": 100.0, "cca": 100.0, "mma": 100.0}
    begun, _ = simulated(dict.fromkeys(costs, 200.0), costs, 560)
    assert begun == [("it_it", 0), ("cca", 0)]


def test_side_by_side() -> None:
    costs = {"it_it": 100.0, "cca": 100.0, "mma": 100.0}
    begun, left = simulated(costs, costs, 260, workers=3)
    assert (len(begun), left) == (6, [])


def test_a_failed_row_ends_the_others(tmp_path: Path) -> None:
    clock = FakeClock()
    made: list[FakeProcess] = []

    def start(job: Job) -> subprocess.Popen[Any]:
        made.append(FakeProcess(clock, 5 if job.seed == 0 else 500, code=2))
        return made[-1]  # type: ignore[return-value]

    wanted = [Job(choose_rows("mma", 3)[0], seed) for seed in (0, 1)]
    with pytest.raises(UserError, match="mma, seed 0: ended with code 2"):
        run_jobs(wanted, {}, budget=1e9, num_workers=2, start=start, say=str, clock=clock, pause=0)
    assert [process.ended for process in made] == [False, True]


def test_a_budget_too_small_for_one_row_is_one_line() -> None:
    each = StepSeconds(vision=0.02, pretrain=0.1, sft=0.1, setup=2)
    costs = {row.name: each.of(replace(TINY, toy=ToyPlan()), row) for row in choose_rows("causal,dot", 3)}
    assert costs["dot"] == pytest.approx(costs["it_it"] + 2 * 2 + 0.1 * 2900)
    with pytest.raises(UserError, match=r"--budget 1: the cheapest row, it_it, takes about 6\.\d minutes here"):
        check_budget(60, costs)
    check_budget(3600, costs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "/nowhere"], "--data /nowhere: no such folder"),
        (["--rows", "diagonal"], "--rows 'diagonal': expected all"),
    ],
)
def test_bad_usage_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)  # as the command does, which must not outlast the test
    with pytest.raises(UserError, match=message) as caught:
        CliRunner().invoke(cli.app, ["ablation", "--out", str(tmp_path), *arguments], catch_exceptions=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["it_it", "dot_equal", "mma_late", "future"])
def test_a_row_on_real_data_is_a_recipe(name: str, tmp_path: Path) -> None:
    row = all_rows(32)[name]
    plan = replace(TINY, data="/data")
    recipe = load_recipe(str(write_recipe(plan, row, 3, tmp_path)))
    assert [stage.attention for stage in recipe.stages] == [stage.attention for stage in row.stages]
    assert [dict(stage.attention_layers or {}) for stage in recipe.stages] == [
        dict(stage.attention_layers) for stage in row.stages
    ]
    assert {stage.seed for stage in recipe.stages} == {3}
    usual = {stage.kind: stage.steps for stage in load_recipe("it_it").stages}
    assert [stage.steps for stage in recipe.stages] == [round(usual[s.kind] * s.share) for s in row.stages]
    few = load_recipe(str(write_recipe(replace(plan, steps=10), row, 3, tmp_path)))
    assert [stage.steps for stage in few.stages] == [round(10 * stage.share) for stage in row.stages]


def test_share_of_questions_right(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no question without a judge"):
        share_right(tmp_path)
    for task, values in (("pope", [1, 0, None, 1]), ("mm_vet", [0, 0])):
        (tmp_path / task).mkdir()
        (tmp_path / task / "metrics.json").write_text(json.dumps({"headline": "kit"}))
        lines = [{"protocol": "kit", "value": value} for value in values] + [{"protocol": "strict", "value": 0}]
        (tmp_path / task / "scores.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert share_right(tmp_path) == pytest.approx(2 / 3)


def test_two_rows_from_nothing_to_their_report(tmp_path: Path) -> None:
    """Real trainings of a few steps, real evaluations, a real report: that all of it fits together."""
    write_plan(tmp_path, TINY)
    rows = choose_rows("causal,mma", 3)
    summary = carry_out(TINY, rows=rows, num_seeds=1, budget=None, num_jobs=2, out=tmp_path)
    text = summary.read_text()
    assert "| (I&T)PT + (I&T)SFT | 7 | 1.00 |" in text
    assert "mma minus it_it" in text
    report = summary.parent
    assert "training-seed variance not included" in (report / "compare" / "mma-minus-it_it" / "compare.md").read_text()
    assert (report / "html" / "index.html").is_file()
    for name in ("it_it", "mma"):
        model = json.loads((tmp_path / "runs" / f"{name}-seed0" / "run.json").read_text())["model"]
        assert model["training_seed"] == 0
        assert model["attention"] == {"it_it": "causal", "mma": "mma"}[name]
    trained = {path.name.partition("-")[0] for path in (tmp_path / "trained" / "seed0").iterdir()}
    assert trained == {"start", "0_captions_image_first", "1_instructions_image_first"}
    assert len(list((tmp_path / "trained" / "seed0").glob("0_captions*"))) == 1  # one pretraining for both
    assert list(jobs(rows, 1, tmp_path)) == []
